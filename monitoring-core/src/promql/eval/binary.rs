//! Operators with two sides.

use futures_util::future::BoxFuture;

use super::matching::{Groups, presence};
use super::rows::merged;
use super::sets::set_operation;
use super::{Evaluator, rows};
use crate::promql::error::{QueryError, QueryResult};
use crate::promql::labels::LabelSet;
use crate::promql::limits::Budget;
use crate::promql::plan::{Binary, BinaryKind, BinaryOp, Cardinality, Grouping, Matching};
use crate::promql::source::SeriesSource;
use crate::promql::value::{ABSENT, Row, Steps, Value, is_present};

impl<S: SeriesSource> Evaluator<'_, S> {
    pub(super) fn binary<'a>(
        &'a mut self,
        binary: &'a Binary,
        steps: Steps,
    ) -> BoxFuture<'a, QueryResult<Value>> {
        let Binary { op, left, right, .. } = binary;
        match &binary.kind {
            BinaryKind::Scalars => Box::pin(async move {
                let (mut left, right) = (self.scalar(left, steps).await?, self.scalar(right, steps).await?);
                let compute = |left, step: usize| between_scalars(*op, left, right[step]);
                rows::put_through(&mut self.budget, &mut left, &compute).await?;
                Ok(Value::Scalar(left))
            }),
            BinaryKind::VectorScalar => Box::pin(async move {
                let (rows, scalar) = (self.vector(left, steps).await?, self.scalar(right, steps).await?);
                let compute = |value, step: usize| op.filter(value, scalar[step]);
                Ok(Value::Vector(with_scalar(&mut self.budget, binary, rows, compute).await?))
            }),
            BinaryKind::ScalarVector => Box::pin(async move {
                let (scalar, rows) = (self.scalar(left, steps).await?, self.vector(right, steps).await?);
                // A comparison yields the value of the vector, on whichever side it stands.
                let compute = |value, step: usize| {
                    let computed = op.filter(scalar[step], value);
                    if op.is_comparison() { computed.map(|_| value) } else { computed }
                };
                Ok(Value::Vector(with_scalar(&mut self.budget, binary, rows, compute).await?))
            }),
            BinaryKind::Vectors(matching) => Box::pin(async move {
                let (left, right) = (self.vector(left, steps).await?, self.vector(right, steps).await?);
                self.budget.spend((left.len() + right.len()) * steps.count).await?;
                Ok(Value::Vector(if matching.cardinality == Cardinality::ManyToMany {
                    set_operation(*op, left, right, &matching.labels, steps.count)?
                } else {
                    self.between_vectors(binary, matching, left, right, steps).await?
                }))
            }),
        }
    }

    async fn between_vectors(
        &mut self,
        binary: &Binary,
        matching: &Matching,
        left: Vec<Row>,
        right: Vec<Row>,
        steps: Steps,
    ) -> QueryResult<Vec<Row>> {
        let is_swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if is_swapped { (right, left) } else { (left, right) };
        let sides = Sides {
            binary,
            matching,
            is_swapped,
            many_groups: Groups::of(&many, &matching.labels),
            one_groups: Groups::of(&one, &matching.labels),
            many,
            one,
            steps: steps.count,
        };
        sides.check_ones(&mut self.budget).await?;
        let mut rows = Vec::new();
        for place in 0..sides.many_groups.keys.len() {
            rows.extend(sides.matched(place, &mut self.budget).await?);
        }
        rows.sort_by_key(|(number, _)| *number);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }
}

async fn with_scalar(
    budget: &mut Budget,
    binary: &Binary,
    mut rows: Vec<Row>,
    compute: impl Fn(f64, usize) -> Option<f64> + Send + Sync,
) -> QueryResult<Vec<Row>> {
    let Binary { op, returns_bool, .. } = *binary;
    if returns_bool {
        return rows::map_at(budget, rows, |value, step| f64::from(compute(value, step).is_some())).await;
    }
    let kept = |value, step| compute(value, step).unwrap_or(ABSENT);
    if !op.is_comparison() {
        return rows::map_at(budget, rows, kept).await;
    }
    for row in &mut rows {
        rows::put_through(budget, &mut row.values, &kept).await?;
    }
    rows.retain(Row::is_anywhere);
    Ok(rows)
}

/// Both sides of an operator between vectors that match by labels.
struct Sides<'b> {
    binary: &'b Binary,
    matching: &'b Matching,
    /// Whether the side that may have many in a group stands on the right.
    is_swapped: bool,
    many: Vec<Row>,
    one: Vec<Row>,
    many_groups: Groups,
    one_groups: Groups,
    steps: usize,
}

