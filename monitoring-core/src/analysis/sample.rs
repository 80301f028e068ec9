//! Which events of a span of time are read: all where they are few, else a sample that can be compared.
//!
//! Time is cut into slices. A slice with few events is read whole. Of another one, events are read in a few
//! windows, in the order of the primary key, and stand for the others; problems, which are few, are read by
//! the index they have; and sources that say little are read whole, for what they say may be a heartbeat.
//!
//! Requests are not seen in pieces: some of those that begin in what was read are chosen, as many good ones
//! as may be and more bad ones, and all their events are read. Each stands for as many as it was chosen from. All
//! others are left out where requests are compared. So a busy service costs no more than a calm one, and what
//! is rare in it is as rare in what was read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::changes::change_tags;
use super::input::Seen;
use super::read::BEFORE;
use crate::model::{AnalysisCost, Event, EventId, Level, Period};
use crate::store::analyses::{AnalysisStore as _, Tie};
use crate::store::{Access, Pool, StoreError, Transaction};

/// How much is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Slices of time.
    pub slices: u32,
    /// Events of a slice.
    pub events_per_slice: u32,
    /// Problems of a slice and a level, where there are more events.
    pub problems_per_slice: u32,
    /// Requests that are read whole: with problems, and without.
    pub bad_requests: usize,
    pub good_requests: usize,
    /// Events of these requests.
    pub request_events: usize,
    /// Events of sources that say little.
    pub quiet_events: u32,
    /// Bytes of events, about.
    pub bytes: usize,
    pub series: usize,
    /// Other incidents, the newest; and those that are over and whose root cause is known.
    pub incidents: u32,
    pub explained_incidents: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            slices: 60,
            events_per_slice: 500,
            problems_per_slice: 100,
            bad_requests: 400,
            good_requests: 800,
            request_events: 12_000,
            quiet_events: 8_000,
            bytes: 64 << 20,
            series: 1_000,
            incidents: 100,
            explained_incidents: 500,
        }
    }
}

/// Windows of a slice that is sampled.
const WINDOWS: u32 = 4;
/// What a source says at most to be read whole, and how many sources are looked at.
const QUIET_MAX: u32 = 500;
const SOURCES_MAX: u32 = 300;
/// Events of one request; what has more is no request, but something that goes on.
const REQUEST_EVENTS_MAX: u32 = 200;
/// Requests read in one statement.
const REQUESTS_AT_ONCE: usize = 50;
/// Slices read in one transaction.
const SLICES_AT_ONCE: usize = 10;
/// Changes that are read.
const CHANGES_MAX: u32 = 60;
/// What one statement may take, and what the look-up of changes may.
const STATEMENT_MILLIS: u32 = 10_000;
const CHANGES_MILLIS: u32 = 2_000;
const PROBLEMS: [Level; 3] = [Level::Warn, Level::Error, Level::Critical];

/// What one request is known by.
type Id = (Tie, String);

/// Reads the events of a span; requests from when the incident was opened are chosen more often.
pub(super) async fn events(
    pool: &Pool,
    span: Period,
    bounds: &Bounds,
    cost: &mut AnalysisCost,
) -> Result<Vec<Seen>, StoreError> {
    let mut sample = Sample::of(span, span.start + BEFORE, *bounds);
    let slices: Vec<(usize, Period)> = slices(span, bounds.slices).enumerate().collect();
    for some in slices.chunks(SLICES_AT_ONCE) {
        let mut work = pool.begin_work(Access::Read).await?;
        {
            let mut connection = work.connection();
            let mut reading = connection.begin_snapshot().await?;
            reading.store().limit_time(STATEMENT_MILLIS).await?;
            for (number, slice) in some {
                sample.read_slice(&mut reading, *number, slice).await?;
            }
        }
        work.done();
    }
    if sample.sampled > 0 {
        sample.read_requests(pool).await?;
        sample.read_changes(pool, cost).await?;
    }
    Ok(sample.told(cost))
}

