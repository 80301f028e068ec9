//! Instant selectors, and the reading of series in batches.

use super::Evaluator;
use crate::promql::error::{QueryError, QueryResult};
use crate::promql::functions::seconds;
use crate::promql::labels::LabelSet;
use crate::promql::matcher::Matcher;
use crate::promql::plan::{Select, Shift};
use crate::promql::source::{Reach, Samples, SeriesSource, Wanted};
use crate::promql::value::{ABSENT, Row, Steps, is_present};

/// Samples read at once, more or less: a few megabytes.
const SAMPLES_PER_BATCH: i64 = 500_000;
/// Series read at once, however few samples that makes.
const SERIES_PER_BATCH_MAX: i64 = 2_048;

impl<S: SeriesSource> Evaluator<'_, S> {
    /// The newest value of each series at each step.
    pub(super) async fn select(&mut self, select: &Select, steps: Steps) -> QueryResult<Vec<Row>> {
        self.newest(select, steps, |_, value| value).await
    }

    /// When the newest value was measured, in seconds since 1970.
    pub(super) async fn select_times(&mut self, select: &Select, steps: Steps) -> QueryResult<Vec<Row>> {
        let mut rows = self.newest(select, steps, |time, _| seconds(time)).await?;
        rows.iter_mut().for_each(|row| row.drops_name = true);
        Ok(rows)
    }

    async fn newest(
        &mut self,
        select: &Select,
        steps: Steps,
        wanted: impl Fn(i64, f64) -> f64 + Send + Sync,
    ) -> QueryResult<Vec<Row>> {
        let reach = reach(select.shift, steps, self.lookback);
        let lookback = self.lookback;
        let column = |samples| Ok(newest(&samples, select.shift, steps, lookback, &wanted));
        let columns = self.read(&select.matchers, reach, Wanted::Totals, column).await?;
        if let Some(seen) = &mut self.seen {
            seen.has_looked = true;
            columns.iter().for_each(|(_, values)| seen.column(values));
        }
        let row = |(labels, values)| Row { labels, drops_name: false, values };
        Ok(columns.into_iter().map(row).filter(Row::is_anywhere).collect())
    }

    /// Reads the series that match, and keeps what `make` makes of the samples of each.
    pub(super) async fn read<T: Footprint>(
        &mut self,
        matchers: &[Matcher],
        reach: Reach,
        wanted: Wanted,
        make: impl Fn(Samples) -> QueryResult<T> + Send,
    ) -> QueryResult<Vec<(LabelSet, T)>> {
        let mut made = Vec::new();
        let found = self.source.find(matchers, reach, self.series_max).await.map_err(QueryError::Source)?;
        if found.len() > self.series_max {
            let message = format!("the query selects more than {} series at once", self.series_max);
            return Err(QueryError::execution(message));
        }
        for batch in found.chunks(series_per_batch(reach)) {
            let samples = self.source.samples(batch, reach, wanted).await.map_err(QueryError::Source)?;
            let read: usize = samples.iter().map(Footprint::cells).sum();
            self.budget.take(read)?;
            for (series, samples) in batch.iter().zip(samples) {
                let cells = samples.cells();
                let item = make(samples)?;
                self.budget.take(item.cells())?;
                self.budget.spend(cells + item.cells()).await?;
                made.push((series.labels.clone(), item));
            }
            self.budget.give_back(read);
        }
        Ok(made)
    }
}

/// How many series to read at once, if each has a sample every fifteen seconds.
fn series_per_batch(reach: Reach) -> usize {
    let samples = (reach.until.saturating_sub(reach.after) / 15_000).clamp(1, SAMPLES_PER_BATCH);
    usize::try_from((SAMPLES_PER_BATCH / samples).min(SERIES_PER_BATCH_MAX)).unwrap_or(1)
}

/// What holding it costs, in samples.
pub(super) trait Footprint: Send {
    fn cells(&self) -> usize;
}

impl Footprint for Vec<f64> {
    fn cells(&self) -> usize {
        self.len()
    }
}

impl Footprint for Samples {
    fn cells(&self) -> usize {
        self.times.len()
    }
}

/// The samples that windows of this length see, the first and the last together.
pub(super) fn reach(shift: Shift, steps: Steps, length: i64) -> Reach {
    Reach { after: shift.seen_at(steps.start) - length, until: shift.seen_at(steps.end()) }
}

fn newest(
    samples: &Samples,
    shift: Shift,
    steps: Steps,
    lookback: i64,
    wanted: impl Fn(i64, f64) -> f64,
) -> Vec<f64> {
    let mut seen = 0;
    let before = samples.delta.as_ref().and_then(|delta| delta.before);
    let column = steps.iter().map(|step| {
        let time = shift.seen_at(step);
        seen += samples.times[seen..].partition_point_near(|sample| *sample <= time);
        let Some(last) = seen.checked_sub(1) else {
            return before.map_or(ABSENT, |value| wanted(time, value));
        };
        let (sampled, value) = (samples.times[last], samples.values[last]);
        let is_fresh = sampled > time - lookback;
        match (is_fresh && is_present(value), &samples.delta) {
            (true, _) => wanted(sampled, value),
            // What was counted stays, as if it were measured now: whether an earlier sample has been
            // read is the query's business, not the answer's.
            (false, Some(_)) => wanted(time, value),
            (false, None) => ABSENT,
        }
    });
    column.collect()
}

/// Finding the end of what fulfils a condition, where it is expected soon.
pub(super) trait PartitionPointNear<T> {
    /// How many items from the start on fulfil `holds`, after which none does.
    fn partition_point_near(&self, holds: impl Fn(&T) -> bool) -> usize;
}

impl<T> PartitionPointNear<T> for [T] {
    fn partition_point_near(&self, holds: impl Fn(&T) -> bool) -> usize {
        // Doubling the distance finds the end in a time that depends on how far it is.
        let mut bound = 1;
        while bound <= self.len() && holds(&self[bound - 1]) {
            bound *= 2;
        }
        let start = bound / 2;
        start + self[start..bound.min(self.len())].partition_point(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_wherever_it_is() {
        let items: Vec<_> = (0..40).collect();
        for end in 0..=40 {
            assert_eq!(items.partition_point_near(|item| *item < end), end);
        }
    }

    #[test]
    fn a_value_is_seen_until_it_is_too_old_or_marked_stale() {
        let samples = Samples { times: vec![1_000, 2_000], values: vec![7.0, ABSENT], delta: None };
        let column = |start| newest(&samples, Shift::default(), Steps::at(start), 500, |_, value| value)[0];
        assert!(!is_present(column(999)));
        assert_eq!(column(1_499), 7.0);
        assert!(!is_present(column(1_500)), "the window is open on the left");
        assert!(!is_present(column(2_000)));
    }
}
