//! Aggregations: many rows become one for each group.

use std::ops::Range;

use super::Evaluator;
use super::matching::Groups;
use super::ranking::Ranked;
use super::rows::nothing;
use crate::model::is_any_label_name;
use crate::promql::error::{QueryError, QueryResult};
use crate::promql::functions::{Mean, Moments, Sum, quantile};
use crate::promql::limits::Budget;
use crate::promql::plan::{Aggregate, AggregateOp, Grouping, Node};
use crate::promql::source::SeriesSource;
use crate::promql::value::{ABSENT, Row, Steps, is_present};

/// Steps aggregated at once: a few hundred kilobytes besides the columns.
const STEPS_PER_PORTION: usize = 16_384;
/// To make a label and look it up takes as long as to handle so many cells.
const CELLS_PER_LABEL: usize = 50;

impl<S: SeriesSource> Evaluator<'_, S> {
    pub(super) async fn aggregate(&mut self, aggregate: &Aggregate, steps: Steps) -> QueryResult<Vec<Row>> {
        use AggregateOp as Op;
        let parameter = aggregate.parameter.as_ref();
        if let Op::CountValues = aggregate.op {
            return self.count_values(aggregate, parameter, steps).await;
        }
        let parameter = match parameter {
            Some(node) => self.parameter(aggregate.op, node, steps).await?,
            None => Vec::new(),
        };
        let rows = self.vector(&aggregate.of, steps).await?;
        let groups = Groups::of(&rows, &aggregate.grouping);
        let (budget, steps) = (&mut self.budget, steps.count);
        match aggregate.op {
            Op::Sum => fold::<Sum>(budget, &rows, groups, steps).await,
            Op::Average => fold::<Mean>(budget, &rows, groups, steps).await,
            Op::Count => fold::<Count>(budget, &rows, groups, steps).await,
            Op::Group => fold::<One>(budget, &rows, groups, steps).await,
            Op::Min => fold::<Min>(budget, &rows, groups, steps).await,
            Op::Max => fold::<Max>(budget, &rows, groups, steps).await,
            Op::StdVar => fold::<Moments>(budget, &rows, groups, steps).await,
            Op::StdDev => fold::<Deviation>(budget, &rows, groups, steps).await,
            Op::Quantile => quantiles(budget, &rows, groups, &parameter).await,
            op => Ranked { op, parameter: &parameter, rows: &rows, groups: &groups }.chosen(budget).await,
        }
    }

    async fn parameter(&mut self, op: AggregateOp, node: &Node, steps: Steps) -> QueryResult<Vec<f64>> {
        let values = self.scalar(node, steps).await?;
        let has_nan = values.iter().any(|value| value.is_nan());
        match op {
            AggregateOp::Quantile => self.note_quantiles(&values),
            AggregateOp::LimitRatio if has_nan => return Err(QueryError::execution("Ratio value is NaN")),
            AggregateOp::LimitRatio => self.note_ratios(&values),
            _ if has_nan => return Err(QueryError::execution("Parameter value is NaN")),
            _ => check_whole(&values)?,
        }
        Ok(values)
    }

    /// A row for each value that occurs, counting how often.
    async fn count_values(
        &mut self,
        aggregate: &Aggregate,
        parameter: Option<&Node>,
        steps: Steps,
    ) -> QueryResult<Vec<Row>> {
        let Some(Node::Text(label)) = parameter else {
            return Err(QueryError::bad_data("expected a string literal"));
        };
        if !is_any_label_name(label) {
            return Err(QueryError::execution(format!("invalid label name {label:?}")));
        }
        let is_left_out = matches!(&aggregate.grouping, Grouping::Without(labels) if labels.contains(label));
        let rows = self.vector(&aggregate.of, steps).await?;
        let mut counts: Vec<Row> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for row in &rows {
            let key = aggregate.grouping.key(&row.labels);
            for (step, value) in row.values.iter().enumerate() {
                if !is_present(*value) {
                    continue;
                }
                self.budget.spend(CELLS_PER_LABEL).await?;
                let text = crate::promql::format_value(*value);
                let labels = if is_left_out { key.clone() } else { key.with(label, &text) };
                let place = match places.get(&labels) {
                    Some(place) => *place,
                    None => {
                        self.budget.take_label(&text)?;
                        self.hold(1, steps).await?;
                        places.insert(labels.clone(), counts.len());
                        counts.push(Row { labels, drops_name: false, values: nothing(steps.count) });
                        counts.len() - 1
                    }
                };
                let count = &mut counts[place].values[step];
                *count = if is_present(*count) { *count + 1.0 } else { 1.0 };
            }
        }
        Ok(counts)
    }

    fn note_ratios(&mut self, ratios: &[f64]) {
        for ratio in ratios.iter().filter(|ratio| !(-1.0..=1.0).contains(*ratio)) {
            let [given, used] = [*ratio, ratio.signum()].map(crate::promql::format_value);
            self.notes.add(crate::promql::notes::Note::InvalidRatio { given, used });
        }
    }
}

