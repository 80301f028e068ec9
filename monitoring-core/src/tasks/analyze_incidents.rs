//! Explains incidents while they are open, without being asked.
//!
//! A tick finds in the store which analyses are due and makes a few of them. One replica does it; should
//! two, or a task of the host's, whoever comes second sees, with the incident locked, that the analysis is
//! there.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::leader::run_led;
use super::supervisor::INTERNAL_TARGET;
use crate::analysis::{WATCHED, analyzed, is_due, keep};
use crate::model::Page;
use crate::query::PromQuery;
use crate::store::analyses::{AnalysisStore as _, OpenIncident};
use crate::store::incidents::IncidentStore as _;
use crate::store::{Access, AsConnection as _, Connection, Pool, StoreError};

/// Whose work it is.
const LEASE: &str = "analyze_incidents";
/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(20);
/// What a tick may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Open incidents looked at, and analyses made, in one tick.
const LOOKED_AT_MAX: u32 = 100;
const MADE_MAX: usize = 3;

/// Runs until `stop`, on one replica at a time.
pub(crate) async fn analyze_incidents(pool: Pool, promql: PromQuery, stop: CancellationToken) {
    // A service that starts has other things to do.
    if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        run_led(pool, LEASE, INTERVAL, stop, |_| tick(promql.clone())).await;
    }
}

async fn tick(promql: PromQuery) {
    match tokio::time::timeout(PATIENCE, analyze_open(&promql, promql.now())).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(target: INTERNAL_TARGET, error, "incidents could not be analyzed; it will be tried again");
        }
        Err(_) => {
            tracing::warn!(target: INTERNAL_TARGET, "analyzing incidents took too long; it will be tried again");
        }
    }
}

/// Makes the analyses that are due at `now`, a few at most; returns how many were made.
pub(crate) async fn analyze_open(promql: &PromQuery, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let mut open = {
        let mut connection = promql.pool().acquire(Access::Read).await?;
        connection.as_connection().store().open_incidents(now - WATCHED, LOOKED_AT_MAX).await?
    };
    open.retain(|incident| is_due(incident, now));
    // Whoever has waited longest comes first; nobody has waited longer than those never looked at.
    open.sort_by_key(|incident| incident.analyzed_at);
    let mut made = 0;
    for incident in open.into_iter().take(MADE_MAX) {
        made += usize::from(analyze(promql, &incident, now).await?);
    }
    Ok(made)
}

async fn analyze(promql: &PromQuery, due: &OpenIncident, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let pool = promql.pool();
    let incident = {
        let mut connection = pool.acquire(Access::Read).await?;
        connection.as_connection().store().incident(due.id).await?
    };
    let Some(incident) = incident else { return Ok(false) };
    let mut analysis = analyzed(promql, &incident, None).await?;
    let mut connection = pool.acquire(Access::Write).await?;
    store(&mut connection.as_connection(), &mut analysis, due, now).await
}

/// Keeps the analysis, unless another replica was faster.
async fn store(
    connection: &mut Connection<'_>,
    analysis: &mut crate::model::Analysis,
    due: &OpenIncident,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut transaction = connection.begin().await?;
    if transaction.store().lock_incident(due.id).await?.is_none() {
        return Ok(false);
    }
    let last = transaction.store().analyses(due.id, &Page::first(1)).await?.items;
    let analyzed_at = last.first().map(|last| last.made_at);
    if !is_due(&OpenIncident { analyzed_at, ..*due }, now) {
        return Ok(false);
    }
    keep(&mut transaction.store(), analysis).await?;
    transaction.commit().await?;
    Ok(true)
}
