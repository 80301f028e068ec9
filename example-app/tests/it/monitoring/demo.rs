//! The demonstration, as a newcomer runs it.

use std::process::Output;

use crate::support::process::{command, text};
use crate::support::{TestDatabase, on_each_database};

/// The demonstration in a folder of its own: exit code, stdout, stderr.
fn demo(arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = command(&folder);
    command.arg("demo").args(arguments).env("TMPDIR", &temporary);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().collect();
    assert!(left.is_empty(), "the temporary database is still there: {left:?}");
    assert!(!folder.path().join("data").exists());
    (status.code(), text(stdout), text(stderr))
}

on_each_database!(the_demo_tells_its_story_on_80_columns_and_cleans_up);

async fn the_demo_tells_its_story_on_80_columns_and_cleans_up(database: TestDatabase) {
    let (code, stdout, stderr) = if database.is_postgres() {
        let url = database.url.clone();
        tokio::task::spawn_blocking(move || demo(&["--database-url", &url])).await.unwrap()
    } else {
        demo(&[])
    };
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert_eq!(stderr, "");
    let mut rest = stdout.as_str();
    for landmark in [
        "A shop that monitors itself",
        "1. A good morning",
        "2. One rule, one route",
        "POST …/alerts",
        "3. The payment gateway breaks",
        "with 502 Bad Gateway, and the pager rings",
        "status     firing",
        "of payments fail at the gateway",
        "4. From one failed request to its cause",
        "gateway call failed",
        "POST /api/v1/payments 502",
        "5. The incident, and what changed",
        "1. ",
        "gateway",
        "2. ",
        "6. The gateway recovers",
        "status     resolved",
        "7. The whole story",
        "Only the gateway fails",
        "8. What Prometheus sees",
        "payments_total{outcome=\"gateway_failed\"}",
        "9. In figures",
        "open incidents       0",
        "Your turn",
        "cargo run -p example-app",
    ] {
        let at = rest.find(landmark).unwrap_or_else(|| panic!("no `{landmark}` in\n{rest}"));
        rest = &rest[at..];
    }
    assert!(!stdout.contains('\x1b'), "colours are for terminals");
    for line in stdout.lines() {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
}

#[tokio::test]
async fn the_demo_refuses_a_database_with_a_shop_in_it() {
    let database = TestDatabase::sqlite();
    drop(database.start().await);
    let (code, stdout, stderr) = demo(&["--database-url", &database.url]);
    assert_eq!(code, Some(1));
    assert_eq!(stdout, "");
    assert!(stderr.contains("this database holds a shop already"), "{stderr}");
}

#[test]
fn a_wrong_command_line_exits_with_2_and_says_what_is_right() {
    for arguments in [
        &["dmeo"][..],
        &["demo", "--fast"],
        &["demo", "--database-url"],
        &["demo", "--database-url", "mysql://x"],
        &["grafana"],
        &["grafana", "--force"],
        &["grafana", ""],
        &["grafana", "folder", "another"],
        &["grafana", "folder", "--fast"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = command(&folder).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(output.stdout), "");
        assert!(!output.stderr.is_empty());
    }
    let folder = tempfile::tempdir().unwrap();
    let output = command(&folder).arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(output.stdout).contains("example-app demo"));
}
