//! An analysis made and kept.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::explain::{Explanation, METHOD, explain};
use super::read::{Bounds, read};
use crate::model::{Analysis, AnalysisId, Incident, Page};
use crate::query::PromQuery;
use crate::store::analyses::{AnalysisStore as _, OpenIncident};
use crate::store::{Store, StoreError};

/// Analyses made at once in this process; more wait their turn. Each holds what it has read in memory.
static TURNS: Semaphore = Semaphore::const_new(2);
/// Analyses kept of one incident.
const KEPT_MAX: u32 = 100;

/// Explains an incident from what is stored. Nothing is written.
pub(crate) async fn analyzed(
    promql: &PromQuery,
    incident: &Incident,
    made_by: Option<Uuid>,
) -> Result<Analysis, StoreError> {
    let turn = TURNS.acquire().await;
    debug_assert!(turn.is_ok(), "turns are never closed");
    let begun = Instant::now();
    let (input, mut cost) = read(promql, incident, &Bounds::default()).await?;
    let explanation = without_blocking(|| explain(&input));
    let made_at = promql.now();
    let Explanation { window, reference, onset, findings, signature, comparisons, notes } = explanation;
    cost.comparisons = comparisons;
    cost.notes.extend(notes);
    cost.duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Analysis {
        id: AnalysisId::at(made_at),
        incident_id: incident.id,
        made_at,
        made_by,
        method: METHOD,
        is_news: true,
        window,
        reference,
        onset,
        findings,
        signature,
        cost,
    })
}

/// Computing takes longer than a task may keep its thread: where there are others, they take over
/// its tasks.
fn without_blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Keeps an analysis, in a transaction that holds its incident. It is news unless the one before
/// says the same.
pub(crate) async fn keep(store: &mut Store<'_>, analysis: &mut Analysis) -> Result<(), StoreError> {
    let before = store.analyses(analysis.incident_id, &Page::first(1)).await?.items;
    let says_the_same = |before: &Analysis| {
        before.signature == analysis.signature && before.findings.is_empty() == analysis.findings.is_empty()
    };
    analysis.is_news = !before.first().is_some_and(says_the_same);
    store.insert_analysis(analysis).await?;
    store.trim_analyses(analysis.incident_id, KEPT_MAX).await
}

/// How long unresolved incidents are looked at again by themselves.
pub(crate) const WATCHED: TimeDelta = TimeDelta::minutes(65);

/// Whether an analysis is due: at once when an incident opens, every minute at first, then every
/// five, until what is looked at no longer changes.
pub(crate) fn is_due(incident: &OpenIncident, now: DateTime<Utc>) -> bool {
    let age = now - incident.started_at;
    let pause = if age < TimeDelta::minutes(6) { TimeDelta::minutes(1) } else { TimeDelta::minutes(5) };
    age <= WATCHED && incident.analyzed_at.is_none_or(|analyzed_at| now - analyzed_at >= pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IncidentId;

    #[test]
    fn an_analysis_is_due_at_once_then_every_few_minutes_for_an_hour() {
        let started_at: DateTime<Utc> = "2026-06-15T12:00:00Z".parse().unwrap();
        let due = |age: i64, since_last: Option<i64>| {
            let now = started_at + TimeDelta::minutes(age);
            let analyzed_at = since_last.map(|minutes| now - TimeDelta::minutes(minutes));
            is_due(&OpenIncident { id: IncidentId::at(started_at), started_at, analyzed_at }, now)
        };
        assert!(due(0, None) && due(2, Some(1)) && !due(2, Some(0)));
        assert!(!due(20, Some(4)) && due(20, Some(5)));
        assert!(due(65, Some(5)) && !due(66, Some(5)) && !due(66, None));
    }
}
