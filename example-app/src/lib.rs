//! A small shop that embeds the monitoring, as a library so that tests can drive it.
//!
//! [`Settings`] come from the environment, [`App::start`] opens everything,
//! [`App::router`] is the whole HTTP surface, [`App::serve`] runs it until told to stop and
//! then stops in order.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = example_app::Settings::from_env()?;
//! let recorder = example_app::telemetry::init(&settings)?;
//! let app = example_app::App::start(&settings, recorder).await?;
//! let listener = tokio::net::TcpListener::bind(settings.bind_addr).await?;
//! app.serve(listener, example_app::stop_signal()).await;
//! # Ok(())
//! # }
//! ```

mod app;
mod auth;
mod database;
pub mod demo;
mod faults;
pub mod grafana;
mod http;
mod monitoring;
mod orders;
mod page;
mod payments;
mod secret;
mod settings;
mod signal;
mod state;
mod tasks;
pub mod telemetry;
mod users;

pub use app::{App, StartError, Stopped};
pub use database::{DatabaseError, DatabaseUrl, DatabaseUrlError};
pub use settings::{AdminSettings, MonitoringSettings, Settings, SettingsError, SettingsProblem};
pub use signal::stop_signal;
pub use tasks::{TaskCall, TaskFailure, TaskFuture, TaskHandler, TaskProcessor};
pub use users::{FirstAdmin, Password, Role, UnknownRole, Username};

/// Compiles the code of the workspace's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
