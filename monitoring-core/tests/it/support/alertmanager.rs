//! A real Alertmanager, started for one test.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// What Debian and others call it.
const NAMES: [&str; 2] = ["prometheus-alertmanager", "alertmanager"];
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with this value.
#[derive(Debug)]
pub(crate) struct Alertmanager {
    pub(crate) address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Alertmanager {
    /// `None` where it is not installed, after saying so. Where `CI` is set it has to be.
    pub(crate) async fn start() -> Option<Self> {
        let program = installed()?;
        let folder =
            std::env::temp_dir().join(format!("monitoring-am-{:032x}", crate::random::random_u128()));
        fs::create_dir(&folder).unwrap();
        let config = folder.join("alertmanager.yml");
        fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .expect("it is installed");
        let mut server = Self { address, child, folder };
        let end = Instant::now() + PATIENCE;
        while server.get("/-/ready").await.is_none() {
            let ended = server.child.try_wait().unwrap();
            let log = fs::read_to_string(server.folder.join("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < end, "{ended:?}\n{log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(server)
    }

    /// The alerts it knows to fire.
    pub(crate) async fn alerts(&self) -> Vec<Value> {
        let body = self.get("/api/v2/alerts").await.expect("it answers");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        (head.split(' ').nth(1)? == "200").then(|| body.to_owned())
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn installed() -> Option<&'static str> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&&str| std::env::split_paths(&paths).any(|folder| folder.join(name).is_file());
    let found = NAMES.iter().find(is_there).copied();
    let missing = "no alertmanager on the PATH";
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "{missing}; CI is set, so its tests must run"
    );
    if found.is_none() {
        writeln!(std::io::stderr(), "SKIPPED: {missing}; its tests did not run").ok();
    }
    found
}
