//! The programs of Prometheus, where they are installed.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::process::exchange;

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

/// A server with a configuration, ended with the test.
pub(crate) struct Prometheus {
    child: Child,
    address: String,
    folder: TempDir,
}

impl Prometheus {
    pub(crate) fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("prometheus.yml"), config).unwrap();
        // Nobody listens there, for now.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", path("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(File::create(path("log")).unwrap())
            .spawn()
            .expect("it is installed");
        Self { child, address, folder }
    }

    /// Asks until a query returns this one value.
    pub(crate) async fn wait_for(&mut self, query: &str, expected: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.query(query).await;
            if found.as_ref().is_some_and(|found| found[0]["value"][1] == expected) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{query}: {found:?} {ended:?}\n{}", log());
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn query(&self, query: &str) -> Option<Value> {
        let request = format!("GET /api/v1/query?query={query}");
        let answer = exchange(&self.address, &request, "", Value::Null).await.ok()?;
        (answer.status == 200).then(|| answer.json()["data"]["result"].take())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
