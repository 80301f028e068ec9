//! Aggregations: many rows become one for each group.

use super::Evaluator;
use super::matching::Groups;
use super::ranking::Ranked;
use crate::model::is_any_label_name;
use crate::promql::error::{QueryError, QueryResult};
use crate::promql::functions::{Mean, Moments, Sum, quantile};
use crate::promql::plan::{Aggregate, AggregateOp, Node};
use crate::promql::source::SeriesSource;
use crate::promql::value::{ABSENT, Row, Steps, is_present};

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
        self.budget.spend(rows.len() * steps.count).await?;
        let (held, steps_count) = (rows.len(), steps.count);
        let aggregated = match aggregate.op {
            Op::Sum => fold::<Sum>(&rows, groups, steps_count),
            Op::Average => fold::<Mean>(&rows, groups, steps_count),
            Op::Count => fold::<Count>(&rows, groups, steps_count),
            Op::Group => fold::<One>(&rows, groups, steps_count),
            Op::Min => fold::<Min>(&rows, groups, steps_count),
            Op::Max => fold::<Max>(&rows, groups, steps_count),
            Op::StdVar => fold::<Moments>(&rows, groups, steps_count),
            Op::StdDev => fold::<Deviation>(&rows, groups, steps_count),
            Op::Quantile => quantiles(&rows, groups, &parameter),
            op => Ranked { op, parameter: &parameter, rows: &rows, groups: &groups }.chosen(),
        };
        self.hold(aggregated.len(), steps).await?;
        self.release(held, steps);
        Ok(aggregated)
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
        let rows = self.vector(&aggregate.of, steps).await?;
        let mut counts: Vec<Row> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for row in &rows {
            self.budget.spend(row.values.len()).await?;
            let key = aggregate.grouping.key(&row.labels);
            for (step, value) in row.values.iter().enumerate().filter(|(_, value)| is_present(**value)) {
                let labels = key.with(label, &crate::promql::format_value(*value));
                let place = *places.entry(labels.clone()).or_insert_with(|| {
                    counts.push(Row { labels, drops_name: false, values: vec![ABSENT; steps.count] });
                    counts.len() - 1
                });
                let count = &mut counts[place].values[step];
                *count = if is_present(*count) { *count + 1.0 } else { 1.0 };
            }
        }
        self.hold(counts.len(), steps).await?;
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
        Err(QueryError::execution(format!("Scalar value {value} {verb} int64")))
    })
}

/// Takes up the values of one group at one step.
trait Accumulator: Clone + Default {
    fn add(&mut self, value: f64);
    fn value(&self) -> f64;
}

fn fold<A: Accumulator>(rows: &[Row], groups: Groups, steps: usize) -> Vec<Row> {
    let fold_group = |members: Vec<usize>| {
        let mut accumulators: Vec<Option<A>> = vec![None; steps];
        for member in members {
            let values = rows[member].values.iter().zip(&mut accumulators);
            for (value, accumulator) in values.filter(|(value, _)| is_present(**value)) {
                accumulator.get_or_insert_default().add(*value);
            }
        }
        accumulators.iter().map(|accumulator| accumulator.as_ref().map_or(ABSENT, A::value)).collect()
    };
    let groups = groups.keys.into_iter().zip(groups.members);
    groups.map(|(labels, members)| Row { labels, drops_name: false, values: fold_group(members) }).collect()
}

fn quantiles(rows: &[Row], groups: Groups, parameter: &[f64]) -> Vec<Row> {
    let mut values = Vec::new();
    let mut quantile_at = |members: &[usize], step: usize, q: f64| {
        values.clear();
        values.extend(members.iter().map(|n| rows[*n].values[step]).filter(|value| is_present(*value)));
        if values.is_empty() { ABSENT } else { quantile(q, &mut values) }
    };
    let groups = groups.keys.into_iter().zip(groups.members);
    let row = |(labels, members): (_, Vec<usize>)| {
        let column = parameter.iter().enumerate().map(|(step, q)| quantile_at(&members, step, *q)).collect();
        Row { labels, drops_name: false, values: column }
    };
    groups.map(row).collect()
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
