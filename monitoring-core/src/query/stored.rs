//! The series of the database as the engine reads them.

use std::collections::{HashMap, HashSet};
use std::sync::RwLock;

use chrono::{DateTime, TimeDelta, Utc};

use super::index::{Index, Key};
use crate::model::{SampleValue, Series, SeriesId};
use crate::promql::{Delta, Found, Matcher, Reach, Samples, SeriesSource, SourceError, Wanted};
use crate::store::series::{SeriesSample, SeriesStore as _};
use crate::store::{Access, AsConnection as _, Pool};

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
        let ids: Vec<_> = stored.iter().map(|series| series.id).collect();
        // Running totals are counted back from what there is now.
        let summed: Vec<Series> = match wanted {
            Wanted::Totals => stored.into_iter().filter(|series| series.kind().adds_up()).cloned().collect(),
            Wanted::Increments => Vec::new(),
        };
        let until = if summed.is_empty() { reach.until } else { i64::MAX / 2_000 };
        let mut connection = self.pool.acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        let mut snapshot = connection.begin_snapshot().await?;
        let rows = snapshot
            .store()
            .samples_of_series(&ids, instant(reach.after.saturating_add(1)), instant(until.saturating_add(1)))
            .await?;
        let totals = match summed[..] {
            [] => HashMap::new(),
            _ => snapshot.store().totals_of_series(&summed).await?,
        };
        let rows = by_series(&rows);
        let samples = |found: &Found<Key>| {
            let rows = rows.get(&found.key.series.id).copied().unwrap_or_default();
            shown(&found.key, rows, totals.get(&found.key.series.id), reach)
        };
        Ok(series.iter().map(samples).collect())
    }
}

fn distinct(series: &[Found<Key>]) -> Vec<&Series> {
    let mut seen = HashSet::new();
    series.iter().map(|found| &*found.key.series).filter(|series| seen.insert(series.id)).collect()
}

/// A time both databases know: nothing is stored a thousand years before or after 1970.
pub(super) fn instant(millis: i64) -> DateTime<Utc> {
    const YEARS_1000: TimeDelta = TimeDelta::days(365_250);
    let furthest = YEARS_1000.num_milliseconds();
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis.clamp(-furthest, furthest))
}

/// The rows of each series, which stand together.
fn by_series(rows: &[SeriesSample]) -> HashMap<SeriesId, &[SeriesSample]> {
    rows.chunk_by(|a, b| a.series_id == b.series_id).map(|rows| (rows[0].series_id, rows)).collect()
}

/// The samples of one series as PromQL sees them. `rows` may go on behind the end of `reach`.
fn shown(key: &Key, rows: &[SeriesSample], total: Option<&SampleValue>, reach: Reach) -> Samples {
    let within = rows.partition_point(|row| row.timestamp.timestamp_millis() <= reach.until);
    let (rows, later) = rows.split_at(within);
    if !key.series.kind().adds_up() {
        return readings(key, rows);
    }
    let mut samples = Samples::default();
    let mut delta = Delta::default();
    for row in rows {
        let (time, increment) = (row.timestamp.timestamp_millis(), key.part.of(&row.value));
        match (samples.times.last(), delta.increments.last_mut()) {
            (Some(last), Some(sum)) if *last == time => *sum += increment,
            _ => {
                samples.times.push(time);
                delta.increments.push(increment);
            }
        }
    }
    let added: f64 =
        delta.increments.iter().sum::<f64>() + later.iter().map(|row| key.part.of(&row.value)).sum::<f64>();
    // Rounding must not make less than nothing of it.
    let before = total.map_or(0.0, |total| (key.part.of(total) - added).max(0.0));
    let mut running = before;
    samples.values.extend(delta.increments.iter().map(|increment| {
        running += increment;
        running
    }));
    let was_there = before > 0.0 || key.registered_at <= reach.after;
    delta.before = was_there.then_some(before);
    Samples { delta: Some(delta), ..samples }
}

/// Of readings taken in the same millisecond, the last.
fn readings(key: &Key, rows: &[SeriesSample]) -> Samples {
    let mut samples = Samples::default();
    for row in rows {
        let (time, value) = (row.timestamp.timestamp_millis(), key.part.of(&row.value));
        match (samples.times.last(), samples.values.last_mut()) {
            (Some(last), Some(known)) if *last == time => *known = value,
            _ => {
                samples.times.push(time);
                samples.values.push(value);
            }
        }
    }
    samples
}