/// A part of time in which all requests of a kind were seen that have their beginning in it.
#[derive(Debug)]
struct Stratum {
    /// The worst problem of these requests; `None` of those without one.
    worst: Option<Level>,
    windows: Vec<Period>,
    /// For how many each stands.
    weight: f64,
    ids: BTreeSet<Id>,
    /// Whether more are chosen here than elsewhere.
    is_near: bool,
    /// Of these requests all events were read, or too many were found.
    chosen: BTreeSet<Id>,
}

impl Stratum {
    fn has(&self, time: DateTime<Utc>) -> bool {
        self.windows.iter().any(|window| window.start <= time && time <= window.end)
    }
}

/// What was read so far.
struct Sample {
    span: Period,
    opened_at: DateTime<Utc>,
    bounds: Bounds,
    seen: Vec<Seen>,
    ids: HashSet<EventId>,
    bytes: usize,
    estimated: f64,
    /// Slices that held more than was read, and sources read whole, once there is one.
    sampled: u32,
    quiet: Option<HashSet<String>>,
    strata: Vec<Stratum>,
    /// For how many requests each stands of which all is known.
    requests: HashMap<Id, f64>,
}

impl Sample {
    fn of(span: Period, opened_at: DateTime<Utc>, bounds: Bounds) -> Self {
        Self {
            span,
            opened_at,
            bounds,
            seen: Vec::new(),
            ids: HashSet::new(),
            bytes: 0,
            estimated: 0.0,
            sampled: 0,
            quiet: None,
            strata: Vec::new(),
            requests: HashMap::new(),
        }
    }

    /// Events of a slice that may be read, so that large ones do not fill the memory.
    fn limit(&self, number: usize) -> u32 {
        let most = self.bounds.events_per_slice;
        if self.seen.len() < most as usize {
            return most;
        }
        let left = (self.bounds.slices as usize).saturating_sub(number).max(1);
        let each = self.bytes.div_ceil(self.seen.len()).max(1);
        let fit = self.bounds.bytes.saturating_sub(self.bytes) / left / each;
        u32::try_from(fit).unwrap_or(most).clamp(most.min(40), most)
    }

    /// The same with what slices before have left over, where it is known how large events are: most of the time
    /// before an incident may be empty, above all where a system has run for minutes only.
    fn spare(&self, number: usize, some: &[Event]) -> u32 {
        let read = some.iter().map(bytes_of).sum::<usize>();
        let each = read.div_ceil(some.len().max(1)).max(1);
        let left = (self.bounds.slices as usize).saturating_sub(number).max(1);
        let fit = self.bounds.bytes.saturating_sub(self.bytes) / left / each;
        let until_now = self.bounds.events_per_slice as usize * (number + 1);
        u32::try_from(until_now.saturating_sub(self.seen.len()).min(fit)).unwrap_or(u32::MAX)
    }

    async fn read_slice(
        &mut self,
        reading: &mut Transaction<'_>,
        number: usize,
        slice: &Period,
    ) -> Result<(), StoreError> {
        let mut limit = self.limit(number);
        let mut store = reading.store();
        let mut first = store.first_events(slice, None, limit).await?;
        let spare = self.spare(number, &first);
        if first.len() >= limit as usize && spare >= 2 * limit {
            limit = spare;
            first = store.first_events(slice, None, limit).await?;
        }
        if first.len() < limit as usize {
            self.estimated += first.len() as f64;
            for event in first {
                if let Some(id) = id(&event) {
                    self.requests.entry(id).or_insert(1.0);
                }
                self.take(event, 1.0);
            }
            return Ok(());
        }
        drop(first);
        self.sampled += 1;
        if self.quiet.is_none() {
            self.read_quiet_sources(reading).await?;
        }
        self.read_problems(reading, slice).await?;
        self.read_windows(reading, number, slice, limit).await
    }

