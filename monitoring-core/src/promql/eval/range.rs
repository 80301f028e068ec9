//! Windows of samples sliding over the steps.

use std::sync::{Mutex, PoisonError};

use super::select::{PartitionPointNear as _, reach};
use super::{Evaluator, rows};
use crate::promql::error::{QueryError, QueryResult};
use crate::promql::functions::{RangeFunction, Window};
use crate::promql::labels::{LabelSet, NAME};
use crate::promql::notes::Note;
use crate::promql::plan::{Range, RangeCall, RangeOf};
use crate::promql::source::{Samples, SeriesSource, Wanted};
use crate::promql::value::{ABSENT, Row, SampleRow, Steps, Value, is_present};

impl<S: SeriesSource> Evaluator<'_, S> {
    /// A function of the samples in the window before each step.
    pub(super) async fn range_call(&mut self, call: &RangeCall, steps: Steps) -> QueryResult<Vec<Row>> {
        let RangeCall { function, range, args } = call;
        let mut columns = Vec::with_capacity(args.len());
        for arg in args {
            columns.push(self.scalar(arg, steps).await?);
        }
        if *function == RangeFunction::Absent {
            return self.absent_over_time(range, steps).await;
        }
        if *function == RangeFunction::Quantile {
            self.note_quantiles(&columns[0]);
        }
        let apply = Apply { function: *function, range, steps, args: &columns };
        let rows: Vec<_> =
            self.windows(range, steps, function.wanted(), |samples| apply.column(&samples)).await?;
        let rows: Vec<_> = rows.into_iter().filter(Row::is_anywhere).collect();
        if function.wants_counter() && matches!(range.of, RangeOf::Series(_)) {
            rows.iter().for_each(|row| self.note_counter(&row.labels));
        }
        Ok(named(rows, *function))
    }

    /// One column for each series of the range.
    async fn windows(
        &mut self,
        range: &Range,
        steps: Steps,
        wanted: Wanted,
        column: impl Fn(Samples) -> QueryResult<Vec<f64>> + Send + Sync,
    ) -> QueryResult<Vec<Row>> {
        match &range.of {
            RangeOf::Series(matchers) => {
                let reach = reach(range.shift, steps, range.length);
                let seen = Mutex::new(self.seen.take());
                let column = |samples| {
                    let samples = fresh(samples);
                    if let Some(seen) = &mut *seen.lock().unwrap_or_else(PoisonError::into_inner) {
                        seen.windows(&samples, range.shift, range.length, steps);
                    }
                    column(samples)
                };
                let columns = self.read(matchers, reach, wanted, column).await?;
                self.seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
                if let Some(seen) = &mut self.seen {
                    seen.has_looked = true;
                }
                let row = |(labels, values)| Row { labels, drops_name: false, values };
                Ok(columns.into_iter().map(row).collect())
            }
            RangeOf::Subquery(..) => {
                let mut rows = Vec::new();
                for (row, samples) in self.subquery(range, steps).await? {
                    self.budget.spend(samples.times.len()).await?;
                    self.hold(1, steps).await?;
                    rows.push(Row { values: column(samples)?, ..row });
                }
                Ok(rows)
            }
        }
    }

    /// What the expression inside a subquery yields, as samples. The rows come without values.
    async fn subquery(&mut self, range: &Range, steps: Steps) -> QueryResult<Vec<(Row, Samples)>> {
        let RangeOf::Subquery(node, interval) = &range.of else { return Ok(Vec::new()) };
        let inner = inner_steps(range, *interval, steps);
        if inner.count > self.steps_max {
            return Err(QueryError::too_many_samples());
        }
        if inner.count == 0 {
            return Ok(Vec::new());
        }
        let (value, seen) = self.apart(node, inner).await?;
        if let (Some(outer), Some(within)) = (&mut self.seen, seen) {
            outer.has_looked |= within.has_looked;
            outer.windows(&within.as_samples(inner), range.shift, range.length, steps);
        }
        let Value::Vector(rows) = value else {
            return Err(QueryError::execution("expected an instant vector"));
        };
        let rows: Vec<_> = rows.into_iter().map(|row| sampled(row, inner)).collect();
        self.release(rows.len(), inner);
        Ok(rows)
    }

    /// 1 where no series of the range has a sample in the window.
    async fn absent_over_time(&mut self, range: &Range, steps: Steps) -> QueryResult<Vec<Row>> {
        let apply = Apply { function: RangeFunction::Present, range, steps, args: &[] };
        let rows = self.windows(range, steps, Wanted::Increments, |samples| apply.column(&samples)).await?;
        let labels = match &range.of {
            RangeOf::Series(matchers) => super::call::labels_of_absent(matchers),
            RangeOf::Subquery(..) => LabelSet::default(),
        };
        Ok(vec![super::call::absence(&rows, labels, steps)])
    }

    /// The samples themselves, at the one step of an instant query.
    pub(super) async fn samples_of(&mut self, range: &Range, steps: Steps) -> QueryResult<Vec<SampleRow>> {
        let found = match &range.of {
            RangeOf::Series(matchers) => {
                let reach = reach(range.shift, steps, range.length);
                self.read(matchers, reach, Wanted::Totals, |samples| Ok(fresh(samples))).await?
            }
            RangeOf::Subquery(..) => {
                let rows = self.subquery(range, steps).await?;
                let label = |row: Row| if row.drops_name { row.labels.without_name() } else { row.labels };
                rows.into_iter().map(|(row, samples)| (label(row), samples)).collect()
            }
        };
        let row = |(labels, Samples { times, values, .. })| SampleRow { labels, times, values };
        Ok(found.into_iter().map(row).filter(|row| !row.times.is_empty()).collect())
    }

    pub(super) fn note_quantiles(&mut self, quantiles: &[f64]) {
        if let Some(q) = quantiles.iter().find(|q| !(0.0..=1.0).contains(*q)) {
            self.notes.add(Note::InvalidQuantile(crate::promql::format_value(*q)));
        }
    }

    fn note_counter(&mut self, labels: &LabelSet) {
        let name = labels.value(NAME);
        let endings = ["_total", "_sum", "_count", "_bucket"];
        if !name.is_empty() && !endings.iter().any(|ending| name.ends_with(ending)) {
            self.notes.add(Note::NotACounter(name.to_owned()));
        }
    }
}

