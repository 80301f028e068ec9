//! The replicas: this very binary, running one test that waits.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use monitoring_core::Monitoring;

const URL_VARIABLE: &str = "MONITORING_TEST_CHAOS_URL";

/// Processes that end with this value.
pub(super) struct Replicas {
    url: String,
    all: Vec<Option<Child>>,
    /// How often one was killed.
    pub(super) killed: usize,
}

impl Replicas {
    pub(super) fn start(url: &str, count: usize) -> Self {
        let mut replicas = Self { url: url.to_owned(), all: (0..count).map(|_| None).collect(), killed: 0 };
        replicas.begin_all();
        replicas
    }

    pub(super) fn is_running(&self, one: usize) -> bool {
        self.all[one].is_some()
    }

    pub(super) fn running(&self) -> usize {
        self.all.iter().flatten().count()
    }

    pub(super) fn begin_all(&mut self) {
        (0..self.all.len())
            .filter(|one| !self.is_running(*one))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|one| self.begin(one));
    }

    pub(super) fn begin(&mut self, one: usize) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "monitoring::failure::chaos::replicas::one_of_them"])
            .env(URL_VARIABLE, &self.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.all[one] = Some(child);
    }

    /// SIGKILL: it has no time to say anything.
    pub(super) fn kill(&mut self, one: usize) {
        let mut child = self.all[one].take().expect("it runs");
        assert!(child.try_wait().unwrap().is_none(), "none ends by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        self.killed += 1;
    }

    /// Has all of them end in order.
    pub(super) fn stop(mut self) {
        let children: Vec<_> = self.all.iter_mut().filter_map(Option::take).collect();
        for mut child in children {
            drop(child.stdin.take());
            let status = tokio::task::block_in_place(|| child.wait().unwrap());
            assert!(status.success(), "{status}");
        }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        for child in self.all.iter_mut().flatten() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// One of the replicas; nothing when run by itself. It ends with whoever started it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_them() {
    let Ok(url) = std::env::var(URL_VARIABLE) else { return };
    let let_go = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let monitoring = loop {
        match Monitoring::builder().database_url(&url).start().await {
            Ok(monitoring) => break monitoring,
            // As whatever runs a service would start it again.
            Err(_) if !let_go.is_finished() => tokio::time::sleep(Duration::from_millis(200)).await,
            Err(_) => return,
        }
    };
    let_go.await.unwrap().unwrap();
    monitoring.shutdown(Duration::from_secs(10)).await;
}
