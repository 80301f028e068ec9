//! A fresh, empty PostgreSQL database for each test.
//!
//! ```ignore
//! let Some(database) = postgres::database().await else { return };
//! let pool = PgPool::connect(&database.url).await?;
//! ```
//!
//! The server is the one `MONITORING_TEST_POSTGRES_URL` names (its user must be allowed to create
//! databases), else a private one made from the binaries on this machine, and then any number of
//! tests, threads and processes share it: `postgres_server.sh` says how it comes and goes. With
//! neither, the test is skipped with one loud line, or fails where `CI` is set, because there a
//! green run has to mean that it ran.
//!
//! The file knows nothing of the crate under test. Other crates include it by path:
//!
//! ```ignore
//! #[path = "../../../monitoring-core/tests/it/support/postgres.rs"]
//! mod postgres;
//! ```

use std::env;
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, query, query_scalar};

const SERVER_SCRIPT: &str = concat!(include_str!("postgres_as_user.sh"), include_str!("postgres_server.sh"));
const SERVER_URL_VARIABLE: &str = "MONITORING_TEST_POSTGRES_URL";
const DATABASE_PREFIX: &str = "monitoring_test_";
/// Databases on a server that outlives us are left behind by killed tests, and removed by a later
/// run once no test can still be using them.
const LEFTOVER_AGE: Duration = Duration::from_secs(2 * 60 * 60);
const START_ATTEMPTS_MAX: u32 = 3;

/// A database of its own for one test, dropped with this value, whoever is still connected.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    /// Where it is, as `DATABASE_URL` would say it.
    pub(crate) url: String,
    name: String,
    server: PgConnectOptions,
}

/// A fresh database, or `None` after saying so, where this machine has no server to offer.
///
/// # Panics
///
/// Where `CI` is set and there is no server, and anywhere if the server there should be fails.
pub(crate) async fn database() -> Option<TestDatabase> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    // Starting it blocks the thread, which belongs to this test alone.
    let server = SERVER.get_or_init(find_server).as_ref()?;
    Some(create_database(server).await)
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let server = self.server.clone();
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The test's runtime is blocked in this very call, so another one does the work. Failing
        // is fine: the private server vanishes as a whole, any other is tidied by a later run.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect_with(&server).await?;
                query(AssertSqlSafe(statement)).execute(&mut connection).await?;
                connection.close().await
            })
        });
        drop(dropped.join());
    }
}

async fn create_database(server: &Server) -> TestDatabase {
    let mut connection = PgConnection::connect_with(&server.options)
        .await
        .unwrap_or_else(|error| panic!("the PostgreSQL server for tests: {error}"));
    if !server.disposable {
        drop_leftovers(&mut connection).await;
    }
    let name = format!("{DATABASE_PREFIX}{}_{}", now().as_secs(), random_hex());
    query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("no database for this test: {error}"));
    connection.close().await.expect("the server accepts our good-bye");
    let url = server.options.clone().database(&name).to_url_lossy().to_string();
    TestDatabase { url, name, server: server.options.clone() }
}

/// Best effort: several runs may tidy the same server at once.
async fn drop_leftovers(connection: &mut PgConnection) {
    let names: Vec<String> = query_scalar("SELECT datname FROM pg_database WHERE starts_with(datname, $1)")
        .bind(DATABASE_PREFIX)
        .fetch_all(&mut *connection)
        .await
        .unwrap_or_default();
    for name in names.iter().filter(|name| is_leftover(name, now())) {
        let statement = format!("DROP DATABASE IF EXISTS {name}");
        drop(query(AssertSqlSafe(statement)).execute(&mut *connection).await);
    }
}

/// Reads the age from the name; what merely resembles one of ours is not touched.
pub(super) fn is_leftover(name: &str, now: Duration) -> bool {
    let parts = name.strip_prefix(DATABASE_PREFIX).and_then(|rest| rest.split_once('_'));
    let Some((created, suffix)) = parts else {
        return false;
    };
    let is_ours = suffix.len() == 32 && suffix.bytes().all(|byte| byte.is_ascii_hexdigit());
    let created = created.parse().map(Duration::from_secs);
    is_ours && created.is_ok_and(|created| created + LEFTOVER_AGE < now)
}

/// A server this process may use until it ends.
#[derive(Debug)]
struct Server {
    options: PgConnectOptions,
    /// Whether the server and all it holds go away by themselves.
    disposable: bool,
    /// The shared lock that keeps a private server alive; the kernel lets go of it for us.
    _in_use: Option<File>,
}

fn find_server() -> Option<Server> {
    if let Ok(url) = env::var(SERVER_URL_VARIABLE) {
        let options = url.parse().unwrap_or_else(|error| panic!("{SERVER_URL_VARIABLE}: {error}"));
        return Some(Server { options, disposable: false, _in_use: None });
    }
    if let Some(binaries) = find_binaries() {
        return Some(share_private_server(&binaries));
    }
    let missing = format!("no PostgreSQL: {SERVER_URL_VARIABLE} is not set, and initdb is nowhere");
    assert!(!is_ci(), "{missing}; CI is set, so its tests must run");
    say_skipped(&format!("SKIPPED: {missing}; its tests did not run"));
    None
}

/// Once a process on stderr, past the test harness, which keeps `eprintln!` of a passing test to
/// itself. nextest keeps stderr too and has a process for each test: there, once a run on the
/// terminal, if there is one.
fn say_skipped(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
    let Ok(run) = env::var("NEXTEST_RUN_ID") else { return };
    let said = base_folder().join("skipped");
    if fs::read_to_string(&said).is_ok_and(|said| said == run) {
        return;
    }
    fs::write(&said, run).ok();
    if let Ok(mut terminal) = File::options().write(true).open("/dev/tty") {
        // From the start of the line, where the progress bar may be.
        write!(terminal, "\r\x1b[2K{line}\n").ok();
    }
}

