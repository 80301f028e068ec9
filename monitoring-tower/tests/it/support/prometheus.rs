//! A real Prometheus, started for one test.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::TemporaryFolder;

/// How long anything may take before it counts as never.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a program is there to test with. Where `CI` is set it has to be.
pub(crate) fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = std::env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    let missing = format!("no {program} on the PATH");
    assert!(is_installed || std::env::var_os("CI").is_none(), "{missing}; CI is set, so its tests must run");
    if !is_installed {
        writeln!(std::io::stderr(), "SKIPPED: {missing}; its tests did not run").ok();
    }
    is_installed
}

/// A server that ends with this value.
#[derive(Debug)]
pub(crate) struct Prometheus {
    address: SocketAddr,
    child: Child,
    log: PathBuf,
    _folder: TemporaryFolder,
}

impl Prometheus {
    /// Starts a server with these scrape jobs, as its configuration file has them, and waits until
    /// it is ready.
    pub(crate) async fn start(jobs: &str) -> Self {
        // Long enough for a machine that is busy with other tests.
        let settings = "global: {scrape_interval: 4s, scrape_timeout: 4s}\nscrape_configs:\n";
        Self::start_with(&format!("{settings}{jobs}"), "groups: []", &[]).await
    }

    /// Starts a server that evaluates these rules over what is written to it.
    pub(crate) async fn start_with_rules(rules: &str) -> Self {
        Self::start_with("rule_files: [rules.yml]\n", rules, &["--web.enable-remote-write-receiver"]).await
    }

    async fn start_with(config: &str, rules: &str, more: &[&str]) -> Self {
        let folder = TemporaryFolder::new();
        let log = folder.0.join("log");
        fs::write(folder.0.join("rules.yml"), rules).unwrap();
        fs::write(folder.0.join("prometheus.yml"), config).unwrap();
        let config = folder.0.join("prometheus.yml");
        let address = free_address();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.0.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--log.level=debug", "--enable-feature=exemplar-storage"])
            .args(more)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .expect("it is installed");
        let mut server = Self { address, child, log, _folder: folder };
        server.wait_until_ready().await;
        server
    }

    async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !matches!(self.get("/-/ready").await, Some((200, _))) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{ended:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The values a query returns, in the order of their labels.
    pub(crate) async fn query(&self, query: &str) -> Vec<f64> {
        let answer = self.api(&format!("/api/v1/query?query={}", percent_encoded(query))).await;
        let mut samples: Vec<_> = answer["result"].as_array().unwrap().iter().collect();
        samples.sort_by_key(|sample| sample["metric"].to_string());
        samples.iter().map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Asks again until a query returns this.
    pub(crate) async fn wait_for(&self, query: &str, expected: &[f64]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.query(query).await;
            if found == expected {
                return;
            }
            let log = || self.log();
            assert!(Instant::now() < deadline, "{query} is {found:?}, not {expected:?}\n{}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The data of an answer.
    pub(crate) async fn api(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await.expect("it answers");
        assert_eq!(status, 200, "{body}");
        let mut json: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["status"], "success");
        json["data"].take()
    }

    /// Writes samples, as another Prometheus does: a message of remote write, compressed.
    pub(crate) async fn write(&self, body: &[u8]) {
        let head = format!(
            "POST /api/v1/write HTTP/1.0\r\nhost: {}\r\ncontent-encoding: snappy\r\n\
             content-type: application/x-protobuf\r\nx-prometheus-remote-write-version: 0.1.0\r\n\
             content-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let answer = self.exchange(&[head.as_bytes(), body].concat()).await.expect("it answers");
        assert!(answer.starts_with("HTTP/1.0 204"), "{answer}");
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Status and body; `None` while nobody listens.
    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let request = format!("GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.address);
        let answer = self.exchange(request.as_bytes()).await?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    async fn exchange(&self, request: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(request).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }
}

/// An address nobody listens at, for now.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

pub(crate) fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
