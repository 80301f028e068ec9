//! The shop as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::PASSWORD;

/// The shop in a folder of its own, with nothing set but a free port.
pub(crate) fn command(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-app"));
    command.env_clear().current_dir(folder).env("BIND_ADDR", "127.0.0.1:0");
    command
}

/// A shop in a folder of its own, ended with the test.
pub(crate) struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).expect(&line).split('/').next().unwrap();
        Self { address: address.to_owned(), child, stdout }
    }

    /// One request over a socket of its own; status and body.
    pub(crate) async fn call(&self, request: &str, token: &str, body: Value) -> (u16, Value) {
        call(&self.address, request, token, body).await
    }

    /// Logs someone in and returns their token.
    pub(crate) async fn login(&self, username: &str) -> String {
        let body = json!({ "username": username, "password": PASSWORD });
        let (status, session) = self.call("POST /api/v1/auth/login", "", body).await;
        assert_eq!(status, 200, "{session}");
        session["data"]["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    pub(crate) fn output(mut self) -> (Option<i32>, String, String) {
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

/// One request over a socket of its own; status and body.
pub(crate) async fn call(address: &str, request: &str, token: &str, body: Value) -> (u16, Value) {
    let answer = exchange(address, request, token, body).await.unwrap();
    (answer.status, answer.json())
}

/// An answer, taken apart.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }

    /// A header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// One request over a socket of its own, which may find nobody there.
pub(crate) async fn exchange(
    address: &str,
    request: &str,
    token: &str,
    body: Value,
) -> std::io::Result<Answer> {
    let headers = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    exchange_from([127, 0, 0, 1].into(), address, request, headers.as_bytes(), &body.to_string()).await
}

/// One request over a socket of its own, from an address of the loopback network, with the headers
/// as they stand.
pub(crate) async fn exchange_from(
    from: Ipv4Addr,
    address: &str,
    request: &str,
    headers: &[u8],
    body: &str,
) -> std::io::Result<Answer> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut socket = socket.connect(address.parse().map_err(std::io::Error::other)?).await?;
    let (host, bytes) = (format!("host: {address}\r\nconnection: close\r\n"), body.len());
    let head = format!("{request} HTTP/1.1\r\n{host}content-length: {bytes}\r\n");
    socket.write_all(&[head.as_bytes(), headers, b"\r\n", body.as_bytes()].concat()).await?;
    let mut reply = String::new();
    socket.read_to_string(&mut reply).await?;
    let (head, body) = reply.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// Output as text.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