pub(super) fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// The folder with `initdb` and `postgres`: the one the user chose by PATH or `pg_config`, else
/// the newest of those where distributions keep them off the PATH.
pub(super) fn find_binaries() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let pg_config = Command::new("pg_config").arg("--bindir").output().ok();
    let pg_config = pg_config.and_then(|output| String::from_utf8(output.stdout).ok());
    env::split_paths(&path)
        .chain(pg_config.map(|folder| PathBuf::from(folder.trim())))
        .chain(distribution_folders())
        // The server looks for its files beside the real binary, not beside a link to it.
        .filter_map(|folder| fs::canonicalize(folder.join("initdb")).ok())
        .filter_map(|initdb| initdb.parent().map(Path::to_path_buf))
        .find(|folder| folder.join("postgres").is_file())
}

/// `/usr/lib/postgresql/17/bin`, `/usr/pgsql-17/bin`, `/opt/homebrew/opt/postgresql@17/bin`, …
fn distribution_folders() -> Vec<PathBuf> {
    let places = [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/usr/local", "pgsql"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
    ];
    let mut found = Vec::new();
    for (parent, prefix) in places {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(version) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else {
                continue;
            };
            let version: u32 = version.parse().unwrap_or_default();
            found.push((version, entry.path().join("bin")));
        }
    }
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// Joins the private server that runs, or starts one for everybody.
fn share_private_server(binaries: &Path) -> Server {
    let base = base_folder();
    let open = |name: &str| {
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(base.join(name));
        file.unwrap_or_else(|error| panic!("{name} in {}: {error}", base.display()))
    };
    let start = open("start.lock");
    start.lock().expect("the start lock is held for seconds at most");
    let in_use = open("users.lock");
    in_use.lock_shared().expect("only a server that is going away holds this, briefly");
    let options = running_server(&base).unwrap_or_else(|| start_server(&base, binaries));
    Server { options, disposable: true, _in_use: Some(in_use) }
}

/// Where all processes of this user meet. The script's hash is part of it, so that checkouts that
/// disagree about the server do not share one.
fn base_folder() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    SERVER_SCRIPT.hash(&mut hasher);
    let user = current_user();
    let base = env::temp_dir().join(format!("monitoring-postgres-{user}-{:08x}", hasher.finish() as u32));
    match DirBuilder::new().mode(0o700).create(&base) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            panic!("{}: {error}", base.display())
        }
        _ => {}
    }
    let found = fs::symlink_metadata(&base).expect("the folder was just made or found");
    assert!(found.is_dir() && found.uid() == user, "{} is not ours", base.display());
    // Others may pass through it, as the server's user does, but not look around.
    fs::set_permissions(&base, Permissions::from_mode(0o711)).expect("the folder is ours");
    base
}

/// The user this process creates files as; the standard library has no other way to ask.
fn current_user() -> u32 {
    let probe = env::temp_dir().join(format!("monitoring-user-{}", random_hex()));
    let file = File::create_new(&probe).expect("the temporary folder is writable");
    let user = file.metadata().expect("an open file has metadata").uid();
    fs::remove_file(&probe).expect("a file we made can be removed");
    user
}

fn running_server(base: &Path) -> Option<PgConnectOptions> {
    let home = PathBuf::from(fs::read_to_string(base.join("current")).ok()?.trim_end());
    // A server whose watcher was killed would stay for ever; the next one's script removes it.
    let watched = File::open(home.join("watched")).ok()?;
    let Err(TryLockError::WouldBlock) = watched.try_lock() else {
        return None;
    };
    let url = fs::read_to_string(home.join("url")).ok()?;
    let options: PgConnectOptions = url.parse().ok()?;
    TcpStream::connect((Ipv4Addr::LOCALHOST, options.get_port())).ok()?;
    Some(options)
}

fn start_server(base: &Path, binaries: &Path) -> PgConnectOptions {
    let mut log = String::new();
    for _ in 0..START_ATTEMPTS_MAX {
        // The port may be taken by the time the server wants it: another attempt, another port.
        match try_start_server(base, binaries, free_port()) {
            Ok(options) => return options,
            Err(error) => log = error,
        }
    }
    panic!("PostgreSQL in {} does not start:\n{log}", binaries.display());
}

fn try_start_server(base: &Path, binaries: &Path, port: u16) -> Result<PgConnectOptions, String> {
    let home = base.join(format!("server-{}", random_hex()));
    let password = random_hex();
    let url = format!("postgres://monitoring:{password}@127.0.0.1:{port}/postgres?sslmode=disable");
    DirBuilder::new().mode(0o700).create(&home).expect("a fresh name in our own folder");
    fs::write(home.join("password"), &password).expect("the server's folder is ours");
    fs::write(home.join("url"), &url).expect("the server's folder is ours");
    let output = Command::new("sh")
        .args(["-c", SERVER_SCRIPT, "postgres_server.sh"])
        .args([home.as_os_str(), base.join("users.lock").as_os_str(), binaries.as_os_str()])
        .arg(port.to_string())
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        // Its own process group: a runner that kills ours leaves the other tests their server.
        .process_group(0)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let current = base.join("current");
    let fresh = base.join("current.new");
    fs::write(&fresh, home.as_os_str().as_encoded_bytes()).expect("our own folder is writable");
    fs::rename(&fresh, &current).expect("our own folder is writable");
    Ok(url.parse().expect("a URL made of digits and letters"))
}

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

pub(super) fn random_hex() -> String {
    let mut bytes = [0; 16];
    let mut source = File::open("/dev/urandom").expect("every Unix has one");
    source.read_exact(&mut bytes).expect("it never ends");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970")
}
