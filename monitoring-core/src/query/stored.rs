//! The series of the database as the engine reads them.

use std::collections::{HashMap, HashSet};
use std::sync::RwLock;

use chrono::{DateTime, TimeDelta, Utc};

use super::index::{Index, Key};
use super::lookup::look_up;
use crate::config::{Retention, Settings};
use crate::model::{SampleValue, Series, SeriesId};
use crate::promql::{
    Budget, Delta, Found, Matcher, QueryError, QueryResult, Reach, Samples, SeriesSource, SourceError, Wanted,
};
use crate::store::series::{SeriesStore as _, Shape};
use crate::store::{Access, AsConnection as _, Pool, SampleColumns, StoreError, Transaction};

/// What is read at once of the time behind a reach, more or less, in samples: 8 MB.
const CELLS_PER_SLICE: i64 = 500_000;
/// The longest slice of that time: what is dense may begin within any.
const SLICE_MILLIS_MAX: i64 = 86_400_000;
/// Samples may be so much older than they should get: days leave whole, and not at once.
const OVERDUE_MILLIS: i64 = 3 * 86_400_000;
/// Behind everything, in milliseconds.
const END_OF_TIME: i64 = i64::MAX / 2_000;

/// Reads series found in an index from the database behind a pool.
#[derive(Debug)]
pub(super) struct StoredSeries<'q> {
    pub pool: &'q Pool,
    pub index: &'q RwLock<Index>,
}

impl SeriesSource for StoredSeries<'_> {
    type Key = Key;

    async fn find(
        &self,
        matchers: &[Matcher],
        _reach: Reach,
        max: usize,
    ) -> Result<Vec<Found<Key>>, SourceError> {
        Ok(look_up(self.index, matchers, max).await.series(max).await)
    }

    async fn samples(
        &self,
        series: &[Found<Key>],
        reach: Reach,
        wanted: Wanted,
        budget: &mut Budget,
    ) -> QueryResult<Vec<Samples>> {
        let is_summed = |series: &&Series| wanted == Wanted::Totals && series.kind().adds_up();
        let (summed, read): (Vec<_>, Vec<_>) = distinct(series).into_iter().partition(is_summed);
        let mut connection = self.pool.acquire(Access::Read).await.map_err(unread)?;
        let mut connection = connection.as_connection();
        let snapshot = connection.begin_snapshot().await.map_err(unread)?;
        let mut reading = Reading { snapshot, budget, reach, within: HashMap::new(), later: HashMap::new() };
        reading.read(&by_shape(&read), reach.after.saturating_add(1), reach.until.saturating_add(1)).await?;
        let mut totals = HashMap::new();
        if !summed.is_empty() {
            reading.read_on(&summed, &self.pool.context().settings).await?;
            let summed: Vec<_> = summed.into_iter().cloned().collect();
            totals = reading.snapshot.store().totals_of_series(&summed).await.map_err(unread)?;
        }
        let nothing = SampleColumns::default();
        let samples = |found: &Found<Key>| {
            let id = found.key.series.id;
            let within = reading.within.get(&id).unwrap_or(&nothing);
            let later = reading.later.get(&id).unwrap_or(&nothing);
            shown(&found.key, within, later, totals.get(&id), reach)
        };
        let samples = series.iter().map(samples).collect();
        reading.budget.give_back(cells(&reading.within));
        Ok(samples)
    }
}

/// What is read of series, all of it in one state of the database.
struct Reading<'r, 'c> {
    snapshot: Transaction<'c>,
    budget: &'r mut Budget,
    reach: Reach,
    /// What lies within reach.
    within: HashMap<SeriesId, SampleColumns>,
    /// What lies behind it, added up to one sample a series.
    later: HashMap<SeriesId, SampleColumns>,
}

impl Reading<'_, '_> {
    /// Reads to the end of time, because running totals are counted back from what there is now. What lies
    /// behind the reach may be months, so it is never held as a whole.
    async fn read_on(&mut self, summed: &[&Series], settings: &Settings) -> QueryResult<()> {
        let now = settings.clock.now();
        let oldest = Retention::oldest(settings.retention.metrics, now).timestamp_millis() - OVERDUE_MILLIS;
        let (shapes, now) = (by_shape(summed), now.timestamp_millis());
        let mut length = first_length(summed.len());
        let mut from = self.reach.after.saturating_add(1);
        let mut before = slice_end(self.reach.until.saturating_add(1).max(oldest), length, now);
        loop {
            let read = self.read(&shapes, from, before).await?;
            if before == END_OF_TIME {
                return Ok(());
            }
            length = next_length(length, read);
            (from, before) = (before, slice_end(before, length, now));
        }
    }

    /// Reads from one millisecond on and before another; returns what it cost to hold that.
    async fn read(
        &mut self,
        shapes: &[(Shape, Vec<SeriesId>)],
        from: i64,
        before: i64,
    ) -> QueryResult<usize> {
        let behind = instant(self.reach.until.saturating_add(1)).timestamp_micros();
        let mut read = 0;
        for (shape, ids) in shapes {
            let mut store = self.snapshot.store();
            let samples = store.samples_of_series(ids, *shape, instant(from), instant(before)).await;
            let mut samples = samples.map_err(unread)?;
            let held = cells(&samples);
            self.budget.take(held)?;
            for (id, samples) in &mut samples {
                let later = samples.split_off(behind);
                if !later.times.is_empty() {
                    let sum = self.later.entry(*id).or_default();
                    sum.append(later);
                    sum.add_up();
                }
            }
            samples.retain(|_, samples| !samples.times.is_empty());
            self.budget.give_back(held - cells(&samples));
            self.budget.spend(held).await?;
            self.within.extend(samples);
            read += held;
        }
        Ok(read)
    }
}

