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
            (F::Math(f), [arg]) => Value::Vector(rows::map(self.vector(arg, steps).await?, f)),
            (F::Date(f), [arg]) => Value::Vector(rows::map(self.vector(arg, steps).await?, f)),
            (F::Date(f), []) => Value::Vector(vec![unlabelled(steps.iter().map(|step| f(seconds(step))))]),
            (F::Round | F::Clamp | F::ClampMin | F::ClampMax, [arg, bounds @ ..]) => {
                Value::Vector(self.bounded(function, arg, bounds, steps).await?)
            }
            (F::LabelReplace, [arg, texts @ ..]) => {
                let rows = self.vector(arg, steps).await?;
                Value::Vector(super::relabel::label_replace(rows, &self.texts(texts)?)?)
            }
            (F::LabelJoin, [arg, texts @ ..]) => {
                let rows = self.vector(arg, steps).await?;
                Value::Vector(super::relabel::label_join(rows, &self.texts(texts)?)?)
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
                Value::Vector(vec![absence(&rows, labels_of_absent(matchers_of(arg)), steps)])
            }
            (F::Scalar, [arg]) => Value::Scalar(only_values(&self.vector(arg, steps).await?, steps)),
            (F::Vector, [arg]) => Value::Vector(vec![unlabelled(self.scalar(arg, steps).await?)]),
            (F::Time, []) => Value::Scalar(steps.iter().map(seconds).collect()),
            (F::Pi, []) => Value::Scalar(vec![std::f64::consts::PI; steps.count]),
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
        Ok(match (function, &columns[..]) {
            (F::Round, [to]) => rows::map_at(rows, |value, step| round(value, to[step])),
            (F::Round, []) => rows::map(rows, |value| round(value, 1.0)),
            (F::ClampMin, [min]) => rows::map_at(rows, |value, step| clamp(value, min[step], f64::INFINITY)),
            (F::ClampMax, [max]) => {
                rows::map_at(rows, |value, step| clamp(value, f64::NEG_INFINITY, max[step]))
            }
            (F::Clamp, [min, max]) => {
                let bounded = |value, step: usize| {
                    if max[step] < min[step] { ABSENT } else { clamp(value, min[step], max[step]) }
                };
                rows::map_at(rows, bounded)
            }
            _ => return Err(QueryError::bad_data("wrong number of arguments")),
        })
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
        Ok(rows::map_at(rows, |_, step| seconds(steps.start + steps.interval * step as i64)))
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

fn unlabelled(values: impl IntoIterator<Item = f64>) -> Row {
    Row { labels: LabelSet::default(), drops_name: false, values: values.into_iter().collect() }
}

/// The labels of what is missing, as far as the selector tells: those it demands once.
pub(super) fn labels_of_absent(matchers: &[Matcher]) -> LabelSet {
    let labels = matchers.iter().filter(|matcher| matcher.name != NAME);
    let told =
        labels.filter(|matcher| matchers.iter().filter(|other| other.name == matcher.name).count() == 1);
    told.filter_map(|matcher| Some((matcher.name.as_str(), matcher.demanded()?))).collect()
}

/// 1 where no row has a value.
pub(super) fn absence(rows: &[Row], labels: LabelSet, steps: Steps) -> Row {
    let is_absent = |step: usize| rows.iter().all(|row| !is_present(row.values[step]));
    let values = (0..steps.count).map(|step| if is_absent(step) { 1.0 } else { ABSENT });
    Row { labels, drops_name: false, values: values.collect() }
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
