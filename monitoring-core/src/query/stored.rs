//! The series of the database as the engine reads them.

use std::collections::{HashMap, HashSet};
use std::sync::RwLock;

use chrono::{DateTime, TimeDelta, Utc};

use super::index::{Index, Key};
use crate::model::{SampleValue, Series, SeriesId};
use crate::promql::{Delta, Found, Matcher, Reach, Samples, SeriesSource, SourceError, Wanted};
use crate::store::series::{SeriesStore as _, Shape};
use crate::store::{Access, AsConnection as _, Pool, SampleColumns};

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
        let index = self.index.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(index.find(matchers, max))
    }

    async fn samples(
        &self,
        series: &[Found<Key>],
        reach: Reach,
        wanted: Wanted,
    ) -> Result<Vec<Samples>, SourceError> {
        let stored = distinct(series);
        // Running totals are counted back from what there is now.
        let summed: Vec<Series> = match wanted {
            Wanted::Totals => stored
                .iter()
                .filter(|series| series.kind().adds_up())
                .map(|series| (*series).clone())
                .collect(),
            Wanted::Increments => Vec::new(),
        };
        let until = if summed.is_empty() { reach.until } else { i64::MAX / 2_000 };
        let (from, before) = (instant(reach.after.saturating_add(1)), instant(until.saturating_add(1)));
        let mut connection = self.pool.acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        let mut snapshot = connection.begin_snapshot().await?;
        let mut samples = HashMap::new();
        for (shape, ids) in by_shape(&stored) {
            samples.extend(snapshot.store().samples_of_series(&ids, shape, from, before).await?);
        }
        let totals = match summed[..] {
            [] => HashMap::new(),
            _ => snapshot.store().totals_of_series(&summed).await?,
        };
        let nothing = SampleColumns::default();
        let samples = |found: &Found<Key>| {
            let id = found.key.series.id;
            shown(&found.key, samples.get(&id).unwrap_or(&nothing), totals.get(&id), reach)
        };
        Ok(series.iter().map(samples).collect())
    }
}

fn distinct(series: &[Found<Key>]) -> Vec<&Series> {
    let mut seen = HashSet::new();
    series.iter().map(|found| &*found.key.series).filter(|series| seen.insert(series.id)).collect()
}

/// The series by what their samples are, where there are any.
fn by_shape(series: &[&Series]) -> impl Iterator<Item = (Shape, Vec<SeriesId>)> {
    let (distributions, numbers): (Vec<_>, Vec<_>) =
        series.iter().partition(|series| series.metric_type.is_distribution());
    let ids = |series: Vec<&Series>| series.into_iter().map(|series| series.id).collect::<Vec<_>>();
    let both = [(Shape::Numbers, ids(numbers)), (Shape::Distributions, ids(distributions))];
    both.into_iter().filter(|(_, ids)| !ids.is_empty())
}

/// A time both databases know: nothing is stored a thousand years before or after 1970.
pub(super) fn instant(millis: i64) -> DateTime<Utc> {
    const YEARS_1000: TimeDelta = TimeDelta::days(365_250);
    let furthest = YEARS_1000.num_milliseconds();
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis.clamp(-furthest, furthest))
}

/// The samples of one series as PromQL sees them. They may go on behind the end of `reach`.
fn shown(key: &Key, samples: &SampleColumns, total: Option<&SampleValue>, reach: Reach) -> Samples {
    let values = key.part.of_samples(samples);
    let within = samples.times.partition_point(|time| millis(*time) <= reach.until);
    let (times, (values, later)) = (&samples.times[..within], values.split_at(within));
    if !key.series.kind().adds_up() {
        // Of readings taken in the same millisecond, the last.
        return at_millis(times, values, |known, value| *known = value);
    }
    let Samples { times, values: increments, .. } =
        at_millis(times, values, |sum, increment| *sum += increment);
    let added: f64 = increments.iter().sum::<f64>() + later.iter().sum::<f64>();
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
