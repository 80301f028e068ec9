//! The log on stderr, and the place where the monitoring listens to `tracing`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::Settings;

/// Installs the process-wide subscriber. Call once, before [`App::start`](crate::App::start).
///
/// The monitoring's layer goes beside the log's: it buffers until [`crate::App::start`] has
/// a database for it.
///
/// # Errors
///
/// When another subscriber is installed already.
pub fn init(settings: &Settings) -> Result<(), TryInitError> {
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    tracing_subscriber::registry().with(EnvFilter::new(&settings.log_filter)).with(log).try_init()
}
