//! A running system with a clock that stands still.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use monitoring_core::{Clock, CreateEventRequest, Monitoring, MonitoringBuilder, PooledConnection};

use super::database::Database;

/// What the clock shows.
pub(crate) fn noon() -> DateTime<Utc> {
    "2026-06-15T12:00:00Z".parse().expect("a date")
}

/// A system on a database, and the clock it looks at.
pub(crate) struct Fixture {
    pub(crate) monitoring: Monitoring,
    pub(crate) clock: Clock,
}

impl Fixture {
    pub(crate) async fn start(database: &Database) -> Self {
        Self::start_with(database, |builder| builder).await
    }

    pub(crate) async fn start_with(
        database: &Database,
        configure: impl FnOnce(MonitoringBuilder) -> MonitoringBuilder,
    ) -> Self {
        let clock = Clock::fixed(noon());
        let builder = Monitoring::builder().database_url(database.url()).clock(clock.clone());
        let monitoring = configure(builder).start().await.expect("it starts");
        Self { monitoring, clock }
    }

    pub(crate) async fn conn(&self) -> PooledConnection {
        self.monitoring.acquire().await.expect("a connection is free")
    }
}

/// A log event of `source` that says nothing else.
pub(crate) fn request(source: &str) -> CreateEventRequest<String> {
    CreateEventRequest {
        event_type: "log".to_owned(),
        source: source.to_owned(),
        message: None,
        level: None,
        tags: HashMap::new(),
        payload: HashMap::new(),
        timestamp: None,
    }
}
