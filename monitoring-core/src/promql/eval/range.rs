//! Windows of samples sliding over the steps.

use super::select::{PartitionPointNear as _, reach};
use super::{Evaluator, rows};
use crate::promql::error::{QueryError, QueryResult};
use crate::promql::functions::{RangeFunction, Window};
use crate::promql::labels::{LabelSet, NAME};
use crate::promql::limits::CELLS_PER_BREATH;
use crate::promql::notes::Note;
use crate::promql::plan::{Node, Range, RangeCall, RangeOf};
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
        let mut rows = self.windows(&Apply { function: *function, range, steps, args: &columns }).await?;
        rows.retain(Row::is_anywhere);
        if function.wants_counter() && matches!(range.of, RangeOf::Series(_)) {
            rows.iter().for_each(|row| self.note_counter(&row.labels));
        }
        Ok(named(rows, *function))
    }

    /// One column for each series of the range.
    async fn windows(&mut self, apply: &Apply<'_>) -> QueryResult<Vec<Row>> {
        let Apply { range, steps, function, .. } = *apply;
        let mut rows = Vec::new();
        match &range.of {
            RangeOf::Series(matchers) => {
                let reach = reach(range.shift, steps, range.length);
                let mut batches = self.batches(matchers, reach, function.wanted()).await?;
                while let Some(batch) = self.next(&mut batches).await? {
                    for (labels, samples) in batch {
                        let samples = fresh(samples);
                        if let Some(seen) = &mut self.seen {
                            seen.windows(&samples, range.shift, range.length, steps);
                        }
                        let values = self.applied(apply, &samples).await?;
                        rows.push(Row { labels, drops_name: false, values });
                    }
                }
            }
            RangeOf::Subquery(node, interval) => {
                let inner = inner_steps(range, *interval, steps);
                let before = self.samples_seen;
                let found = self.subquery(range, node, inner, steps).await?;
                // The windows over what was found are counted instead.
                self.samples_seen = before;
                // The times, of one row after the other.
                self.hold(1, inner).await?;
                for row in found {
                    let (row, samples) = sampled(row, inner);
                    rows.push(Row { values: self.applied(apply, &samples).await?, ..row });
                }
            }
        }
        Ok(rows)
    }

    /// A column of what a function makes of the windows over one series.
    async fn applied(&mut self, apply: &Apply<'_>, samples: &Samples) -> QueryResult<Vec<f64>> {
        self.hold(1, apply.steps).await?;
        let mut column = Column { values: rows::nothing(apply.steps.count), next: 0, first: 0, end: 0 };
        while column.next < column.values.len() {
            let (from, looked_at) = (column.next, apply.go_on(samples, &mut column)?);
            self.samples_seen += (looked_at - (column.next - from)) as u64;
            self.budget.spend(looked_at).await?;
        }
        Ok(column.values)
    }

    /// What the expression inside a subquery yields at its own steps.
    async fn subquery(
        &mut self,
        range: &Range,
        node: &Node,
        inner: Steps,
        steps: Steps,
    ) -> QueryResult<Vec<Row>> {
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
        Ok(rows)
    }

    /// 1 where no series of the range has a sample in the window.
    async fn absent_over_time(&mut self, range: &Range, steps: Steps) -> QueryResult<Vec<Row>> {
        let apply = Apply { function: RangeFunction::Present, range, steps, args: &[] };
        let rows = self.windows(&apply).await?;
        let labels = match &range.of {
            RangeOf::Series(matchers) => super::call::labels_of_absent(matchers),
            RangeOf::Subquery(..) => LabelSet::default(),
        };
        Ok(vec![self.absence(&rows, labels, steps).await?])
    }

    /// The samples themselves, at the one step of an instant query.
    pub(super) async fn samples_of(&mut self, range: &Range, steps: Steps) -> QueryResult<Vec<SampleRow>> {
        let mut found = Vec::new();
        let mut add = |labels, Samples { times, values, .. }: Samples| {
            if !times.is_empty() {
                found.push(SampleRow { labels, times, values });
            }
        };
        match &range.of {
            RangeOf::Series(matchers) => {
                let reach = reach(range.shift, steps, range.length);
                let mut batches = self.batches(matchers, reach, Wanted::Totals).await?;
                while let Some(batch) = self.next(&mut batches).await? {
                    for (labels, samples) in batch {
                        self.budget.hold(samples.times.len()).await?;
                        let samples = fresh(samples);
                        self.samples_seen += samples.times.len() as u64;
                        add(labels, samples);
                    }
                }
            }
            RangeOf::Subquery(node, interval) => {
                let inner = inner_steps(range, *interval, steps);
                for row in self.subquery(range, node, inner, steps).await? {
                    let (row, samples) = sampled(row, inner);
                    let labels = if row.drops_name { row.labels.without_name() } else { row.labels };
                    add(labels, samples);
                }
            }
        }
        Ok(found)
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

/// A column that is being filled.
struct Column {
    values: Vec<f64>,
    /// The step whose value comes next.
    next: usize,
    /// Where the window before it begins and ends.
    first: usize,
    end: usize,
}

impl Apply<'_> {
    /// Goes on with a column for as long as others may wait for the thread. Returns how many cells it
    /// looked at: one of each step, and the samples in its window.
    fn go_on(&self, samples: &Samples, column: &mut Column) -> QueryResult<usize> {
        let (mut first, mut end, mut looked_at) = (column.first, column.end, 0);
        let mut args = [0.0; 2];
        for (n, value) in column.values.iter_mut().enumerate().skip(column.next) {
            if looked_at >= CELLS_PER_BREATH {
                break;
            }
            let step = self.steps.start + self.steps.interval * n as i64;
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
            looked_at += 1 + end - first;
            column.next = n + 1;
        }
        (column.first, column.end) = (first, end);
        Ok(looked_at)
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

/// The values of a row as samples. The row comes without them.
fn sampled(row: Row, steps: Steps) -> (Row, Samples) {
    let mut values = row.values;
    let mut times = Vec::with_capacity(values.len());
    times.extend(steps.iter().zip(&values).filter(|(_, value)| is_present(**value)).map(|(time, _)| time));
    values.retain(|value| is_present(*value));
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