fn check_whole(values: &[f64]) -> QueryResult<()> {
    let wrong = values.iter().find(|value| value.abs() >= i64::MAX as f64);
    wrong.map_or(Ok(()), |value| {
        let verb = if *value > 0.0 { "overflows" } else { "underflows" };
        let value = crate::promql::format_value(*value);
        Err(QueryError::execution(format!("Scalar value {value} {verb} int64")))
    })
}

/// Takes up the values of one group at one step.
trait Accumulator: Clone + Default + Send {
    fn add(&mut self, value: f64);
    fn value(&self) -> f64;
}

async fn fold<A: Accumulator>(
    budget: &mut Budget,
    rows: &[Row],
    groups: Groups,
    steps: usize,
) -> QueryResult<Vec<Row>> {
    let mut folded = Vec::with_capacity(groups.keys.len());
    for (labels, members) in groups.keys.into_iter().zip(groups.members) {
        budget.take(steps)?;
        let mut values = Vec::with_capacity(steps);
        while values.len() < steps {
            let portion = values.len()..steps.min(values.len() + STEPS_PER_PORTION);
            budget.spend(portion.len() * members.len()).await?;
            fold_portion::<A>(rows, &members, portion, &mut values);
        }
        folded.push(Row { labels, drops_name: false, values });
    }
    Ok(folded)
}

fn fold_portion<A: Accumulator>(rows: &[Row], members: &[usize], steps: Range<usize>, folded: &mut Vec<f64>) {
    let mut accumulators: Vec<Option<A>> = vec![None; steps.len()];
    for member in members {
        let values = rows[*member].values[steps.clone()].iter().zip(&mut accumulators);
        for (value, accumulator) in values.filter(|(value, _)| is_present(**value)) {
            accumulator.get_or_insert_default().add(*value);
        }
    }
    folded.extend(accumulators.iter().map(|accumulator| accumulator.as_ref().map_or(ABSENT, A::value)));
}

async fn quantiles(
    budget: &mut Budget,
    rows: &[Row],
    groups: Groups,
    parameter: &[f64],
) -> QueryResult<Vec<Row>> {
    let (mut found, mut present) = (Vec::with_capacity(groups.keys.len()), Vec::new());
    for (labels, members) in groups.keys.into_iter().zip(groups.members) {
        budget.take(parameter.len())?;
        let mut values = nothing(parameter.len());
        for (step, q) in parameter.iter().enumerate() {
            budget.spend(members.len()).await?;
            present.clear();
            present.extend(members.iter().map(|n| rows[*n].values[step]).filter(|value| is_present(*value)));
            if !present.is_empty() {
                values[step] = quantile(*q, &mut present);
            }
        }
        found.push(Row { labels, drops_name: false, values });
    }
    Ok(found)
}

macro_rules! accumulator {
    ($($type:ty: add($this:ident, $value:ident) $add:expr, value($that:ident) $get:expr;)*) => {
        $(impl Accumulator for $type {
            fn add(&mut self, $value: f64) {
                let $this = self;
                $add
            }

            fn value(&self) -> f64 {
                let $that = self;
                $get
            }
        })*
    };
}

#[derive(Clone, Copy, Default)]
struct Deviation(Moments);

#[derive(Clone, Copy, Default)]
struct Count(f64);

#[derive(Clone, Copy, Default)]
struct One;

#[derive(Clone, Copy)]
struct Min(f64);

#[derive(Clone, Copy)]
struct Max(f64);

/// NaN is what any number replaces.
impl Default for Min {
    fn default() -> Self {
        Self(f64::NAN)
    }
}

impl Default for Max {
    fn default() -> Self {
        Self(f64::NAN)
    }
}

accumulator! {
    Sum: add(sum, value) Sum::add(sum, value), value(sum) Sum::value(*sum);
    Mean: add(mean, value) Mean::add(mean, value), value(mean) Mean::value(*mean);
    Moments: add(moments, value) Moments::add(moments, value), value(moments) moments.variance();
    Deviation: add(deviation, value) deviation.0.add(value), value(deviation) deviation.0.variance().sqrt();
    Count: add(count, _value) count.0 += 1.0, value(count) count.0;
    One: add(_one, _value) (), value(_one) 1.0;
    Min: add(min, value) if value < min.0 || min.0.is_nan() { min.0 = value }, value(min) min.0;
    Max: add(max, value) if value > max.0 || max.0.is_nan() { max.0 = value }, value(max) max.0;
}