/// The first slice of time behind a reach, in milliseconds: long enough for one sample a second.
fn first_length(series: usize) -> i64 {
    (CELLS_PER_SLICE / i64::try_from(series).unwrap_or(i64::MAX).max(1) * 1_000)
        .clamp(1_000, SLICE_MILLIS_MAX)
}

/// The next one, by what was read in the last.
fn next_length(length: i64, read: usize) -> i64 {
    let read = i64::try_from(read).unwrap_or(i64::MAX).max(1);
    (length * CELLS_PER_SLICE / read).min(length * 4).clamp(1_000, SLICE_MILLIS_MAX)
}

/// Where a slice ends. Little lies ahead of the clock, so that belongs to the last.
fn slice_end(start: i64, length: i64, now: i64) -> i64 {
    let end = start.saturating_add(length);
    if end > now { END_OF_TIME } else { end }
}

fn cells(samples: &HashMap<SeriesId, SampleColumns>) -> usize {
    samples.values().map(SampleColumns::cells).sum()
}

fn unread(error: StoreError) -> QueryError {
    QueryError::Source(error.into())
}

fn distinct(series: &[Found<Key>]) -> Vec<&Series> {
    let mut seen = HashSet::new();
    series.iter().map(|found| &*found.key.series).filter(|series| seen.insert(series.id)).collect()
}

/// The series by what their samples are, where there are any.
fn by_shape(series: &[&Series]) -> Vec<(Shape, Vec<SeriesId>)> {
    let (distributions, numbers): (Vec<_>, Vec<_>) =
        series.iter().partition(|series| series.metric_type.is_distribution());
    let ids = |series: Vec<&Series>| series.into_iter().map(|series| series.id).collect::<Vec<_>>();
    let both = [(Shape::Numbers, ids(numbers)), (Shape::Distributions, ids(distributions))];
    both.into_iter().filter(|(_, ids)| !ids.is_empty()).collect()
}

/// A time both databases know: nothing is stored a thousand years before or after 1970.
pub(super) fn instant(millis: i64) -> DateTime<Utc> {
    const YEARS_1000: TimeDelta = TimeDelta::days(365_250);
    let furthest = YEARS_1000.num_milliseconds();
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis.clamp(-furthest, furthest))
}

/// The samples of one series as PromQL sees them; `later` adds up those behind the end of `reach`.
fn shown(
    key: &Key,
    samples: &SampleColumns,
    later: &SampleColumns,
    total: Option<&SampleValue>,
    reach: Reach,
) -> Samples {
    let (times, values) = (&samples.times, key.part.of_samples(samples));
    if !key.series.kind().adds_up() {
        // Of readings taken in the same millisecond, the last.
        return at_millis(times, &values, |known, value| *known = value);
    }
    let Samples { times, values: increments, .. } =
        at_millis(times, &values, |sum, increment| *sum += increment);
    let added: f64 = increments.iter().sum::<f64>() + key.part.of_samples(later).iter().sum::<f64>();
    // Rounding must not make less than nothing of it.
    let before = total.map_or(0.0, |total| (key.part.of(total) - added).max(0.0));
    let running = increments.iter().scan(before, |running, increment| {
        *running += increment;
        Some(*running)
    });
    let values = running.collect();
    let was_there = before > 0.0 || key.registered_at <= reach.after;
    Samples { times, values, delta: Some(Delta { increments, before: was_there.then_some(before) }) }
}

fn millis(micros: i64) -> i64 {
    micros.div_euclid(1_000)
}

/// The samples at full milliseconds, those of the same one joined.
fn at_millis(times: &[i64], values: &[f64], join: impl Fn(&mut f64, f64)) -> Samples {
    let (mut joined_times, mut joined) = (Vec::with_capacity(times.len()), Vec::with_capacity(times.len()));
    for (time, value) in times.iter().map(|time| millis(*time)).zip(values) {
        match (joined_times.last(), joined.last_mut()) {
            (Some(last), Some(known)) if *last == time => join(known, *value),
            _ => {
                joined_times.push(time);
                joined.push(*value);
            }
        }
    }
    Samples { times: joined_times, values: joined, delta: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_as_long_as_what_is_in_them_allows() {
        assert_eq!(first_length(1), SLICE_MILLIS_MAX);
        assert_eq!(first_length(2_000), 250_000);
        assert_eq!(next_length(250_000, 0), 1_000_000);
        assert_eq!(next_length(250_000, 250_000), 500_000);
        assert_eq!(next_length(250_000, 5_000_000), 25_000);
        assert_eq!(next_length(SLICE_MILLIS_MAX, 7), SLICE_MILLIS_MAX);
        assert_eq!(next_length(1_000, usize::MAX), 1_000);
    }

    #[test]
    fn the_last_slice_takes_what_is_ahead() {
        assert_eq!(slice_end(0, 10, 30), 10);
        assert_eq!(slice_end(20, 10, 30), 30);
        assert_eq!(slice_end(30, 10, 30), END_OF_TIME);
        assert_eq!(slice_end(i64::MAX, 10, 30), END_OF_TIME);
    }
}