    /// Reads sources whole that say little, the quietest first.
    async fn read_quiet_sources(&mut self, reading: &mut Transaction<'_>) -> Result<(), StoreError> {
        let mut store = reading.store();
        let mut quiet = store.quiet_sources(&self.span, QUIET_MAX, SOURCES_MAX).await?;
        quiet.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        let mut left = self.bounds.quiet_events;
        quiet.retain(|(_, count)| {
            let fits = *count <= left;
            left -= if fits { *count } else { 0 };
            fits
        });
        let sources: Vec<String> = quiet.into_iter().map(|(source, _)| source).collect();
        if !sources.is_empty() {
            let limit = self.bounds.quiet_events;
            for event in store.events_of_sources(&sources, &self.span, limit).await? {
                self.take(event, 1.0);
            }
        }
        self.quiet = Some(sources.into_iter().collect());
        Ok(())
    }

    async fn read_problems(
        &mut self,
        reading: &mut Transaction<'_>,
        slice: &Period,
    ) -> Result<(), StoreError> {
        for level in PROBLEMS {
            let limit = self.bounds.problems_per_slice;
            let problems = reading.store().first_events(slice, Some(level), limit).await?;
            let end = match problems.last() {
                Some(last) if problems.len() >= limit as usize => last.timestamp,
                _ => slice.end,
            };
            let read = Period { start: slice.start, end };
            let weight = ratio_of(slice, [read]);
            self.add_stratum(Some(level), vec![read], weight, &problems);
            for event in problems {
                self.take(event, weight);
            }
        }
        Ok(())
    }

    async fn read_windows(
        &mut self,
        reading: &mut Transaction<'_>,
        number: usize,
        slice: &Period,
        limit: u32,
    ) -> Result<(), StoreError> {
        let (mut read, mut events) = (Vec::new(), Vec::new());
        for window in windows(slice, number) {
            let limit = (limit / WINDOWS).max(1);
            let found = reading.store().first_events(&window, None, limit).await?;
            let end = match found.last() {
                Some(last) if found.len() >= limit as usize => last.timestamp,
                _ => window.end,
            };
            read.push(Period { start: window.start, end });
            events.extend(found);
        }
        let weight = ratio_of(slice, read.iter().copied());
        self.estimated += events.len() as f64 * weight;
        self.add_stratum(None, read, weight, &events);
        // Problems and what quiet sources say have been read already, and stand for themselves.
        for event in events.into_iter().filter(|event| event.level < Some(Level::Warn)) {
            if !self.quiet.as_ref().is_some_and(|quiet| quiet.contains(&event.source)) {
                self.take(event, weight);
            }
        }
        Ok(())
    }

    fn add_stratum(&mut self, worst: Option<Level>, windows: Vec<Period>, weight: f64, events: &[Event]) {
        let ids: BTreeSet<Id> = events.iter().filter_map(id).collect();
        let is_near = windows.iter().any(|window| window.end > self.opened_at - TimeDelta::minutes(15));
        if !ids.is_empty() {
            self.strata.push(Stratum { worst, windows, weight, ids, is_near, chosen: BTreeSet::new() });
        }
    }

    fn take(&mut self, event: Event, weight: f64) {
        if self.ids.insert(event.id) {
            self.bytes += bytes_of(&event);
            self.seen.push(Seen { event, weight, request_weight: 0.0 });
        }
    }