/// Applies a function to the windows over one series.
struct Apply<'a> {
    function: RangeFunction,
    range: &'a Range,
    steps: Steps,
    /// The other arguments, a column each.
    args: &'a [Vec<f64>],
}

impl Apply<'_> {
    fn column(&self, samples: &Samples) -> QueryResult<Vec<f64>> {
        let (mut first, mut end) = (0, 0);
        let mut column = rows::nothing(self.steps.count);
        let mut args = [0.0; 2];
        for (n, (step, value)) in self.steps.iter().zip(&mut column).enumerate() {
            let seen = self.range.shift.seen_at(step);
            let start = seen - self.range.length;
            first += samples.times[first..].partition_point_near(|time| *time <= start);
            end = end.max(first);
            end += samples.times[end..].partition_point_near(|time| *time <= seen);
            let window = window(samples, first..end, [start, seen, step]);
            let args = &mut args[..self.args.len().min(2)];
            args.iter_mut().zip(self.args).for_each(|(arg, column)| *arg = column[n]);
            if first < end || window.goes_on {
                self.function.check(args)?;
                *value = self.function.apply(&window, args).unwrap_or(ABSENT);
            }
        }
        Ok(column)
    }
}

fn window(samples: &Samples, within: std::ops::Range<usize>, times: [i64; 3]) -> Window<'_> {
    let [start, end, step] = times;
    let delta = samples.delta.as_ref();
    Window {
        times: &samples.times[within.clone()],
        values: &samples.values[within.clone()],
        increments: delta.map(|delta| &delta.increments[within.clone()]),
        goes_on: delta.is_some_and(|delta| within.start > 0 || delta.before.is_some()),
        start,
        end,
        step,
    }
}

/// Without staleness markers.
fn fresh(mut samples: Samples) -> Samples {
    if samples.delta.is_none() && !samples.values.iter().all(|value| is_present(*value)) {
        let Samples { times, values, .. } = &mut samples;
        let mut kept = values.iter().map(|value| is_present(*value));
        times.retain(|_| kept.next().unwrap_or_default());
        values.retain(|value| is_present(*value));
    }
    samples
}

/// The steps of a subquery: the multiples of its interval that its windows see.
fn inner_steps(range: &Range, interval: i64, steps: Steps) -> Steps {
    let reach = reach(range.shift, steps, range.length);
    let first = (reach.after.div_euclid(interval) + 1) * interval;
    Steps::range(first, reach.until, interval)
}

fn sampled(row: Row, steps: Steps) -> (Row, Samples) {
    let present = steps.iter().zip(&row.values).filter(|(_, value)| is_present(**value));
    let (times, values) = present.map(|(time, value)| (time, *value)).unzip();
    (Row { values: Vec::new(), ..row }, Samples { times, values, delta: None })
}

fn named(mut rows: Vec<Row>, function: RangeFunction) -> Vec<Row> {
    if !function.keeps_name() {
        rows.iter_mut().for_each(|row| row.drops_name = true);
    }
    rows
}

impl RangeFunction {
    /// What it needs of a delta series.
    const fn wanted(self) -> Wanted {
        match self {
            Self::Rate | Self::Increase | Self::Count | Self::Present | Self::Absent => Wanted::Increments,
            _ => Wanted::Totals,
        }
    }
}
