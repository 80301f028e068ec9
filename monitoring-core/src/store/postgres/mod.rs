//! PostgreSQL 14 and newer. Everything lives in one schema of its own.

use std::borrow::Cow;

use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr as _, SqlStr};

use crate::config::Settings;

mod alert_instances;
mod alert_transitions;
mod alerts;
mod analyses;
mod archive;
mod audit;
mod chunks;
mod events;
mod exemplars;
mod incidents;
mod leases;
mod loans;
mod metrics;
mod notification_groups;
mod notifications;
mod partitions;
mod receivers;
mod recording_rules;
mod removal;
mod replicas;
mod routing;
mod rule_groups;
mod rule_states;
mod series;
mod silences;
mod stats;
mod timeline;
mod totals;

/// The statements, run on one connection.
pub(crate) struct Postgres<'c> {
    connection: &'c mut PgConnection,
    schema: &'c str,
}

impl<'c> Postgres<'c> {
    pub(super) fn new(connection: &'c mut PgConnection, schema: &'c str) -> Self {
        Self { connection, schema }
    }

    /// A statement as written, or moved to the configured schema.
    fn sql(&self, statement: &'static str) -> SqlStr {
        match in_schema(statement, self.schema) {
            Cow::Borrowed(statement) => statement.into_sql_str(),
            Cow::Owned(statement) => AssertSqlSafe(statement).into_sql_str(),
        }
    }
}

/// Statements are written for the schema `monitoring`; this moves one to another. A schema's name
/// needs no quotes: the settings saw to that.
pub(super) fn in_schema(statement: &'static str, schema: &str) -> Cow<'static, str> {
    if schema == Settings::SCHEMA {
        return Cow::Borrowed(statement);
    }
    let qualified = statement.replace("monitoring.", &format!("{schema}."));
    Cow::Owned(
        qualified.replace("SCHEMA IF NOT EXISTS monitoring;", &format!("SCHEMA IF NOT EXISTS {schema};")),
    )
}
