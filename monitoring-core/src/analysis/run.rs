//! An analysis made and kept.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::explain::{Explanation, METHOD, explain};
use super::read::{AFTER, Bounds, read};
use crate::aside::aside;
use crate::model::{Analysis, AnalysisId, Incident, Page};
use crate::query::PromQuery;
use crate::store::analyses::{AnalysisStore as _, OpenIncident};
use crate::store::{Access, Store, StoreError};

/// One analysis is made at a time in this process, and more wait: each holds what it has read in memory,
/// and keeps a processor busy.
static TURN: Semaphore = Semaphore::const_new(1);
/// Analyses kept of one incident.
const KEPT_MAX: u32 = 100;

/// An analysis, and whether it is kept already: somebody else asked for the same.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub analysis: Analysis,
    pub is_kept: bool,
}

/// Explains an incident from what is stored. Nothing is written.
pub(crate) async fn analyzed(
    promql: &PromQuery,
    incident: &Incident,
    made_by: Option<Uuid>,
) -> Result<Made, StoreError> {
    let asked_at = promql.now();
    let at_once = TURN.try_acquire();
    let has_waited = at_once.is_err();
    let turn = match at_once {
        Ok(turn) => Ok(turn),
        Err(_) => TURN.acquire().await,
    };
    debug_assert!(turn.is_ok(), "the semaphore is never closed");
    if has_waited && let Some(analysis) = begun_since(promql, incident, asked_at).await? {
        return Ok(Made { analysis, is_kept: true });
    }
    let begun = Instant::now();
    let incident = since_it_got_worse(promql, incident).await?;
    let (input, mut cost) = read(promql, &incident, &Bounds::default()).await?;
    // Whoever asked may be gone before it is computed, and it takes its turn all the same.
    let explanation = aside(move || {
        let explanation = explain(&input);
        drop(turn);
        explanation
    });
    let Explanation { window, reference, onset, findings, signature, comparisons, notes } =
        explanation.await?;
    let made_at = promql.now();
    cost.comparisons = comparisons;
    cost.notes.extend(notes);
    cost.duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let analysis = Analysis {
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
    };
    Ok(Made { analysis, is_kept: false })
}

/// An analysis that was begun after `asked_at`, while whoever asked waited.
async fn begun_since(
    promql: &PromQuery,
    incident: &Incident,
    asked_at: DateTime<Utc>,
) -> Result<Option<Analysis>, StoreError> {
    let mut work = promql.pool().begin_work(Access::Read).await?;
    let last = work.connection().store().analyses(incident.id, &Page::first(1)).await?.items.pop();
    work.done();
    let begun_at = |last: &Analysis| {
        let took = i64::try_from(last.cost.duration_ms).ok().and_then(TimeDelta::try_milliseconds);
        last.made_at - took.unwrap_or_default()
    };
    Ok(last.filter(|last| begun_at(last) > asked_at))
}

/// An incident that was opened again is explained as one that began then, and so is one that an alert joined
/// after the time looked at was over.
async fn since_it_got_worse(promql: &PromQuery, incident: &Incident) -> Result<Incident, StoreError> {
    let mut work = promql.pool().begin_work(Access::Read).await?;
    let (reopened_at, joined_at) = {
        let mut connection = work.connection();
        let mut store = connection.store();
        (store.reopened_at(incident.id).await?, store.joined_at(incident.id).await?)
    };
    work.done();
    let opened_at = reopened_at.unwrap_or(incident.started_at);
    let later = joined_at.filter(|joined_at| *joined_at > opened_at + AFTER);
    Ok(Incident { started_at: later.unwrap_or(opened_at), ..incident.clone() })
}

/// Keeps an analysis, in a transaction that holds its incident. It is news unless the one before
/// says the same.
pub(crate) async fn keep(store: &mut Store<'_>, analysis: &mut Analysis) -> Result<(), StoreError> {
    let before = store.analyses(analysis.incident_id, &Page::first(1)).await?.items;
    let says_the_same = |before: &Analysis| {
        before.method == analysis.method
            && before.signature == analysis.signature
            && before.findings.is_empty() == analysis.findings.is_empty()
    };
    analysis.is_news = !before.first().is_some_and(says_the_same);
    store.insert_analysis(analysis).await?;
    store.trim_analyses(analysis.incident_id, KEPT_MAX).await
}

/// How long an incident is looked at every few minutes: until what is looked at no longer changes.
const WATCHED: TimeDelta = TimeDelta::minutes(65);

/// Whether an analysis is due: at once when an incident opens or opens again, every minute at first, then
/// every five until it is an hour since it opened or an alert last joined it, then every hour, for others may be
/// known by then.
pub(crate) fn is_due(incident: &OpenIncident, now: DateTime<Utc>) -> bool {
    let pause = if now - incident.opened_at < TimeDelta::minutes(6) {
        TimeDelta::minutes(1)
    } else if is_watched(incident, now) {
        TimeDelta::minutes(5)
    } else {
        TimeDelta::hours(1)
    };
    let last = incident.analyzed_at.filter(|analyzed_at| *analyzed_at >= incident.opened_at);
    last.is_none_or(|analyzed_at| now - analyzed_at >= pause)
}

/// Whether it is looked at every few minutes.
pub(crate) fn is_watched(incident: &OpenIncident, now: DateTime<Utc>) -> bool {
    let worse_at = incident.joined_at.map_or(incident.opened_at, |joined| joined.max(incident.opened_at));
    now - worse_at <= WATCHED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IncidentId;

    fn due(age: i64, since_last: Option<i64>) -> bool {
        due_after_joining(age, None, since_last)
    }

    fn due_after_joining(age: i64, joined: Option<i64>, since_last: Option<i64>) -> bool {
        let opened_at: DateTime<Utc> = "2026-06-15T12:00:00Z".parse().unwrap();
        let now = opened_at + TimeDelta::minutes(age);
        let analyzed_at = since_last.map(|minutes| now - TimeDelta::minutes(minutes));
        let joined_at = joined.map(|minutes| opened_at + TimeDelta::minutes(minutes));
        is_due(&OpenIncident { id: IncidentId::at(opened_at), opened_at, joined_at, analyzed_at }, now)
    }

    #[test]
    fn an_analysis_is_due_at_once_then_every_few_minutes_then_every_hour() {
        assert!(due(0, None) && due(2, Some(1)) && !due(2, Some(0)));
        assert!(!due(20, Some(4)) && due(20, Some(5)));
        assert!(due(65, Some(5)) && !due(66, Some(5)) && due(130, Some(60)));
        assert!(due(40 * 24 * 60, Some(60)) && !due(40 * 24 * 60, Some(59)), "as long as it is open");
    }

    #[test]
    fn an_alert_that_joins_has_it_looked_at_every_few_minutes_again() {
        let two_days = 48 * 60;
        let due = |age, since_last| due_after_joining(age, Some(two_days), Some(since_last));
        assert!(due(two_days, 5) && !due(two_days, 4));
        assert!(due(two_days + 65, 5) && !due(two_days + 66, 5) && due(two_days + 66, 60));
        assert!(due_after_joining(3, Some(0), Some(1)), "those that open it are no others");
    }

    #[test]
    fn what_was_never_looked_at_or_opened_again_is_due_however_late() {
        assert!(due(66, None) && due(3 * 24 * 60, None));
        assert!(due(2, Some(180)), "it was opened again two minutes ago");
    }
}
