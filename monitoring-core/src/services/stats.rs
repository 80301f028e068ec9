//! Figures of the whole system.
//!
//! They come from counters kept while events and observations are stored, so they cost the same
//! whether the tables hold a thousand rows or a billion.

use chrono::TimeDelta;
use uuid::Uuid;

use crate::error::Result;
use crate::model::{
    EVENTS_TOTAL, IncidentFilter, Labels, Level, METRICS_TOTAL, MonitoringStats, Page, StatsSummary,
};
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::incidents::IncidentStore as _;
use crate::store::stats::StatsStore as _;
use crate::store::{AsConnection, Connection};

/// What the system holds. Observations of the system's own metrics are not counted.
///
/// # Errors
///
/// Storage failed.
pub async fn get_monitoring_stats(conn: &mut impl AsConnection) -> Result<MonitoringStats> {
    monitoring_stats(&mut conn.as_connection()).await
}

async fn monitoring_stats(connection: &mut Connection<'_>) -> Result<MonitoringStats> {
    let LastHour { events, metrics, .. } = last_hour(connection).await?;
    let mut store = connection.store();
    Ok(MonitoringStats {
        total_events: whole(store.counter_total(EVENTS_TOTAL).await?),
        total_metrics: whole(store.counter_total(METRICS_TOTAL).await?),
        active_alerts: store.firing_alerts().await?,
        open_incidents: store.open_incidents().await?,
        events_last_hour: events,
        metrics_last_hour: metrics,
    })
}

/// The last hour in general figures, and the incidents this user has opened or is assigned that are
/// neither resolved nor closed: the newest hundred.
///
/// # Errors
///
/// Storage failed.
pub async fn get_stats_summary(conn: &mut impl AsConnection, user: Uuid) -> Result<StatsSummary> {
    let mut connection = conn.as_connection();
    let LastHour { events, errors, metrics } = last_hour(&mut connection).await?;
    let filter = IncidentFilter { unresolved: true, visible_to: Some(user), ..IncidentFilter::default() };
    let own = connection.store().incidents(&filter, &Page::default()).await?;
    Ok(StatsSummary {
        events_last_hour: events,
        errors_last_hour: errors,
        metrics_last_hour: metrics,
        my_open_incidents: own.items,
    })
}

struct LastHour {
    events: i64,
    errors: i64,
    metrics: i64,
}

async fn last_hour(connection: &mut Connection<'_>) -> Result<LastHour> {
    let now = connection.context().settings.clock.now();
    let since = now - TimeDelta::hours(1);
    // What is packed meanwhile would be found twice.
    let mut snapshot = connection.begin_snapshot().await?;
    let mut store = snapshot.store();
    let events = store.counter_gains(EVENTS_TOTAL, since, now).await?;
    let metrics = store.counter_gains(METRICS_TOTAL, since, now).await?;
    let is_error = |labels: &Labels| {
        let level = labels.value("level");
        [Level::Error, Level::Critical].iter().any(|bad| level == Some(bad.as_str()))
    };
    Ok(LastHour {
        events: sum(&events, |_| true),
        errors: sum(&events, is_error),
        metrics: sum(&metrics, |_| true),
    })
}

fn sum(gains: &[(Labels, f64)], wanted: impl Fn(&Labels) -> bool) -> i64 {
    whole(gains.iter().filter(|(labels, _)| wanted(labels)).map(|(_, gain)| gain).sum())
}

/// Counters count whole things; their sums are exact far beyond what can be stored.
fn whole(count: f64) -> i64 {
    count as i64
}

#[cfg(feature = "postgres")]
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sqlx::{Connection as _, PgConnection};

    use super::*;
    use crate::clock::Clock;
    use crate::config::Settings;
    use crate::model::CreateEventRequest;
    use crate::services::create_event;
    use crate::store::chunks::ChunkStore as _;
    use crate::store::{Access, Context, Pool, test_server};

    #[tokio::test]
    async fn what_is_packed_meanwhile_counts_once_in_the_last_hour() {
        let Some(database) = test_server::database().await else { return };
        let clock = Clock::fixed("2026-03-04T12:00:00Z".parse().unwrap());
        let settings = Settings { clock: clock.clone(), ..Settings::default() };
        let pool = Pool::open(&database.url, Arc::new(Context::new(settings).unwrap())).unwrap();
        pool.migrate().await.unwrap();
        let mut conn = pool.acquire(Access::Write).await.unwrap();
        let event = r#"{"event_type": "log", "source": "shop"}"#;
        let event: CreateEventRequest = serde_json::from_str(event).unwrap();
        create_event(&mut conn, event).await.unwrap();
        clock.advance(std::time::Duration::from_secs(1_200));

        let mut packer = PgConnection::connect(&database.url).await.unwrap();
        let mut observer = PgConnection::connect(&database.url).await.unwrap();
        let mut packing = packer.begin().await.unwrap();
        let lock = "LOCK TABLE monitoring.metric_chunks IN ACCESS EXCLUSIVE MODE";
        sqlx::query(lock).execute(&mut *packing).await.unwrap();
        packing.as_connection().store().compact(None, clock.now(), 100).await.unwrap();
        let ending = async {
            let waiting = "SELECT count(*) FROM pg_locks
                           WHERE NOT granted AND relation = 'monitoring.metric_chunks'::regclass";
            while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut observer).await.unwrap() == 0 {}
            packing.commit().await.unwrap();
        };
        let (stats, ()) = tokio::join!(get_monitoring_stats(&mut conn), ending);
        assert_eq!(stats.unwrap().events_last_hour, 1);
    }
}
