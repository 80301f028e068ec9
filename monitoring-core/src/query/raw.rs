//! Samples as they are, for systems that evaluate them themselves: federation and remote read.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};

use super::engine::PromQuery;
use super::selector::{Selector, parsed};
use crate::promql::{
    Budget, QueryError, QueryResult, Reach, Samples, SeriesSource as _, SeriesValues, Wanted, is_present,
};

/// Series whose samples are read at once: the fewer, the more samples each may have.
const SERIES_PER_BATCH: RangeInclusive<usize> = 16..=256;
/// The longest gap in the totals of a delta series: a reader that looks back five minutes, as
/// Prometheus does, always finds one.
const GAP_MAX_MILLIS: i64 = 4 * 60 * 1_000;

impl PromQuery {
    /// The samples of the series a selector finds, from `start` to `end`, both included, sorted by
    /// labels. Staleness markers are among them. Counters and distributions of ours are shown as a
    /// scraper would have seen them: as running totals, at least every four minutes.
    ///
    /// # Errors
    ///
    /// [`QueryError::Execution`] if it is more than the limits allow, [`QueryError::Timeout`], or
    /// [`QueryError::Source`] if storage failed.
    pub async fn samples(
        &self,
        selector: &Selector,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> QueryResult<Vec<SeriesValues>> {
        let end = end.min(self.now());
        if end < start {
            return Ok(Vec::new());
        }
        let reach = Reach { after: start.timestamp_millis() - 1, until: end.timestamp_millis() };
        // What is older is gone; what it added is there from the beginning.
        let oldest = self.now() - self.shared.pool.context().settings.retention.metrics;
        let oldest = oldest.timestamp_millis();
        self.in_turn(self.read(selector, reach, |samples, max| as_scraped(samples, reach, oldest, max))).await
    }

    /// The newest sample of each series that any of the selectors finds and that is there now,
    /// sorted by labels.
    ///
    /// # Errors
    ///
    /// [`QueryError::BadData`] if a text is no selector; otherwise as [`PromQuery::samples`].
    pub async fn newest(&self, selectors: &[String]) -> QueryResult<Vec<SeriesValues>> {
        let now = self.now().timestamp_millis();
        let lookback = i64::try_from(self.limits().lookback.as_millis()).unwrap_or(i64::MAX);
        let reach = Reach { after: now.saturating_sub(lookback), until: now };
        let reading = async {
            let mut found = Vec::new();
            for selector in parsed(selectors).await? {
                found.extend(self.read(&selector, reach, |samples, _| Some(newest(&samples, now))).await?);
                found.sort_unstable_by(|a: &SeriesValues, b| a.labels.cmp(&b.labels));
                found.dedup_by(|a, b| a.labels == b.labels);
                self.check_series(found.len())?;
            }
            Ok(found)
        };
        self.in_turn(reading).await
    }

    async fn read(
        &self,
        selector: &Selector,
        reach: Reach,
        show: impl Fn(Samples, usize) -> Option<Vec<(i64, f64)>> + Send,
    ) -> QueryResult<Vec<SeriesValues>> {
        self.follow().await?;
        let (source, limits) = (self.source(), self.limits());
        let mut found =
            source.find(selector.matchers(), reach, limits.series_max).await.map_err(QueryError::Source)?;
        self.check_series(found.len())?;
        found.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        let (mut left, mut budget) = (limits.samples_max, Budget::new(limits));
        let mut read = Vec::new();
        let (min, max) = SERIES_PER_BATCH.into_inner();
        for batch in found.chunks(reach.series_per_batch().clamp(min, max)) {
            let samples = source.samples(batch, reach, Wanted::Totals, &mut budget).await?;
            for (series, samples) in batch.iter().zip(samples) {
                let samples = show(samples, left).ok_or_else(QueryError::too_many_samples)?;
                left = left.checked_sub(samples.len()).ok_or_else(QueryError::too_many_samples)?;
                if !samples.is_empty() {
                    read.push(SeriesValues { labels: series.labels.clone(), samples });
                }
            }
        }
        Ok(read)
    }

    pub(super) fn check_series(&self, found: usize) -> QueryResult<()> {
        let max = self.limits().series_max;
        if found > max {
            return Err(QueryError::execution(format!("the selectors find more than {max} series")));
        }
        Ok(())
    }
}

/// What a scraper would have seen from `reach`'s beginning on, or since samples are kept; `None` if that
/// is more than `max` samples.
fn as_scraped(samples: Samples, reach: Reach, oldest: i64, max: usize) -> Option<Vec<(i64, f64)>> {
    let (first, newest) = (samples.times.first().copied(), samples.values.last().copied());
    let seen = samples.times.into_iter().zip(samples.values);
    let Some(delta) = samples.delta else { return Some(seen.collect()) };
    let start = (reach.after + 1).max(oldest).min(first.unwrap_or(i64::MAX));
    // What is left of the total by rounding is no beginning.
    let is_real = |total: &f64| *total == 0.0 || *total > newest.unwrap_or_default() * 1e-9;
    let filled = reach.until.saturating_sub(start) / GAP_MAX_MILLIS;
    if seen.len() as u64 + filled.max(0).unsigned_abs() > max as u64 {
        return None;
    }
    let mut scraped: Vec<(i64, f64)> = Vec::new();
    let before = delta.before.filter(is_real).filter(|_| start <= reach.until).map(|total| (start, total));
    for (time, total) in before.into_iter().chain(seen) {
        if let Some((last, unchanged)) = scraped.last().copied() {
            scraped.extend(between(last, time).map(|time| (time, unchanged)));
        }
        match scraped.last_mut() {
            Some(last) if last.0 == time => last.1 = total,
            _ => scraped.push((time, total)),
        }
    }
    if let Some((last, unchanged)) = scraped.last().copied() {
        scraped.extend(between(last, reach.until + 1).map(|time| (time, unchanged)));
    }
    Some(scraped)
}

/// Instants that leave no gap too long.
fn between(after: i64, before: i64) -> impl Iterator<Item = i64> {
    let next = move |time: &i64| time.checked_add(GAP_MAX_MILLIS).filter(|next| *next < before);
    std::iter::successors(next(&after), next)
}

/// The last sample, unless it says that there is no more. Totals of ours are those of now.
fn newest(samples: &Samples, now: i64) -> Vec<(i64, f64)> {
    let last = samples.times.last().copied().zip(samples.values.last().copied());
    let newest = match &samples.delta {
        None => last,
        Some(delta) => last.map(|(_, total)| total).or(delta.before).map(|total| (now, total)),
    };
    newest.filter(|(_, value)| is_present(*value)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{Delta, STALE};

    const MINUTE: i64 = 60_000;
    const REACH: Reach = Reach { after: -1, until: 10 * MINUTE };

    fn delta(times: Vec<i64>, values: Vec<f64>, before: Option<f64>) -> Samples {
        Samples { times, values, delta: Some(Delta { increments: Vec::new(), before }) }
    }

    #[test]
    fn readings_are_shown_as_they_are() {
        let readings = Samples { times: vec![1, 2], values: vec![0.5, STALE], delta: None };
        let shown = as_scraped(readings, REACH, 0, 10).unwrap();
        assert_eq!(shown[0], (1, 0.5));
        assert_eq!(shown[1].1.to_bits(), STALE.to_bits());
    }

    #[test]
    fn totals_are_shown_without_long_gaps() {
        let as_scraped = |samples| super::as_scraped(samples, REACH, 0, 10).unwrap();
        let shown = as_scraped(delta(vec![MINUTE], vec![7.0], Some(5.0)));
        assert_eq!(shown, [(0, 5.0), (MINUTE, 7.0), (5 * MINUTE, 7.0), (9 * MINUTE, 7.0)]);
        let shown = as_scraped(delta(vec![9 * MINUTE], vec![7.0], Some(5.0)));
        assert_eq!(shown, [(0, 5.0), (4 * MINUTE, 5.0), (8 * MINUTE, 5.0), (9 * MINUTE, 7.0)]);
    }

    #[test]
    fn a_series_begins_with_its_first_increment() {
        let as_scraped = |samples| super::as_scraped(samples, REACH, 0, 10).unwrap();
        assert_eq!(as_scraped(delta(vec![9 * MINUTE], vec![7.0], None)), [(9 * MINUTE, 7.0)]);
        assert_eq!(as_scraped(delta(Vec::new(), Vec::new(), None)), []);
    }

    #[test]
    fn nothing_is_invented_from_before_samples_are_kept() {
        let ever = Reach { after: i64::MIN / 2, until: 1_000_000 * MINUTE };
        let samples = || delta(Vec::new(), Vec::new(), Some(5.0));
        let shown = as_scraped(samples(), ever, 999_999 * MINUTE, 10).unwrap();
        assert_eq!(shown, [(999_999 * MINUTE, 5.0)]);
        let rounded = delta(vec![999_999 * MINUTE], vec![7.0], Some(7e-16));
        let shown = as_scraped(rounded, ever, 999_990 * MINUTE, 10).unwrap();
        assert_eq!(shown, [(999_999 * MINUTE, 7.0)]);
        assert_eq!(as_scraped(samples(), ever, 0, 1_000), None, "too many to be made");
    }

    #[test]
    fn the_newest_sample_of_what_is_still_there() {
        let readings = |last| Samples { times: vec![1, 2], values: vec![0.5, last], delta: None };
        assert_eq!(newest(&readings(3.0), 9), [(2, 3.0)]);
        assert_eq!(newest(&readings(STALE), 9), []);
        assert_eq!(newest(&delta(vec![1], vec![7.0], Some(5.0)), 9), [(9, 7.0)]);
        assert_eq!(newest(&delta(Vec::new(), Vec::new(), Some(5.0)), 9), [(9, 5.0)]);
    }
}
