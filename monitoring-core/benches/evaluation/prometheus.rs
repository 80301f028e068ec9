//! A Prometheus that evaluates rules over what is written to it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::Outcome;
use crate::api::Api;

pub(crate) struct Prometheus {
    pub api: Api,
    /// It ends with this value.
    child: Child,
}

impl Prometheus {
    pub(crate) async fn start(folder: &Path, rules: &str) -> Outcome<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?;
        std::fs::write(folder.join("rules.yml"), rules)?;
        let config = folder.join("prometheus.yml");
        std::fs::write(&config, "rule_files: [rules.yml]\n")?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let api = Api { address, base: "/api/v1" };
        while api.get("/status/buildinfo").await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Self { api, child })
    }

    /// Its process.
    pub(crate) fn id(&self) -> Outcome<u32> {
        Ok(self.child.id().ok_or("it has ended")?)
    }
}
