//! Instant selectors, and the reading of series in batches.

use super::Evaluator;
use crate::promql::error::{QueryError, QueryResult};
use crate::promql::functions::seconds;
use crate::promql::labels::LabelSet;
use crate::promql::matcher::Matcher;
use crate::promql::plan::{Select, Shift};
use crate::promql::source::{Found, Reach, Samples, SeriesSource, Wanted};
use crate::promql::value::{ABSENT, Row, Steps, is_present};

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
        let mut rows = Vec::new();
        let mut batches = self.batches(&select.matchers, reach, Wanted::Totals).await?;
        while let Some(batch) = self.next(&mut batches).await? {
            for (labels, samples) in batch {
                self.hold(1, steps).await?;
                self.budget.spend(samples.times.len()).await?;
                let values = newest(&samples, select.shift, steps, self.lookback, &wanted);
                self.samples_seen += values.iter().filter(|value| is_present(**value)).count() as u64;
                if let Some(seen) = &mut self.seen {
                    seen.column(&values);
                }
                rows.push(Row { labels, drops_name: false, values });
            }
        }
        rows.retain(Row::is_anywhere);
        Ok(rows)
    }

    /// The series that match, to be read batch by batch.
    pub(super) async fn batches(
        &mut self,
        matchers: &[Matcher],
        reach: Reach,
        wanted: Wanted,
    ) -> QueryResult<Batches<S::Key>> {
        let found = self.source.find(matchers, reach, self.series_max).await.map_err(QueryError::Source)?;
        if found.len() > self.series_max {
            let message = format!("the query selects more than {} series at once", self.series_max);
            return Err(QueryError::execution(message));
        }
        if let Some(seen) = &mut self.seen {
            seen.has_looked = true;
        }
        Ok(Batches { found: found.into_iter(), reach, wanted, taken: 0 })
    }

    /// The next series with their samples; those before are to be held no longer.
    pub(super) async fn next(
        &mut self,
        batches: &mut Batches<S::Key>,
    ) -> QueryResult<Option<Vec<(LabelSet, Samples)>>> {
        let Batches { found, reach, wanted, taken } = batches;
        self.budget.give_back(std::mem::take(taken));
        let batch: Vec<_> = found.by_ref().take(reach.series_per_batch()).collect();
        if batch.is_empty() {
            return Ok(None);
        }
        let samples = self.source.samples(&batch, *reach, *wanted, &mut self.budget).await?;
        let read = samples.iter().map(|samples| samples.times.len()).sum();
        self.budget.take(read)?;
        *taken = read;
        Ok(Some(batch.into_iter().map(|series| series.labels).zip(samples).collect()))
    }
}

/// Series that are read one batch after the other.
pub(super) struct Batches<K> {
    found: std::vec::IntoIter<Found<K>>,
    reach: Reach,
    wanted: Wanted,
    /// What the last batch took of the budget.
    taken: usize,
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
