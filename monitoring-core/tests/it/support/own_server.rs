//! A PostgreSQL server that belongs to one test, which stops and starts it as it likes.
//!
//! ```ignore
//! let Some(mut server) = OwnServer::start() else { return };
//! server.tell(Order::Kill);
//! server.tell(Order::Start);
//! ```
//!
//! It is made of the binaries on this machine, even where `MONITORING_TEST_POSTGRES_URL` names a
//! server: nobody lets a test kill that one.

use std::fs::{self, DirBuilder};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::postgres::{find_binaries, free_port, is_ci, random_hex};

const SCRIPT: &str = concat!(include_str!("postgres_as_user.sh"), include_str!("own_postgres_server.sh"));

/// What may be done to the server; `own_postgres_server.sh` says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Start,
    StopFast,
    StopImmediately,
    Kill,
    Freeze,
    Thaw,
}

/// The server, gone with this value.
#[derive(Debug)]
pub(crate) struct OwnServer {
    /// Its database, as `DATABASE_URL` would say it.
    pub(crate) url: String,
    keeper: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl OwnServer {
    /// A running, empty server; `None` where this machine has none to offer.
    ///
    /// # Panics
    ///
    /// Where `CI` is set and there are no binaries, and anywhere if the server does not start.
    pub(crate) fn start() -> Option<Self> {
        let Some(binaries) = find_binaries() else {
            assert!(!is_ci(), "no PostgreSQL binaries; CI is set, so the tests of its failure must run");
            return None;
        };
        let home = std::env::temp_dir().join(format!("monitoring-own-postgres-{}", random_hex()));
        let (password, port) = (random_hex(), free_port());
        DirBuilder::new().mode(0o700).create(&home).expect("a fresh name in the temporary folder");
        fs::write(home.join("password"), &password).expect("the folder is ours");
        let mut server = Self::keep(home, binaries, port);
        server.url = format!("postgres://monitoring:{password}@127.0.0.1:{port}/postgres?sslmode=disable");
        server.tell(Order::Start);
        Some(server)
    }

    fn keep(home: PathBuf, binaries: PathBuf, port: u16) -> Self {
        let mut keeper = Command::new("sh")
            .args(["-c", SCRIPT, "own_postgres_server.sh"])
            .args([home.as_os_str(), binaries.as_os_str()])
            .arg(port.to_string())
            // Its own process group, so that it outlives a runner that kills ours, and tidies up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("every Unix has a shell");
        let orders = keeper.stdin.take();
        let answers = BufReader::new(keeper.stdout.take().expect("it is piped"));
        Self { url: String::new(), keeper, orders, answers }
    }

    /// Does it, and returns once it is done. Blocks the thread.
    ///
    /// # Panics
    ///
    /// If it cannot be done.
    pub(crate) fn tell(&mut self, order: Order) {
        let word = match order {
            Order::Start => "start",
            Order::StopFast => "fast",
            Order::StopImmediately => "immediate",
            Order::Kill => "kill",
            Order::Freeze => "freeze",
            Order::Thaw => "thaw",
        };
        let orders = self.orders.as_mut().expect("it is taken by drop only");
        writeln!(orders, "{word}").expect("the script reads until we are gone");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the script answers");
        assert_eq!(answer.trim_end(), "done", "{order:?}");
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.orders.take());
        drop(self.keeper.wait());
    }
}
