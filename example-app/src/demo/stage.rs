//! The shop on a free port, and closing it again.

use std::time::Duration;

use monitoring_core::Recorder;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::DemoError;
use super::client::Client;
use crate::database::DatabaseUrl;
use crate::{App, Settings, Stopped, telemetry};

/// A running shop.
pub(super) struct Stage {
    pub(super) client: Client,
    /// Where the shop keeps its data, for people.
    pub(super) database: String,
    pub(super) admin: String,
    pub(super) admin_password: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Stopped>,
    _folder: TempDir,
}

impl Stage {
    /// Starts a shop that nobody has used yet.
    pub(super) async fn open(database_url: Option<DatabaseUrl>) -> Result<Self, DemoError> {
        let folder = tempfile::tempdir().map_err(DemoError::io("a temporary folder could not be made"))?;
        let settings = settings(database_url, &folder)?;
        let recorder: Recorder = telemetry::init(&settings)?;
        let app = App::start(&settings, recorder).await?;
        let admin = app.first_admin().ok_or(DemoError::NotEmpty)?;
        let (admin, admin_password) =
            (admin.username().to_owned(), admin.generated_password().ok_or(DemoError::NotEmpty)?.to_owned());
        let listen = DemoError::io("no port could be opened");
        let listener = TcpListener::bind(settings.bind_addr).await.map_err(listen)?;
        let address = listener.local_addr().map_err(DemoError::io("the port has no address"))?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(app.serve(listener, async { stopped.await.unwrap_or(()) }));
        Ok(Self {
            client: Client::new(address),
            database: settings.database_url.to_string(),
            admin,
            admin_password,
            stop,
            server,
            _folder: folder,
        })
    }

    /// Stops the shop as SIGTERM would, and insists that it stopped in order.
    pub(super) async fn close(self) -> Result<(), DemoError> {
        let Self { client, stop, server, .. } = self;
        // Its idle connections would be waited for.
        drop(client);
        let _ = stop.send(());
        match server.await.map_err(|error| DemoError::Unclean(error.to_string()))? {
            Stopped::Finished => Ok(()),
            Stopped::CutOff => Err(DemoError::Unclean("the deadline passed first".to_owned())),
        }
    }
}

/// Settings as for any start, with only `RUST_LOG` taken from the environment.
fn settings(database_url: Option<DatabaseUrl>, folder: &TempDir) -> Result<Settings, DemoError> {
    let file = format!("sqlite:{}", folder.path().join("shop.db").display());
    let mut settings = Settings::parse(|variable| match variable {
        "DATABASE_URL" => Some(file.clone().into()),
        "BIND_ADDR" => Some("127.0.0.1:0".into()),
        "RUST_LOG" => std::env::var_os("RUST_LOG").or_else(|| Some("off".into())),
        _ => None,
    })?;
    // For the reader's sake; usually every ten seconds.
    settings.monitoring.metrics_interval = Duration::from_secs(1);
    if let Some(url) = database_url {
        settings.database_url = url;
    }
    Ok(settings)
}
