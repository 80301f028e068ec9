//! The log on stderr, and the monitoring's ear on `tracing`.

use std::io::IsTerminal;

use monitoring_core::Recorder;
use monitoring_tracing::RecorderLayer;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::Settings;

/// What the monitoring's events from `tracing` call their source.
const SOURCE: &str = "shop";

/// Installs the process-wide subscriber. Call once, before [`App::start`](crate::App::start),
/// and hand it the recorder: until there is a database, the recorder keeps what it hears.
///
/// # Errors
///
/// When another subscriber is installed already.
pub fn init(settings: &Settings) -> Result<Recorder, TryInitError> {
    let recorder = Recorder::detached();
    let monitoring = RecorderLayer::builder(&recorder).source(SOURCE).filter(recorded()).build();
    // Each layer has a filter of its own: a quiet log must not make the monitoring deaf.
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(EnvFilter::new(&settings.log_filter));
    tracing_subscriber::registry().with(monitoring).with(log).try_init()?;
    Ok(recorder)
}

/// What the monitoring records, whatever the log shows. The libraries below the shop speak up
/// when something is wrong.
fn recorded() -> Targets {
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("sqlx", LevelFilter::WARN)
        .with_target("apalis_core", LevelFilter::WARN)
}
