//! Functions of instant vectors, scalars and texts.

use super::{Evaluator, rows};
use crate::promql::error::{QueryError, QueryResult};
use crate::promql::functions::{InstantFunction, Order, clamp, round, seconds};
use crate::promql::labels::{LabelSet, NAME};
use crate::promql::matcher::Matcher;
use crate::promql::plan::{Node, Select};
use crate::promql::source::SeriesSource;
use crate::promql::value::{ABSENT, Row, Steps, Value, is_present};

impl<S: SeriesSource> Evaluator<'_, S> {
    pub(super) async fn call(
        &mut self,
        function: InstantFunction,
        args: &[Node],
        steps: Steps,
    ) -> QueryResult<Value> {
        use InstantFunction as F;
        Ok(match (function, args) {
            (F::Math(f) | F::Date(f), [arg]) => {
                let rows = self.vector(arg, steps).await?;
                Value::Vector(rows::map(&mut self.budget, rows, f).await?)
            }
            (F::Date(f), []) => {
                Value::Vector(vec![unlabelled(self.column(steps, |step| f(seconds(step))).await?)])
            }
            (F::Round | F::Clamp | F::ClampMin | F::ClampMax, [arg, bounds @ ..]) => {
                Value::Vector(self.bounded(function, arg, bounds, steps).await?)
            }
            (F::LabelReplace, [arg, texts @ ..]) => {
                let rows = self.vector(arg, steps).await?;
                let texts = self.texts(texts)?;
                Value::Vector(super::relabel::label_replace(&mut self.budget, rows, &texts).await?)
            }
            (F::LabelJoin, [arg, texts @ ..]) => {
                let rows = self.vector(arg, steps).await?;
                let texts = self.texts(texts)?;
                Value::Vector(super::relabel::label_join(&mut self.budget, rows, &texts).await?)
            }
            (F::HistogramQuantile, [q, arg]) => Value::Vector(self.histogram_quantile(q, arg, steps).await?),
            (F::HistogramFraction, [lower, upper, arg]) => {
                Value::Vector(self.histogram_fraction(lower, upper, arg, steps).await?)
            }
            (F::NativeHistogram, [arg]) => {
                self.vector(arg, steps).await?;
                Value::Vector(Vec::new())
            }
            (F::Absent, [arg]) => {
                let rows = self.vector(arg, steps).await?;
                Value::Vector(vec![self.absence(&rows, labels_of_absent(matchers_of(arg)), steps).await?])
            }
            (F::Scalar, [arg]) => {
                let rows = self.vector(arg, steps).await?;
                self.hold(1, steps).await?;
                Value::Scalar(only_values(&rows, steps))
            }
            (F::Vector, [arg]) => Value::Vector(vec![unlabelled(self.scalar(arg, steps).await?)]),
            (F::Time, []) => Value::Scalar(self.column(steps, seconds).await?),
            (F::Pi, []) => Value::Scalar(self.column(steps, |_| std::f64::consts::PI).await?),
            (F::Timestamp, [arg]) => Value::Vector(self.timestamps(arg, steps).await?),
            (F::Sort(order), [arg]) => Value::Vector(sorted(self.vector(arg, steps).await?, order)),
            (F::SortByLabel(order), [arg, names @ ..]) => {
                let rows = self.vector(arg, steps).await?;
                Value::Vector(super::relabel::sorted_by_labels(rows, &self.texts(names)?, order))
            }
            _ => return Err(QueryError::bad_data("wrong number of arguments")),
        })
    }

    fn texts(&self, nodes: &[Node]) -> QueryResult<Vec<String>> {
        let text = |node: &Node| match node {
            Node::Text(text) => Ok(text.clone()),
            _ => Err(QueryError::bad_data("expected a string literal")),
        };
        nodes.iter().map(text).collect()
    }

    async fn bounded(
        &mut self,
        function: InstantFunction,
        arg: &Node,
        bounds: &[Node],
        steps: Steps,
    ) -> QueryResult<Vec<Row>> {
        use InstantFunction as F;
        let rows = self.vector(arg, steps).await?;
        let mut columns = Vec::with_capacity(bounds.len());
        for bound in bounds {
            columns.push(self.scalar(bound, steps).await?);
        }
        let budget = &mut self.budget;
        match (function, &columns[..]) {
            (F::Round, [to]) => rows::map_at(budget, rows, |value, step| round(value, to[step])).await,
            (F::Round, []) => rows::map(budget, rows, |value| round(value, 1.0)).await,
            (F::ClampMin, [min]) => {
                rows::map_at(budget, rows, |value, step| clamp(value, min[step], f64::INFINITY)).await
            }
            (F::ClampMax, [max]) => {
                rows::map_at(budget, rows, |value, step| clamp(value, f64::NEG_INFINITY, max[step])).await
            }
            (F::Clamp, [min, max]) => {
                let bounded = |value, step: usize| {
                    if max[step] < min[step] { ABSENT } else { clamp(value, min[step], max[step]) }
                };
                rows::map_at(budget, rows, bounded).await
            }
            _ => Err(QueryError::bad_data("wrong number of arguments")),
        }
    }

    /// 1 where no row has a value.
    pub(super) async fn absence(&mut self, rows: &[Row], labels: LabelSet, steps: Steps) -> QueryResult<Row> {
        self.hold(1, steps).await?;
        let is_absent = |step: usize| rows.iter().all(|row| !is_present(row.values[step]));
        let values = (0..steps.count).map(|step| if is_absent(step) { 1.0 } else { ABSENT });
        Ok(Row { labels, drops_name: false, values: values.collect() })
    }

    /// Of a selector, when its samples were measured; of anything else, when it is evaluated.
    async fn timestamps(&mut self, arg: &Node, steps: Steps) -> QueryResult<Vec<Row>> {
        if let Some((select, is_fixed)) = selector_of(arg) {
            let inner = if is_fixed { Steps::at(steps.start) } else { steps };
            let rows = self.select_times(select, inner).await?;
            let value =
                if is_fixed { self.repeated(Value::Vector(rows), steps).await? } else { Value::Vector(rows) };
            let Value::Vector(rows) = value else { return Ok(Vec::new()) };
            return Ok(rows);
        }
        let rows = self.vector(arg, steps).await?;
        let time = |_, step| seconds(steps.start + steps.interval * step as i64);
        rows::map_at(&mut self.budget, rows, time).await
    }
}

