//! What is in the database is compared with what was done.

use monitoring_core::{EventId, Monitoring, ShedReason};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::load::{CALLER, COUNTER, Done, LAYER};
use crate::support::until;

/// Insists that everything that was recorded is stored exactly once, and that every answer was
/// true.
pub(super) async fn reckon(monitoring: &Monitoring, url: &str, done: &Done) {
    until("everything is written", async || monitoring.recorder().flush().await.is_ok()).await;
    let mut connection = PgConnection::connect(url).await.unwrap();
    let shed = ShedReason::ALL.map(|reason| monitoring.recorder().shed_total(reason));
    assert_eq!(shed, [0; ShedReason::ALL.len()], "there was room for everything");
    let recorded = done.recorded as i64;
    let mut number = async |sql: String| -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap()
    };
    let of = |source: &str| format!("FROM monitoring.events WHERE source = '{source}'");
    assert_eq!(number(format!("SELECT count(*) {}", of(LAYER))).await, recorded, "events of the layer");
    let numbers = format!("SELECT count(DISTINCT tags->'number') {}", of(LAYER));
    assert_eq!(number(numbers).await, recorded, "different events of the layer");
    let doubled = format!("SELECT count(*) - count(DISTINCT id) {}", of(CALLER));
    assert_eq!(number(doubled).await, 0, "events of callers stored twice");
    for table in ["metric_totals", "metric_samples"] {
        let sum = format!(
            "SELECT sum(value)::bigint FROM monitoring.{table}
             WHERE series_id IN (SELECT id FROM monitoring.metric_series WHERE name = '{COUNTER}')"
        );
        assert_eq!(number(sum).await, recorded, "{table}");
    }
    let stored = count(&mut connection, &done.answers.stored).await;
    assert_eq!(stored, done.answers.stored.len(), "events that callers were told are stored");
    for events in &done.answers.unconfirmed {
        let stored = count(&mut connection, events).await;
        assert!(stored == 0 || stored == events.len(), "{stored} of {} events", events.len());
    }
}

/// How many of these events are stored.
async fn count(connection: &mut PgConnection, events: &[EventId]) -> usize {
    let ids: Vec<_> = events.iter().map(|id| id.into_uuid()).collect();
    let sql = "SELECT count(*) FROM monitoring.events WHERE id = ANY($1)";
    let found: i64 = sqlx::query_scalar(sql).bind(ids).fetch_one(connection).await.unwrap();
    found as usize
}