    /// Reads all events of some requests.
    async fn read_requests(&mut self, pool: &Pool) -> Result<(), StoreError> {
        let mut wanted: BTreeSet<Id> = BTreeSet::new();
        for is_bad in [true, false] {
            let budget = if is_bad { self.bounds.bad_requests } else { self.bounds.good_requests };
            wanted.extend(chosen(&self.strata, is_bad, budget));
        }
        let (mut known, mut count) = (BTreeMap::<Id, Vec<Event>>::new(), 0);
        let wanted = mixed(wanted);
        for tie in [Tie::Trace, Tie::Request] {
            let ids: Vec<String> = wanted.iter().filter(|id| id.0 == tie).map(|id| id.1.clone()).collect();
            for some in ids.chunks(REQUESTS_AT_ONCE) {
                if count >= self.bounds.request_events || self.bytes > self.bounds.bytes * 5 / 4 {
                    break;
                }
                let mut work = pool.begin_work(Access::Read).await?;
                let events = {
                    let mut connection = work.connection();
                    let mut reading = connection.begin_snapshot().await?;
                    let mut store = reading.store();
                    store.limit_time(STATEMENT_MILLIS).await?;
                    store.events_of_requests(tie, some, &self.span, REQUEST_EVENTS_MAX).await?
                };
                work.done();
                count += events.len();
                known.extend(some.iter().map(|id| ((tie, id.clone()), Vec::new())));
                for event in events {
                    let key = match tie {
                        Tie::Trace => event.trace_id.clone(),
                        Tie::Request => event.request_id.clone(),
                    };
                    if let Some(events) = key.and_then(|key| known.get_mut(&(tie, key))) {
                        events.push(event);
                    }
                }
            }
        }
        self.weigh(known);
        Ok(())
    }

    /// Gives each request that is known the weight of where it was chosen, and takes its events.
    fn weigh(&mut self, known: BTreeMap<Id, Vec<Event>>) {
        for stratum in &mut self.strata {
            stratum.chosen = stratum.ids.iter().filter(|id| known.contains_key(*id)).cloned().collect();
        }
        for (id, events) in known {
            if events.len() >= REQUEST_EVENTS_MAX as usize {
                continue;
            }
            let worst =
                events.iter().filter_map(|event| event.level).max().filter(|level| *level >= Level::Warn);
            let telling = events.iter().filter(|event| worst.is_none() || event.level == worst);
            let Some(time) = telling.map(|event| event.timestamp).min() else { continue };
            let mut strata = self.strata.iter();
            let stratum = strata.find(|one| one.worst == worst && one.chosen.contains(&id) && one.has(time));
            if let Some(stratum) = stratum {
                let each = stratum.ids.len() as f64 / stratum.chosen.len() as f64;
                self.requests.insert(id, stratum.weight * each);
                for event in events {
                    // As a message it is none of those that were read to be counted.
                    self.take(event, 0.0);
                }
            }
        }
    }

    /// Deployments and configuration: few, and they matter. Where the database has no quick way to find
    /// them, they are left out.
    async fn read_changes(&mut self, pool: &Pool, cost: &mut AnalysisCost) -> Result<(), StoreError> {
        let tags: Vec<(String, String)> = change_tags().collect();
        let mut work = pool.begin_work(Access::Read).await?;
        let changes = {
            let mut connection = work.connection();
            let mut reading = connection.begin_snapshot().await?;
            let mut store = reading.store();
            store.limit_time(CHANGES_MILLIS).await?;
            store.tagged_events(&tags, &self.span, self.opened_at, CHANGES_MAX).await
        };
        match changes {
            Ok(changes) => changes.into_iter().for_each(|event| self.take(event, 0.0)),
            Err(error) if error.is_timeout() => {
                cost.notes
                    .push("deployments are told where they were met; looking for all took too long".into());
            }
            Err(error) => return Err(error),
        }
        work.done();
        Ok(())
    }

    /// All that was read, in order of time.
    fn told(mut self, cost: &mut AnalysisCost) -> Vec<Seen> {
        for seen in &mut self.seen {
            seen.request_weight = match id(&seen.event) {
                Some(id) => self.requests.get(&id).copied().unwrap_or(0.0),
                None => seen.weight,
            };
        }
        self.seen.sort_by_key(|seen| (seen.event.timestamp, seen.event.id));
        cost.events = self.seen.len() as u64;
        cost.events_estimated = (self.estimated.round() as u64).max(cost.events);
        if self.sampled > 0 {
            cost.notes.push(format!(
                "events were sampled in {} of {} slices of time: about {:.1} % of all were read",
                self.sampled,
                self.bounds.slices,
                cost.events as f64 / cost.events_estimated.max(1) as f64 * 100.0,
            ));
        }
        self.seen
    }
}

