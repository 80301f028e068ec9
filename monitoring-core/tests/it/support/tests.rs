//! The helper's own promises, kept here so that crates which include it do not repeat them.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::{Connection, PgConnection, query, query_scalar};

use crate::support::postgres;

#[tokio::test]
async fn each_database_is_empty_and_its_own() {
    let Some(first) = postgres::database().await else {
        return;
    };
    let Some(second) = postgres::database().await else {
        return;
    };
    for database in [&first, &second] {
        let mut connection = PgConnection::connect(&database.url).await.expect("it is there");
        let one: i32 = query_scalar("SELECT 1").fetch_one(&mut connection).await.expect("it answers");
        assert_eq!(one, 1);
        let created = query("CREATE TABLE events (id bigint)").execute(&mut connection).await;
        created.expect("the other database's table is not here");
    }
}

#[tokio::test]
async fn a_database_is_gone_after_its_test_whoever_is_connected() {
    let Some(database) = postgres::database().await else {
        return;
    };
    let url = database.url.clone();
    let _still_connected = PgConnection::connect(&url).await.expect("it is there");
    drop(database);
    let error = PgConnection::connect(&url).await.expect_err("it is gone");
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some("3D000"), "{error}");
}

#[tokio::test]
async fn processes_that_start_at_once_share_one_server() {
    if env::var_os("MONITORING_TEST_POSTGRES_URL").is_some() || postgres::database().await.is_none() {
        return;
    }
    // Always the same folder, so that runs do not pile up; its server goes by itself.
    let folder = env::temp_dir().join("monitoring-postgres-at-once");
    fs::create_dir_all(&folder).expect("the temporary folder is writable");
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("the folder is ours");
    let children: Vec<_> = (0..4).map(|_| run_one_test(&folder)).collect();
    for child in children {
        let output = child.wait_with_output().expect("the child was started");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    }
    assert_eq!(servers_below(&folder), 1);
}

fn run_one_test(temporary: &Path) -> std::process::Child {
    Command::new(env::current_exe().expect("a test runs from a file"))
        .args(["--exact", "support::tests::each_database_is_empty_and_its_own"])
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this binary runs")
}

fn servers_below(folder: &Path) -> usize {
    let bases = fs::read_dir(folder).expect("the folder was just used").flatten();
    let homes = bases.flat_map(|base| fs::read_dir(base.path()).expect("it is ours").flatten());
    homes.filter(|home| home.file_name().to_string_lossy().starts_with("server-")).count()
}

#[test]
fn only_old_databases_of_ours_count_as_left_behind() {
    let suffix = "0123456789abcdef0123456789abcdef";
    let now = Duration::from_secs(1_000_000);
    let is_leftover = |name: &str| postgres::is_leftover(name, now);
    assert!(is_leftover(&format!("monitoring_test_900000_{suffix}")));
    assert!(!is_leftover(&format!("monitoring_test_999000_{suffix}")));
    assert!(!is_leftover("monitoring_test_900000_of_a_customer"));
    assert!(!is_leftover("monitoring_test_"));
    assert!(!is_leftover("monitoring"));
}
