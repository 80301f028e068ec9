//! Evaluates a plan: each node once for all steps, over whole columns.
//!
//! Labels do not change from step to step, so what depends on them alone (groups, matches, names)
//! is worked out once for a row. Only selectors wait for something: they read their series in
//! batches and keep columns, not samples. Long work pauses now and then for others on the thread.

mod aggregate;
mod binary;
mod call;
mod histogram;
mod matching;
mod range;
mod ranking;
mod relabel;
mod rows;
mod seen;
mod select;
mod sets;

use futures_util::future::BoxFuture;

use super::error::{QueryError, QueryResult};
use super::limits::{Budget, QueryLimits};
use super::notes::Notes;
use super::plan::Node;
use super::source::SeriesSource;
use super::value::{Row, Steps, Value};

pub(super) use rows::finished;
pub(super) use seen::Seen;

/// Evaluates the nodes of one query.
pub(super) struct Evaluator<'s, S> {
    source: &'s S,
    /// How old the newest sample may be, in milliseconds.
    lookback: i64,
    series_max: usize,
    steps_max: usize,
    budget: Budget,
    pub(super) notes: Notes,
    /// Where anything was seen, if somebody wants to know.
    pub(super) seen: Option<Seen>,
}

impl<'s, S: SeriesSource> Evaluator<'s, S> {
    pub(super) fn new(source: &'s S, limits: &QueryLimits) -> Self {
        Self {
            source,
            lookback: i64::try_from(limits.lookback.as_millis()).unwrap_or(i64::MAX / 4),
            series_max: limits.series_max,
            steps_max: limits.samples_max,
            budget: Budget::new(limits),
            notes: Notes::default(),
            seen: None,
        }
    }

    /// The same, noting at which of so many steps anything is seen.
    pub(super) fn watching(mut self, steps: usize) -> Self {
        self.seen = Some(Seen::nothing(steps));
        self
    }

    /// What `node` yields at steps of its own, and what was seen there.
    async fn apart(&mut self, node: &Node, steps: Steps) -> QueryResult<(Value, Option<Seen>)> {
        let watching = self.seen.as_ref().map(|_| Seen::nothing(steps.count));
        let outer = std::mem::replace(&mut self.seen, watching);
        let value = self.evaluate(node, steps).await;
        let inner = std::mem::replace(&mut self.seen, outer);
        Ok((value?, inner))
    }

    /// What `node` yields at `steps`.
    pub(super) fn evaluate<'a>(
        &'a mut self,
        node: &'a Node,
        steps: Steps,
    ) -> BoxFuture<'a, QueryResult<Value>> {
        Box::pin(async move {
            match node {
                Node::Number(number) => Ok(Value::Scalar(vec![*number; steps.count])),
                Node::Text(text) => Ok(Value::Text(text.clone())),
                Node::Select(select) => Ok(Value::Vector(self.select(select, steps).await?)),
                Node::Range(range) => Ok(Value::Samples(self.samples_of(range, steps).await?)),
                Node::Negate(inner) => {
                    let value = self.evaluate(inner, steps).await?;
                    Ok(negated(value))
                }
                Node::Binary(binary) => self.binary(binary, steps).await,
                Node::Aggregate(aggregate) => Ok(Value::Vector(self.aggregate(aggregate, steps).await?)),
                Node::Call(function, args) => self.call(*function, args, steps).await,
                Node::RangeCall(call) => Ok(Value::Vector(self.range_call(call, steps).await?)),
                Node::Fixed(inner) => {
                    let (value, seen) = self.apart(inner, Steps::at(steps.start)).await?;
                    if let (Some(outer), Some(inner)) = (&mut self.seen, seen) {
                        outer.everywhere(&inner);
                    }
                    self.repeated(value, steps).await
                }
            }
        })
    }

    /// What `node` yields, which the planner knows to be a vector.
    async fn vector(&mut self, node: &Node, steps: Steps) -> QueryResult<Vec<Row>> {
        match self.evaluate(node, steps).await? {
            Value::Vector(rows) => Ok(rows),
            _ => Err(QueryError::execution("expected an instant vector")),
        }
    }

    /// What `node` yields, which the planner knows to be a scalar.
    async fn scalar(&mut self, node: &Node, steps: Steps) -> QueryResult<Vec<f64>> {
        match self.evaluate(node, steps).await? {
            Value::Scalar(values) => Ok(values),
            _ => Err(QueryError::execution("expected a scalar")),
        }
    }

    /// The value of one step, at every step.
    async fn repeated(&mut self, value: Value, steps: Steps) -> QueryResult<Value> {
        let repeat = |values: &[f64]| vec![values[0]; steps.count];
        Ok(match value {
            Value::Scalar(values) => Value::Scalar(repeat(&values)),
            Value::Vector(mut rows) => {
                self.hold(rows.len(), steps).await?;
                rows.iter_mut().for_each(|row| row.values = repeat(&row.values));
                Value::Vector(rows)
            }
            other => other,
        })
    }

    /// Accounts for `rows` more rows that are about to be held.
    async fn hold(&mut self, rows: usize, steps: Steps) -> QueryResult<()> {
        let cells = rows.saturating_mul(steps.count);
        self.budget.take(cells)?;
        self.budget.spend(cells).await
    }

    /// Accounts for rows that are held no longer.
    fn release(&mut self, rows: usize, steps: Steps) {
        self.budget.give_back(rows * steps.count);
    }
}

fn negated(value: Value) -> Value {
    match value {
        Value::Scalar(values) => Value::Scalar(values.into_iter().map(|value| -value).collect()),
        Value::Vector(rows) => Value::Vector(rows::map(rows, |value| -value)),
        other => other,
    }
}
