//! Explains incidents while they are open, without being asked.
//!
//! A tick finds in the store which analyses are due and makes a few of them. One replica does it; should
//! two, or a task of the host's, whoever comes second sees, with the incident locked, that the analysis is
//! there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::leader::run_led;
use super::supervisor::INTERNAL_TARGET;
use crate::analysis::{Made, analyzed, is_due, is_watched, keep};
use crate::model::{IncidentId, Page};
use crate::query::PromQuery;
use crate::store::analyses::{AnalysisStore as _, OpenIncident};
use crate::store::incidents::IncidentStore as _;
use crate::store::{Access, AsConnection as _, Connection, Pool, StoreError};

/// Whose work it is.
const LEASE: &str = "analyze_incidents";
/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(20);
/// What a tick may take, and one analysis of it.
const PATIENCE: Duration = Duration::from_secs(120);
const PATIENCE_EACH: Duration = Duration::from_secs(40);
/// Open incidents looked at, analyses made, and those that may fail, in one tick.
const LOOKED_AT_MAX: u32 = 1_000;
const MADE_MAX: usize = 3;
const FAILED_MAX: usize = 3;

/// Runs until `stop`, on one replica at a time.
pub(crate) async fn analyze_incidents(pool: Pool, promql: PromQuery, stop: CancellationToken) {
    // A service that starts has other things to do.
    if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        let attempts = Attempts::default();
        run_led(pool, LEASE, INTERVAL, stop, |_| tick(promql.clone(), attempts.clone())).await;
    }
}

async fn tick(promql: PromQuery, attempts: Attempts) {
    match tokio::time::timeout(PATIENCE, analyze_open(&promql, &attempts, promql.now())).await {
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

/// When analyses were last begun that came to nothing: they are tried again after all others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Arc<Mutex<HashMap<IncidentId, DateTime<Utc>>>>);

impl Attempts {
    fn known(&self) -> MutexGuard<'_, HashMap<IncidentId, DateTime<Utc>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is looked at every few minutes comes before what is every hour; of these, whoever has waited longest,
    /// and nobody has waited longer than those never looked at.
    fn in_order(&self, due: &mut [OpenIncident], now: DateTime<Utc>) {
        let mut known = self.known();
        known.retain(|id, _| due.iter().any(|incident| incident.id == *id));
        due.sort_by_key(|incident| {
            (!is_watched(incident, now), incident.analyzed_at.max(known.get(&incident.id).copied()))
        });
    }
}

/// Makes the analyses that are due at `now`, a few at most; returns how many were made. One that fails
/// keeps none of the others from being made.
pub(crate) async fn analyze_open(
    promql: &PromQuery,
    attempts: &Attempts,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let mut due = {
        let mut connection = promql.pool().acquire(Access::Read).await?;
        connection.as_connection().store().open_incidents(LOOKED_AT_MAX).await?
    };
    due.retain(|incident| is_due(incident, now));
    attempts.in_order(&mut due, now);
    let (mut made, mut failures) = (0, Vec::new());
    for incident in due {
        if made == MADE_MAX || failures.len() == FAILED_MAX {
            break;
        }
        attempts.known().insert(incident.id, now);
        let analysis = tokio::time::timeout(PATIENCE_EACH, analyze(promql, &incident, now)).await;
        match analysis.unwrap_or_else(|_| Err(StoreError::no_answer(PATIENCE_EACH))) {
            Ok(is_made) => {
                made += usize::from(is_made);
                attempts.known().remove(&incident.id);
            }
            Err(failure) => {
                let error: &dyn std::error::Error = &failure;
                let incident = incident.id;
                tracing::warn!(target: INTERNAL_TARGET, %incident, error, "an incident could not be analyzed");
                failures.push(failure);
            }
        }
    }
    match failures.pop() {
        Some(error) if made == 0 => Err(error),
        _ => Ok(made),
    }
}

async fn analyze(promql: &PromQuery, due: &OpenIncident, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let pool = promql.pool();
    let incident = {
        let mut connection = pool.acquire(Access::Read).await?;
        connection.as_connection().store().incident(due.id).await?
    };
    let Some(incident) = incident else { return Ok(false) };
    let Made { mut analysis, is_kept } = analyzed(promql, &incident, None).await?;
    if is_kept {
        return Ok(false);
    }
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn what_is_new_does_not_wait_for_what_has_been_open_for_weeks() {
        let now: DateTime<Utc> = "2026-06-15T12:00:00Z".parse().unwrap();
        let of = |n: i64, opened: TimeDelta, minutes| OpenIncident {
            id: IncidentId::at(now - TimeDelta::seconds(n)),
            opened_at: now - opened,
            joined_at: None,
            analyzed_at: Some(now - TimeDelta::minutes(minutes)),
        };
        let [old, new] = [of(1, TimeDelta::weeks(2), 90), of(2, TimeDelta::minutes(20), 5)];
        let mut due = [old, new];
        Attempts::default().in_order(&mut due, now);
        assert_eq!(due, [new, old]);
    }

    #[test]
    fn what_failed_comes_after_all_that_wait() {
        let now: DateTime<Utc> = "2026-06-15T12:00:00Z".parse().unwrap();
        let of = |n: i64, minutes: Option<i64>| OpenIncident {
            id: IncidentId::at(now - TimeDelta::seconds(n)),
            opened_at: now,
            joined_at: None,
            analyzed_at: minutes.map(|minutes| now - TimeDelta::minutes(minutes)),
        };
        let mut due = [of(1, None), of(2, Some(9)), of(3, None)];
        let attempts = Attempts::default();
        attempts.known().insert(due[0].id, now);
        attempts.known().insert(IncidentId::at(now - TimeDelta::days(1)), now);
        let expected = [due[2], due[1], due[0]];
        attempts.in_order(&mut due, now);
        assert_eq!(due, expected);
        assert_eq!(attempts.known().len(), 1, "what is due no longer is forgotten");
    }
}