/// The selector a node is, and whether it sees the same at every step.
fn selector_of(node: &Node) -> Option<(&Select, bool)> {
    match node {
        Node::Select(select) => Some((select, false)),
        Node::Fixed(inner) => match &**inner {
            Node::Select(select) => Some((select, true)),
            _ => None,
        },
        _ => None,
    }
}

fn matchers_of(node: &Node) -> &[Matcher] {
    selector_of(node).map_or(&[], |(select, _)| &select.matchers)
}

fn unlabelled(values: Vec<f64>) -> Row {
    Row { labels: LabelSet::default(), drops_name: false, values }
}

/// The labels of what is missing, as far as the selector tells: those it demands first, and of which it says
/// no more behind that.
pub(super) fn labels_of_absent(matchers: &[Matcher]) -> LabelSet {
    let is_told = |place: usize| {
        let is_same = |other: &&Matcher| other.name == matchers[place].name;
        let is_demanded_before =
            matchers[..place].iter().filter(is_same).any(|other| other.demanded().is_some());
        !is_demanded_before && !matchers[place + 1..].iter().any(|other| is_same(&other))
    };
    let told = matchers.iter().enumerate().filter(|(place, matcher)| matcher.name != NAME && is_told(*place));
    told.filter_map(|(_, matcher)| Some((matcher.name.as_str(), matcher.demanded()?))).collect()
}

/// The value where exactly one row has one; elsewhere NaN.
fn only_values(rows: &[Row], steps: Steps) -> Vec<f64> {
    let only = |step: usize| {
        let mut values = rows.iter().map(|row| row.values[step]).filter(|value| is_present(*value));
        match (values.next(), values.next()) {
            (Some(value), None) => value,
            _ => f64::NAN,
        }
    };
    (0..steps.count).map(only).collect()
}

/// By value at the only step; a range query sorts by labels in the end. NaN comes last.
fn sorted(mut rows: Vec<Row>, order: Order) -> Vec<Row> {
    if rows.first().is_some_and(|row| row.values.len() == 1) {
        rows.sort_by(|a, b| super::ranking::compare(a.values[0], b.values[0], order));
    }
    rows
}