/// Requests to be read: of each part of time about as many, and more of those near the opening.
fn chosen(strata: &[Stratum], is_bad: bool, budget: usize) -> BTreeSet<Id> {
    let strata: Vec<&Stratum> = strata.iter().filter(|one| one.worst.is_some() == is_bad).collect();
    let of = |stratum: &Stratum, each: usize| {
        let share = if stratum.is_near { 3 * each } else { each };
        share.min(stratum.ids.len())
    };
    let sum = |each: usize| strata.iter().map(|stratum| of(stratum, each)).sum::<usize>();
    let mut each = 1;
    while each < budget && sum(each + 1) <= budget && sum(each) < sum(budget) {
        each += 1;
    }
    let spread = |stratum: &&Stratum| {
        let (all, some) = (stratum.ids.len(), of(stratum, each));
        let ids: Vec<Id> = stratum.ids.iter().cloned().collect();
        (0..some).map(move |n| ids[n * all / some].clone()).collect::<Vec<_>>()
    };
    strata.iter().flat_map(spread).collect()
}

/// In an order that has nothing to do with time, so that what no longer fits is missing everywhere alike.
fn mixed(ids: BTreeSet<Id>) -> Vec<Id> {
    let mut ids: Vec<Id> = ids.into_iter().collect();
    super::statistics::Sequence::new(0x1d5).shuffle(&mut ids);
    ids
}

fn id(event: &Event) -> Option<Id> {
    let of = |tie, id: &Option<String>| id.clone().map(|id| (tie, id));
    of(Tie::Trace, &event.trace_id).or_else(|| of(Tie::Request, &event.request_id))
}

/// What an event takes in memory, about.
fn bytes_of(event: &Event) -> usize {
    let value = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => 32 + text.len(),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => value.to_string().len() * 4,
        _ => 32,
    };
    let tags: usize = event.tags.iter().map(|(key, of)| 32 + key.len() + value(of)).sum();
    400 + event.source.len() + event.message.as_ref().map_or(0, String::len) + tags
}

/// Equal parts of a time.
pub(super) fn slices(span: Period, count: u32) -> impl Iterator<Item = Period> {
    let width = (span.end - span.start) / i32::try_from(count).unwrap_or(1).max(1);
    let at = move |n: u32| span.start + width * i32::try_from(n).unwrap_or(0);
    (0..count).map(move |n| Period { start: at(n), end: if n + 1 == count { span.end } else { at(n + 1) } })
}

/// Where a slice is looked into: once in each of its parts, not always at the beginning.
fn windows(slice: &Period, number: usize) -> impl Iterator<Item = Period> {
    let width = (slice.end - slice.start) / i32::try_from(WINDOWS).unwrap_or(1);
    slices(*slice, WINDOWS).enumerate().map(move |(n, part)| {
        let place = (number * WINDOWS as usize + n) as f64 * 0.618_034;
        let micros = width.num_microseconds().unwrap_or(0) as f64 * 0.5 * place.fract();
        Period { start: part.start + TimeDelta::microseconds(micros as i64), end: part.end }
    })
}

/// How many times as long as what was read of it the whole is.
fn ratio_of(whole: &Period, read: impl IntoIterator<Item = Period>) -> f64 {
    let micros = |period: &Period| (period.end - period.start).num_microseconds().unwrap_or(i64::MAX).max(1);
    let read: i64 = read.into_iter().map(|period| micros(&period)).sum();
    (micros(whole) as f64 / read as f64).max(1.0)
}

#[cfg(test)]
mod tests;
