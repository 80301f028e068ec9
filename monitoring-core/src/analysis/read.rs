//! Reads what an analysis looks at: a bounded part of what was recorded around an incident.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::explain::METHOD;
use super::input::{Input, OtherIncident, Seen};
pub(crate) use super::sample::Bounds;
use super::sample::events;
use crate::model::{AlertTransition, AnalysisCost, Incident, IncidentFilter, Level, Page, Period};
use crate::query::PromQuery;
use crate::store::analyses::AnalysisStore as _;
use crate::store::incidents::IncidentStore as _;
use crate::store::{Access, Pool, StoreError};

/// How long before its start an incident is looked at.
pub(super) const BEFORE: TimeDelta = TimeDelta::hours(1);
/// How long after it.
pub(super) const AFTER: TimeDelta = TimeDelta::hours(1);
/// How long before it series are looked at that are read seldom, every few minutes.
const BEFORE_SELDOM: TimeDelta = TimeDelta::hours(8);
/// One in so many events of trouble is how some systems are all the time.
const SOME: f64 = 20.0;
/// How far back other incidents are looked at.
const PAST: TimeDelta = TimeDelta::days(90);
/// Changes of alerts that are looked at, and those that began to fire that are told.
const TRANSITIONS_MAX: u32 = 20_000;
const FIRINGS_MAX: u32 = 500;

/// The time that is looked at for an incident.
pub(crate) fn span(incident: &Incident, now: DateTime<Utc>) -> Period {
    let end = incident.resolved_at.unwrap_or(now).min(incident.started_at + AFTER);
    Period { start: incident.started_at - BEFORE, end: end.max(incident.started_at) }
}

/// A system that has run for minutes only is compared with these minutes: where most of the time before
/// the incident is empty, what is looked at begins with the first event. One whose first words are of
/// trouble, more than some of them, has not begun then, it was quiet.
pub(super) fn since_there_was_something(span: Period, events: &[Seen]) -> Period {
    let first = events.first().map_or(span.start, |first| first.event.timestamp);
    let at_first = events.iter().take_while(|seen| seen.event.timestamp - first < (span.end - first) / 4);
    let (trouble, all) = at_first.fold((0.0, 0.0), |(trouble, all), seen| {
        let is_trouble = seen.event.level >= Some(Level::Error);
        (if is_trouble { trouble + seen.weight } else { trouble }, all + seen.weight)
    });
    let is_young = first - span.start > BEFORE / 2 && trouble * SOME <= all;
    Period { start: if is_young && first < span.end { first } else { span.start }, ..span }
}

/// Reads all an analysis of this incident looks at.
pub(crate) async fn read(
    promql: &PromQuery,
    incident: &Incident,
    bounds: &Bounds,
) -> Result<(Input, AnalysisCost), StoreError> {
    let pool = promql.pool();
    let whole = span(incident, pool.context().settings.clock.now());
    let mut cost = AnalysisCost::default();
    let events = events(pool, whole, bounds, &mut cost).await?;
    let span = since_there_was_something(whole, &events);
    // Series may tell of the time when there were no events yet.
    let earlier = incident.started_at - BEFORE_SELDOM;
    let series = match promql.histories(whole.start, whole.end, earlier, bounds.series).await {
        Ok((series, left_out)) => {
            if left_out > 0 {
                cost.notes.push(format!("{left_out} series were left out, evenly over all metrics"));
            }
            series
        }
        Err(error) => {
            cost.notes.push(format!("metrics are left out, for they could not be read: {error}"));
            Vec::new()
        }
    };
    cost.series = series.len() as u64;
    let incidents = incidents(pool, incident, bounds).await?;
    let firings = firings(pool, incident, span).await?;
    Ok((Input { span, opened_at: incident.started_at, events, series, incidents, firings }, cost))
}

/// Others of the last months, so that what is known of a cause is found however many there were since.
async fn incidents(
    pool: &Pool,
    incident: &Incident,
    bounds: &Bounds,
) -> Result<Vec<OtherIncident>, StoreError> {
    let period = Period { start: incident.started_at - PAST, end: incident.started_at + AFTER };
    let mut filter = IncidentFilter::default();
    (filter.start_time, filter.end_time) = (Some(period.start), Some(period.end));
    let mut work = pool.begin_work(Access::Read).await?;
    let (others, signatures) = {
        let mut connection = work.connection();
        let mut store = connection.store();
        let mut others = store.explained_incidents(&period, bounds.explained_incidents).await?;
        others.extend(store.incidents(&filter, &Page::first(bounds.incidents)).await?.items);
        let mut known = HashSet::from([incident.id]);
        others.retain(|other| known.insert(other.id));
        let ids: Vec<_> = others.iter().map(|other| other.id).collect();
        (others, store.signatures(&ids, METHOD).await?)
    };
    work.done();
    let mut signatures: std::collections::HashMap<_, _> = signatures.into_iter().collect();
    let known = others.into_iter().map(|incident| {
        let signature = signatures.remove(&incident.id).unwrap_or_default();
        OtherIncident { incident, signature }
    });
    Ok(known.collect())
}

/// Alerts of other rules that began to fire.
async fn firings(pool: &Pool, incident: &Incident, span: Period) -> Result<Vec<AlertTransition>, StoreError> {
    let mut work = pool.begin_work(Access::Read).await?;
    let mut firings = {
        let mut connection = work.connection();
        // What is being committed while it is read bears the time at which it was begun.
        let until = span.end + TimeDelta::microseconds(1);
        let period = Period { end: until, ..span };
        connection.store().firings(&period, TRANSITIONS_MAX, FIRINGS_MAX).await?
    };
    work.done();
    let is_own = |firing: &AlertTransition| firing.incident_id == Some(incident.id);
    let own: HashSet<_> =
        firings.iter().filter(|firing| is_own(firing)).map(|firing| firing.rule_id).collect();
    firings.retain(|firing| !own.contains(&firing.rule_id));
    Ok(firings)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::made::{seen, start};

    /// Where it begins, in seconds, if something is said every second from a second on, one in so many an error.
    fn begins(from: i64, one_in: i64) -> i64 {
        let level = |second: i64| if second % one_in == 0 { "error" } else { "info" };
        let events: Vec<Seen> =
            (from..3_600).map(|second| seen(second, json!({"level": level(second)}))).collect();
        let whole = Period { start: start(), end: start() + BEFORE };
        (since_there_was_something(whole, &events).start - start()).num_seconds()
    }

    #[test]
    fn what_has_run_for_minutes_begins_with_them_though_it_may_always_fail_now_and_then() {
        assert_eq!((begins(3_300, 30), begins(3_300, 4_000)), (3_300, 3_300));
        assert_eq!(begins(3_300, 2), 0, "it was quiet until it went wrong");
        assert_eq!(begins(600, 30), 0, "it has run for longer");
    }
}
