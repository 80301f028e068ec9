//! Reads what an analysis looks at: a bounded part of what was recorded, spread evenly over time.
//!
//! Time is cut into slices, and of each slice the first events are read, in the order of the primary
//! key. Where a slice holds more, those read stand for the others, and problems, which are few, are
//! read by the index they have; then the other events of the requests that had problems. So a busy
//! service costs no more than a calm one.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::changes::CONFIGURATION;
use super::input::{Input, OtherIncident, Seen};
use crate::model::{
    AnalysisCost, Event, EventFilter, EventId, Incident, IncidentFilter, Level, Page, Period,
};
use crate::query::PromQuery;
use crate::store::analyses::AnalysisStore as _;
use crate::store::events::EventStore as _;
use crate::store::incidents::IncidentStore as _;
use crate::store::{Access, AsConnection as _, Pool, StoreError};

/// How much is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Slices of time.
    pub slices: u32,
    /// Events of a slice.
    pub events_per_slice: u32,
    /// Problems of a slice and a level, where there are more events.
    pub problems_per_slice: u32,
    /// Requests with problems whose other events are read.
    pub traces: usize,
    /// Events of these requests.
    pub trace_events: u32,
    pub series: usize,
    pub incidents: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            slices: 60,
            events_per_slice: 500,
            problems_per_slice: 100,
            traces: 300,
            trace_events: 5_000,
            series: 1_000,
            incidents: 100,
        }
    }
}

/// How long before its start an incident is looked at.
const BEFORE: TimeDelta = TimeDelta::hours(1);
/// How long after it.
const AFTER: TimeDelta = TimeDelta::hours(1);
/// How far back other incidents are looked at.
const PAST: TimeDelta = TimeDelta::days(90);
/// Changes of one kind that are read.
const CHANGES_MAX: u32 = 20;
const PROBLEMS: [Level; 3] = [Level::Warn, Level::Error, Level::Critical];

/// The time that is looked at for an incident.
pub(crate) fn span(incident: &Incident, now: DateTime<Utc>) -> Period {
    let end = incident.resolved_at.unwrap_or(now).min(incident.started_at + AFTER);
    Period { start: incident.started_at - BEFORE, end: end.max(incident.started_at) }
}

/// A system that has run for minutes only is compared with these minutes: where most of the time before
/// the incident is empty, what is looked at begins with the first event.
fn since_there_was_something(span: Period, events: &[Seen]) -> Period {
    let first = events.first().map_or(span.start, |first| first.event.timestamp);
    let is_young = first - span.start > BEFORE / 2 && first < span.end;
    Period { start: if is_young { first } else { span.start }, ..span }
}

