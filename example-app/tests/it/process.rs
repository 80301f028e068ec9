//! The shop as a process: settings, what it prints, and how it stops.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::PASSWORD;

fn command(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-app"));
    command.env_clear().current_dir(folder).env("BIND_ADDR", "127.0.0.1:0");
    command
}

/// A shop in a folder of its own, ended with the test.
struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).expect(&line).split('/').next().unwrap();
        Self { address: address.to_owned(), child, stdout }
    }

    /// One request over a socket of its own; status and body.
    async fn call(&self, request: &str, token: &str, body: Value) -> (u16, Value) {
        call(&self.address, request, token, body).await
    }

    fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    fn output(mut self) -> (Option<i32>, String, String) {
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stdout, stderr)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn call(address: &str, request: &str, token: &str, body: Value) -> (u16, Value) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let body = body.to_string();
    let request = format!(
        "{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len(),
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").expect(&reply);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

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