impl Sides<'_> {
    /// What the rows of one group yield, each with the number of the row it comes from.
    async fn matched(&self, place: usize, budget: &mut Budget) -> QueryResult<Vec<(usize, Row)>> {
        let key = &self.many_groups.keys[place];
        let many = &self.many_groups.members[place];
        let Some(one) = self.one_groups.place_of(key).map(|place| &self.one_groups.members[place]) else {
            return Ok(Vec::new());
        };
        if self.matching.cardinality == Cardinality::OneToOne {
            self.check_many(many, one)?;
        }
        let mut matched = Vec::new();
        for number in many {
            let before = budget.left();
            let mut rows = Vec::with_capacity(one.len());
            for one in one {
                budget.hold(self.steps).await?;
                rows.push(self.pair(&self.many[*number], &self.one[*one]));
            }
            let mut rows = merged(rows, AMBIGUOUS_GROUPING)?;
            rows.retain(Row::is_anywhere);
            budget.settle(before, rows.len() * self.steps);
            matched.extend(rows.into_iter().map(|row| (*number, row)));
        }
        self.check_distinct(&matched, budget).await?;
        Ok(matched)
    }

    /// At no step where anything could match it may have two of a group, whether or not anything does.
    async fn check_ones(&self, budget: &mut Budget) -> QueryResult<()> {
        let mut wanted = None;
        for (key, one) in self.one_groups.keys.iter().zip(&self.one_groups.members) {
            if one.len() > 1 {
                let wanted = wanted.get_or_insert_with(|| presence(&self.many, self.steps));
                self.check_one(key, one, wanted)?;
                budget.spend(one.len() * self.steps).await?;
            }
        }
        Ok(())
    }

    fn check_one(&self, key: &LabelSet, one: &[usize], wanted: &[bool]) -> QueryResult<()> {
        let Some((first, second)) = clash(&self.one, one, wanted) else { return Ok(()) };
        let side = if self.is_swapped { "left" } else { "right" };
        let (first, second) = (written(&self.one[first]), written(&self.one[second]));
        let key = key.in_braces();
        Err(QueryError::execution(format!(
            "found duplicate series for the match group {key} on the {side} hand-side of the operation: [{second}, {first}];many-to-many matching not allowed: matching labels must be unique on one side"
        )))
    }

    /// Nor may the other side, where neither side may have many.
    fn check_many(&self, many: &[usize], one: &[usize]) -> QueryResult<()> {
        if many.len() < 2 {
            return Ok(());
        }
        let wanted = presence(one.iter().map(|number| &self.one[*number]), self.steps);
        match clash(&self.many, many, &wanted) {
            None => Ok(()),
            Some(_) => Err(QueryError::execution(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            )),
        }
    }

    /// Rows of one group must not end up with the same labels.
    async fn check_distinct(&self, matched: &[(usize, Row)], budget: &mut Budget) -> QueryResult<()> {
        if matched.len() < 2 || self.matching.cardinality == Cardinality::OneToOne {
            return Ok(());
        }
        let before = budget.left();
        budget.hold(matched.len() * self.steps).await?;
        let rows = matched.iter().map(|(_, row)| row.clone()).collect();
        merged(rows, AMBIGUOUS_GROUPING)?;
        budget.settle(before, 0);
        Ok(())
    }

    fn pair(&self, many: &Row, one: &Row) -> Row {
        let Binary { op, returns_bool, .. } = *self.binary;
        let compute = |(many, one): (&f64, &f64)| {
            if !is_present(*many) || !is_present(*one) {
                return ABSENT;
            }
            let (left, right) = if self.is_swapped { (*one, *many) } else { (*many, *one) };
            match op.filter(left, right) {
                kept if returns_bool => f64::from(kept.is_some()),
                kept => kept.unwrap_or(ABSENT),
            }
        };
        let values = many.values.iter().zip(&one.values).map(compute).collect();
        let drops_name = returns_bool || many.drops_name;
        Row { labels: self.labels(&many.labels, &one.labels), drops_name, values }
    }

    fn labels(&self, many: &LabelSet, one: &LabelSet) -> LabelSet {
        // A comparison filters, so what it yields is still a sample of its series.
        let mut labels = if self.binary.op.is_comparison() { many.clone() } else { many.without_name() };
        if self.matching.cardinality == Cardinality::OneToOne {
            labels = match &self.matching.labels {
                Grouping::By(names) => labels.retain(|name| names.iter().any(|on| on == name)),
                Grouping::Without(names) => {
                    labels.retain(|name| !names.iter().any(|ignored| ignored == name))
                }
            };
        }
        for name in &self.matching.include {
            labels = labels.with_that_of(name, one);
        }
        labels
    }
}

/// A row as errors name it.
fn written(row: &Row) -> String {
    if row.drops_name { row.labels.without_name().in_braces() } else { row.labels.in_braces() }
}

const AMBIGUOUS_GROUPING: &str = "multiple matches for labels: grouping labels must ensure unique matches";

/// Two of `members` that have a value at the same step, one where `wanted`.
fn clash(rows: &[Row], members: &[usize], wanted: &[bool]) -> Option<(usize, usize)> {
    let mut taken: Vec<Option<usize>> = vec![None; wanted.len()];
    for member in members {
        for (step, value) in rows[*member].values.iter().enumerate() {
            if wanted[step]
                && is_present(*value)
                && let Some(first) = taken[step].replace(*member)
            {
                return Some((first, *member));
            }
        }
    }
    None
}

impl BinaryOp {
    /// What it yields; `None` where a comparison does not hold. A comparison that holds yields its
    /// left side.
    fn filter(self, left: f64, right: f64) -> Option<f64> {
        Some(match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Modulo => left % right,
            Self::Power => left.powf(right),
            Self::Atan2 => left.atan2(right),
            Self::Equal => return (left == right).then_some(left),
            Self::NotEqual => return (left != right).then_some(left),
            Self::Greater => return (left > right).then_some(left),
            Self::Less => return (left < right).then_some(left),
            Self::GreaterOrEqual => return (left >= right).then_some(left),
            Self::LessOrEqual => return (left <= right).then_some(left),
            Self::And | Self::Or | Self::Unless => return None,
        })
    }
}

fn between_scalars(op: BinaryOp, left: f64, right: f64) -> f64 {
    let value = op.filter(left, right);
    if op.is_comparison() { f64::from(value.is_some()) } else { value.unwrap_or(f64::NAN) }
}
