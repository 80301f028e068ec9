//! The shop as a process: settings, what it prints, and how it stops.

use std::process::Output;
use std::time::Duration;

use serde_json::json;

use crate::support::process::{Process, call, command, text};
use crate::support::{PASSWORD, TestDatabase};

#[test]
fn bad_settings_exit_with_2_and_name_the_variables() {
    let folder = tempfile::tempdir().unwrap();
    let Output { status, stdout, stderr } = command(&folder)
        .env("BIND_ADDR", "somewhere")
        .env("MONITORING_METRIC_RETENTION_DAYS", "-1")
        .env("ADMIN_PASSWORD", "hunter2")
        .output()
        .unwrap();
    assert_eq!(status.code(), Some(2));
    assert_eq!(text(stdout), "");
    let stderr = text(stderr);
    assert!(stderr.contains("BIND_ADDR: `somewhere` is not an address; expected"), "{stderr}");
    assert!(stderr.contains("MONITORING_METRIC_RETENTION_DAYS: `-1`"), "{stderr}");
    assert!(stderr.contains("ADMIN_PASSWORD: ") && !stderr.contains("hunter2"), "{stderr}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_database_that_is_away_is_explained_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let Output { status, stderr, .. } =
        command(&folder).env("DATABASE_URL", "postgres://shop:s3cret@127.0.0.1:1/shop").output().unwrap();
    assert_eq!(status.code(), Some(1));
    let stderr = text(stderr);
    assert!(stderr.contains("postgres://shop@127.0.0.1:1/shop"), "{stderr}");
    assert!(!stderr.contains("s3cret"), "{stderr}");
}

#[test]
fn a_database_that_never_answers_is_not_waited_for_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://shop:s3cret@{}/shop", silent.local_addr().unwrap());
    let Output { status, stderr, .. } = command(&folder).env("DATABASE_URL", url).output().unwrap();
    assert_eq!(status.code(), Some(1));
    let stderr = text(stderr);
    assert!(stderr.contains("the server does not answer"), "{stderr}");
    assert!(!stderr.contains("s3cret"), "{stderr}");
}

#[test]
fn a_file_that_is_no_database_is_explained_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("letter.txt"), "Dear reader, this is no database.").unwrap();
    let Output { status, stderr, .. } =
        command(&folder).env("DATABASE_URL", "sqlite:letter.txt").output().unwrap();
    assert_eq!(status.code(), Some(1));
    let stderr = text(stderr);
    assert_eq!(stderr.matches("file is not a database").count(), 1, "{stderr}");
}

#[tokio::test]
async fn a_wrong_password_for_the_database_is_explained_and_not_repeated() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let (_, place) = database.url.split_once('@').unwrap();
    let url = format!("postgres://nobody_here:s3cret@{place}");
    let folder = tempfile::tempdir().unwrap();
    let Output { status, stderr, .. } = command(&folder).env("DATABASE_URL", url).output().unwrap();
    assert_eq!(status.code(), Some(1));
    let stderr = text(stderr);
    assert!(stderr.contains("postgres://nobody_here@"), "{stderr}");
    assert!(stderr.contains("authentication failed") || stderr.contains("does not exist"), "{stderr}");
    assert!(!stderr.contains("s3cret"), "{stderr}");
}

#[tokio::test]
async fn the_first_start_prints_a_password_once_and_never_logs_it() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Process::start(command(&folder).env("RUST_LOG", "trace"));
    shop.terminate();
    let (code, stdout, stderr) = shop.output();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("sqlite:./data/shop.db"), "{stdout}");
    let password = stdout.split("password   ").nth(1).expect(&stdout).trim();
    assert_eq!(password.len(), 24);
    assert!(!stderr.contains(password));

    let shop = Process::start(&mut command(&folder));
    let body = json!({ "username": "admin", "password": password });
    let (status, _) = shop.call("POST /api/v1/auth/login", "", body).await;
    assert_eq!(status, 200);
    shop.terminate();
    let (code, stdout, _) = shop.output();
    assert_eq!(code, Some(0));
    assert!(!stdout.contains("first start"), "{stdout}");
}

#[tokio::test]
async fn a_payment_under_way_at_sigterm_is_finished_and_answered() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Process::start(command(&folder).env("ADMIN_PASSWORD", PASSWORD));
    let body = json!({ "username": "admin", "password": PASSWORD });
    let (_, session) = shop.call("POST /api/v1/auth/login", "", body).await;
    let token = session["data"]["token"].as_str().unwrap().to_owned();
    let slow = json!({ "gateway_delay_ms": 800 });
    assert_eq!(shop.call("PUT /api/v1/faults", &token, slow).await.0, 200);
    let mug = json!({ "product": "mug" });
    let (_, order) = shop.call("POST /api/v1/orders", &token, mug).await;
    let id = order["data"]["id"].clone();

    let pay = json!({ "order_id": id });
    let paying = call(&shop.address, "POST /api/v1/payments", &token, pay);
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        shop.terminate();
    };
    let ((status, payment), ()) = tokio::join!(paying, stopping);
    assert_eq!(status, 201, "{payment}");
    let (code, _, stderr) = shop.output();
    assert_eq!(code, Some(0), "{stderr}");

    let shop = Process::start(&mut command(&folder));
    let path = format!("GET /api/v1/orders/{}", id.as_str().unwrap());
    let (_, order) = shop.call(&path, &token, json!({})).await;
    assert_eq!(order["data"]["status"], "paid");
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_its_payment() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Process::start(command(&folder).env("ADMIN_PASSWORD", PASSWORD));
    let body = json!({ "username": "admin", "password": PASSWORD });
    let (_, session) = shop.call("POST /api/v1/auth/login", "", body).await;
    let token = session["data"]["token"].as_str().unwrap().to_owned();
    let slow = json!({ "gateway_delay_ms": 500 });
    assert_eq!(shop.call("PUT /api/v1/faults", &token, slow).await.0, 200);
    let mug = json!({ "product": "mug" });
    let (_, order) = shop.call("POST /api/v1/orders", &token, mug).await;
    let id = order["data"]["id"].clone();

    let pay = json!({ "order_id": id });
    let paying = call(&shop.address, "POST /api/v1/payments", &token, pay);
    let hung_up = tokio::time::timeout(Duration::from_millis(200), paying).await;
    assert!(hung_up.is_err());
    shop.terminate();
    let (code, _, stderr) = shop.output();
    assert_eq!(code, Some(0), "{stderr}");

    let shop = Process::start(&mut command(&folder));
    let path = format!("GET /api/v1/orders/{}", id.as_str().unwrap());
    let (_, order) = shop.call(&path, &token, json!({})).await;
    assert_eq!(order["data"]["status"], "paid");
}