/// Reads all an analysis of this incident looks at.
pub(crate) async fn read(
    promql: &PromQuery,
    incident: &Incident,
    bounds: &Bounds,
) -> Result<(Input, AnalysisCost), StoreError> {
    let pool = promql.pool();
    let span = span(incident, pool.context().settings.clock.now());
    let mut cost = AnalysisCost::default();
    let events = events(pool, span, bounds, &mut cost).await?;
    let span = since_there_was_something(span, &events);
    let series = match promql.histories(span.start, span.end, bounds.series).await {
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
    Ok((Input { span, opened_at: incident.started_at, events, series, incidents }, cost))
}

async fn events(
    pool: &Pool,
    span: Period,
    bounds: &Bounds,
    cost: &mut AnalysisCost,
) -> Result<Vec<Seen>, StoreError> {
    let mut reading = Reading::default();
    for slice in slices(span, bounds.slices) {
        let mut connection = pool.acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        let mut store = connection.store();
        let first = store.first_events(&slice, None, bounds.events_per_slice).await?;
        let weight = weight(&first, &slice, bounds.events_per_slice);
        reading.estimated += first.len() as f64 * weight;
        if weight <= 1.0 {
            reading.take(first, 1.0);
            continue;
        }
        reading.sampled += 1;
        for level in PROBLEMS {
            let problems = store.first_events(&slice, Some(level), bounds.problems_per_slice).await?;
            let weight = self::weight(&problems, &slice, bounds.problems_per_slice);
            reading.traces.extend(problems.iter().filter_map(|event| event.trace_id.clone()));
            reading.take(problems, weight);
        }
        reading.take(first, weight);
    }
    if reading.sampled > 0 {
        reading.complete(pool, span, bounds).await?;
        let share = reading.seen.len() as f64 / reading.estimated.max(1.0) * 100.0;
        let of = bounds.slices;
        cost.notes.push(format!(
            "events were sampled in {} of {of} slices of time: about {share:.1} % of all were read",
            reading.sampled
        ));
    }
    let mut seen = reading.seen;
    seen.sort_by_key(|seen| (seen.event.timestamp, seen.event.id));
    cost.events = seen.len() as u64;
    cost.events_estimated = (reading.estimated.round() as u64).max(cost.events);
    Ok(seen)
}

/// What was read so far.
#[derive(Debug, Default)]
struct Reading {
    seen: Vec<Seen>,
    ids: HashSet<EventId>,
    estimated: f64,
    /// Slices that held more than was read.
    sampled: u32,
    /// Of problems whose requests are not known in full.
    traces: BTreeSet<String>,
}

impl Reading {
    fn take(&mut self, events: Vec<Event>, weight: f64) {
        for event in events {
            if self.ids.insert(event.id) {
                self.seen.push(Seen { event, weight });
            }
        }
    }

    /// Reads the other events of requests that had problems, and changes, which are few and matter.
    async fn complete(&mut self, pool: &Pool, span: Period, bounds: &Bounds) -> Result<(), StoreError> {
        let every = self.traces.len().div_ceil(bounds.traces).max(1);
        let traces: Vec<String> = self.traces.iter().step_by(every).cloned().collect();
        let mut connection = pool.acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        let mut store = connection.store();
        if !traces.is_empty() {
            let others = store.events_of_traces(&traces, &span, bounds.trace_events).await?;
            self.take(others, 1.0);
        }
        for (key, value) in change_tags() {
            let filter = EventFilter {
                start_time: Some(span.start),
                end_time: Some(span.end),
                tags: vec![(key.to_owned(), value.to_owned())],
                ..EventFilter::default()
            };
            let changes = store.events(&filter, &Page::first(CHANGES_MAX)).await?;
            self.take(changes.items, 1.0);
        }
        Ok(())
    }
}

fn change_tags() -> impl Iterator<Item = (&'static str, &'static str)> {
    let values = ["deploy", "deployment"].into_iter().chain(CONFIGURATION);
    values.flat_map(|value| ["kind", "event"].map(|key| (key, value)))
}

/// Equal parts of a time.
fn slices(span: Period, count: u32) -> impl Iterator<Item = Period> {
    let width = (span.end - span.start) / i32::try_from(count).unwrap_or(1).max(1);
    let at = move |n: u32| span.start + width * i32::try_from(n).unwrap_or(0);
    (0..count).map(move |n| Period { start: at(n), end: if n + 1 == count { span.end } else { at(n + 1) } })
}

/// For how many each of these stands: all there are, if fewer were found than asked for; else they
/// fill a part of the slice, and the rest is taken to be as full.
fn weight(events: &[Event], slice: &Period, limit: u32) -> f64 {
    if events.len() < limit as usize {
        return 1.0;
    }
    let Some(last) = events.last() else { return 1.0 };
    let micros = |time: TimeDelta| time.num_microseconds().unwrap_or(i64::MAX).max(1) as f64;
    (micros(slice.end - slice.start) / micros(last.timestamp - slice.start)).max(1.000_001)
}

async fn incidents(
    pool: &Pool,
    incident: &Incident,
    bounds: &Bounds,
) -> Result<Vec<OtherIncident>, StoreError> {
    let period = Period { start: incident.started_at - PAST, end: incident.started_at + AFTER };
    let mut filter = IncidentFilter::default();
    (filter.start_time, filter.end_time) = (Some(period.start), Some(period.end));
    let mut connection = pool.acquire(Access::Read).await?;
    let mut connection = connection.as_connection();
    let mut store = connection.store();
    let others = store.incidents(&filter, &Page::first(bounds.incidents)).await?;
    let mut signatures: std::collections::HashMap<_, _> =
        store.signatures(&period, bounds.incidents).await?.into_iter().collect();
    let others = others.items.into_iter().filter(|other| other.id != incident.id);
    let known = others.map(|incident| {
        let signature = signatures.remove(&incident.id).unwrap_or_default();
        OtherIncident { incident, signature }
    });
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period() -> Period {
        let start: DateTime<Utc> = "2026-06-15T12:00:00Z".parse().unwrap();
        Period { start, end: start + TimeDelta::minutes(61) }
    }

    #[test]
    fn slices_cover_all_and_do_not_overlap() {
        let slices: Vec<_> = slices(period(), 60).collect();
        assert_eq!(slices.len(), 60);
        assert_eq!((slices[0].start, slices[59].end), (period().start, period().end));
        assert!(slices.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn changes_are_looked_for_under_each_tag_that_tells_of_them() {
        let tags: Vec<_> = change_tags().collect();
        assert_eq!(tags.len(), 14);
        assert!(tags.contains(&("kind", "deploy")) && tags.contains(&("event", "feature_flag")));
    }
}
