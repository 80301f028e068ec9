//! Logs, metrics, traces, alert rules and incidents for a service, kept in the database it already
//! has: PostgreSQL in production, embedded SQLite where there is none.
//!
//! [`Monitoring::builder`] starts it. `monitoring-tower` records the requests of an axum or tower service and
//! serves what is stored over HTTP, `monitoring-tracing` records its `tracing` events and spans.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use monitoring_core::{CreateMetricRequest, MetricType, Monitoring};
//!
//! let monitoring = Monitoring::builder().database_url("sqlite:data/app.db").start().await?;
//! monitoring.recorder().metric(CreateMetricRequest {
//!     name: "orders_total".to_owned(),
//!     metric_type: MetricType::Counter,
//!     value: 1.0,
//!     labels: [("shop".to_owned(), "berlin".to_owned())].into(),
//!     timestamp: None,
//! });
//! // … when everything else has ended:
//! monitoring.shutdown(Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```
//!
//! | Where | What |
//! |---|---|
//! | [`Recorder`] | records events and observations without waiting for the database |
//! | [`services`] | everything people and tools do: events, metrics, rules, incidents, statistics, also on the host's own connection and inside its transaction |
//! | [`PromQuery`] | answers PromQL |
//! | [`handlers`] | background work for the host's own job queue |
//! | [`Notifier`] | a channel of the host's own for notifications |
//!
//! The features `postgres` and `sqlite` choose the databases, `notify` and `email` how receivers of alerts are
//! reached, `openapi` describes the model.

mod alerting;
mod analysis;
mod aside;
mod auth;
mod clock;
mod compaction;
mod config;
mod error;
mod evaluation;
mod event_logger;
mod exposition;
mod incidents;
mod ingest;
mod model;
mod monitor;
mod notify;
mod promql;
mod query;
mod random;
mod redact;
mod retention;
mod store;
mod tasks;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod handlers;
pub mod own_work;
pub mod services;

pub use alerting::routing::Conditions as AlertConditions;
pub use auth::{Forbidden, Permission, Principal, Role};
pub use clock::Clock;
pub use config::{IngestSettings, ReceiverPolicy, Redaction, Retention};
pub use error::{Error, Result};
pub use event_logger::{EventLogger, EventSink};
pub use exposition::ExpositionFormat;
#[doc(hidden)]
pub use ingest::Captured;
pub use ingest::{Anchor, Decode, Decoded, Deferred, FieldBytes, Lane, Recorder, ShedReason, Ticks};
pub use model::*;
pub use monitor::{Monitoring, MonitoringBuilder, ShutdownReport};
pub use notify::{Deliverer, DeliveryError, Notifier};
pub use promql::{
    Label, LabelSet, QueryAnswer, QueryError, QueryLimits, QueryResult, QueryStats, QueryValue, SeriesValues,
    format_query, format_value, parse_query,
};
pub use query::{
    Comparison, MetricDescription, PromQuery, QueryExemplars, QueryTurn, Selector, SeriesExemplars,
    SeriesFigures,
};
pub use random::{random_u64, random_u128};
pub use store::{AsConnection, Connection, LentConnection, PooledConnection, StoreError};
