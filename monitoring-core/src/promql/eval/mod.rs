//! Evaluates a plan: each node once for all steps, over whole columns.
//!
//! Labels do not change from step to step, so what depends on them alone (groups, matches, names)
//! is worked out once for a row. Only selectors wait for something: they read their series in
//! batches and keep columns, not samples. Long work pauses now and then for others on the thread.
//!
//! A column is taken from the budget before it is made. When a node is evaluated, all that was taken for
//! it is given back but for what its value holds, so nothing is given back that was not taken.

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
#[cfg(test)]
mod tests;

use futures_util::future::BoxFuture;

use super::error::{QueryError, QueryResult};
use super::limits::{Budget, QueryLimits};
use super::notes::{Note, Notes};
use super::plan::Node;
use super::query::QueryStats;
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
    /// Samples that selectors and ranges saw, at each step anew.
    samples_seen: u64,
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
            samples_seen: 0,
            notes: Notes::default(),
            seen: None,
        }
    }

    /// The same, noting at which of so many steps anything is seen.
    pub(super) fn watching(mut self, steps: usize) -> Self {
        self.seen = Some(Seen::nothing(steps));
        self
    }

    /// What was counted so far.
    pub(super) fn stats(&self) -> QueryStats {
        let Self { budget, samples_seen, .. } = self;
        QueryStats {
            samples_seen: *samples_seen,
            samples_held_max: budget.held_max(),
            ..QueryStats::default()
        }
    }

    /// What `node` yields at steps of its own, and what was seen there.
    async fn apart(&mut self, node: &Node, steps: Steps) -> QueryResult<(Value, Option<Seen>)> {
        if self.seen.is_some() {
            self.hold(1, steps).await?;
        }
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
            let before = self.budget.left();
            let value = self.value(node, steps).await?;
            let cells = value.cells();
            self.budget.settle(before, cells);
            self.budget.spend(cells).await?;
            Ok(value)
        })
    }

    /// Each kind of node by itself: a deep query takes no more of the stack than its nodes do.
    fn value<'a>(&'a mut self, node: &'a Node, steps: Steps) -> BoxFuture<'a, QueryResult<Value>> {
        match node {
            Node::Number(number) => {
                Box::pin(async move { self.column(steps, |_| *number).await.map(Value::Scalar) })
            }
            Node::Text(text) => Box::pin(async move { Ok(Value::Text(text.clone())) }),
            Node::Select(select) => {
                Box::pin(async move { self.select(select, steps).await.map(Value::Vector) })
            }
            Node::Range(range) => {
                Box::pin(async move { self.samples_of(range, steps).await.map(Value::Samples) })
            }
            Node::Negate(inner) => Box::pin(async move {
                let value = self.evaluate(inner, steps).await?;
                self.negated(value).await
            }),
            Node::Binary(binary) => self.binary(binary, steps),
            Node::Aggregate(aggregate) => {
                Box::pin(async move { self.aggregate(aggregate, steps).await.map(Value::Vector) })
            }
            Node::Call(function, args) => {
                if function.sorts() && steps.count > 1 {
                    self.notes.add(Note::SortedRange);
                }
                Box::pin(self.call(*function, args, steps))
            }
            Node::RangeCall(call) => {
                Box::pin(async move { self.range_call(call, steps).await.map(Value::Vector) })
            }
            Node::Fixed(inner) => Box::pin(async move {
                let before = self.samples_seen;
                let (value, seen) = self.apart(inner, Steps::at(steps.start)).await?;
                self.samples_seen = before + (self.samples_seen - before) * steps.count as u64;
                if let (Some(outer), Some(inner)) = (&mut self.seen, seen) {
                    outer.everywhere(&inner);
                }
                self.repeated(value, steps).await
            }),
        }
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
        Ok(match value {
            Value::Scalar(values) => Value::Scalar(self.column(steps, |_| values[0]).await?),
            Value::Vector(mut rows) => {
                for row in &mut rows {
                    let value = row.values[0];
                    row.values = self.column(steps, |_| value).await?;
                }
                Value::Vector(rows)
            }
            other => other,
        })
    }

    async fn negated(&mut self, value: Value) -> QueryResult<Value> {
        Ok(match value {
            Value::Scalar(mut values) => {
                rows::put_through(&mut self.budget, &mut values, &|value, _| -value).await?;
                Value::Scalar(values)
            }
            Value::Vector(rows) => Value::Vector(rows::map(&mut self.budget, rows, |value| -value).await?),
            other => other,
        })
    }

    /// A column of what `f` makes of each instant.
    async fn column(&mut self, steps: Steps, f: impl Fn(i64) -> f64 + Send) -> QueryResult<Vec<f64>> {
        self.hold(1, steps).await?;
        Ok(steps.iter().map(f).collect())
    }

    /// Accounts for `rows` more rows that are about to be made.
    async fn hold(&mut self, rows: usize, steps: Steps) -> QueryResult<()> {
        self.budget.hold(rows.saturating_mul(steps.count)).await
    }
}
