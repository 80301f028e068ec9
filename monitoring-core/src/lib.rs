//! Logs, metrics, traces, alert rules and incidents for a service, kept in the database it already
//! has: PostgreSQL in production, embedded SQLite where there is none.

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
    Label, LabelSet, QueryAnswer, QueryError, QueryLimits, QueryResult, QueryValue, SeriesValues,
    format_query, format_value, parse_query,
};
pub use query::{
    Comparison, MetricDescription, PromQuery, QueryExemplars, Selector, SeriesExemplars, SeriesFigures,
};
pub use random::{random_u64, random_u128};
pub use store::{AsConnection, Connection, PooledConnection, StoreError};
