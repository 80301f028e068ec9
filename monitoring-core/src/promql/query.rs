//! A query from its text to its answer.

use std::time::Duration;

use tokio::time::Instant;

use super::error::{QueryError, QueryResult};
use super::eval::{Evaluator, finished};
use super::labels::LabelSet;
use super::layout::laid_out;
use super::limits::QueryLimits;
use super::notes::{Note, Notes};
use super::plan::Node;
use super::planner::{Planner, check_alternatives, type_name};
use super::selectors::each_selector;
use super::source::SeriesSource;
use super::tree::tree;
use super::value::{Row, SampleRow, Steps, Value, is_present};

/// A query that is ready to be evaluated at given instants.
#[derive(Debug)]
pub(crate) struct Query {
    node: Node,
    steps: Steps,
    is_range: bool,
}

/// What a query yields, and what to know about it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueryAnswer {
    /// The result.
    pub value: QueryValue,
    /// What it took.
    pub stats: QueryStats,
    notes: Notes,
}

/// What it took to answer a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryStats {
    /// Time until its turn came.
    pub waiting: Duration,
    /// Time to read its text, to plan it and to learn of new series.
    pub preparation: Duration,
    /// Time to evaluate it, the reading of samples included.
    pub evaluation: Duration,
    /// Time to put the result in order.
    pub sorting: Duration,
    /// Samples its selectors and ranges saw, at each step anew; of a subquery, what its expression yields.
    pub samples_seen: u64,
    /// Samples and values it held at once, at most.
    pub samples_held_max: usize,
}

impl QueryAnswer {
    /// The same with a note.
    pub(crate) fn with_note(mut self, note: Note) -> Self {
        self.notes.add(note);
        self
    }

    /// What makes the result doubtful, in Prometheus's words.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.notes.iter().filter(|note| note.is_warning()).map(Note::to_string).collect()
    }

    /// What may show that something else was meant, in Prometheus's words.
    #[must_use]
    pub fn infos(&self) -> Vec<String> {
        self.notes.iter().filter(|note| !note.is_warning()).map(Note::to_string).collect()
    }
}

/// The kinds of results the HTTP API tells apart. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryValue {
    /// A number, and when it was asked for.
    Scalar(i64, f64),
    /// A text, and when it was asked for.
    Text(i64, String),
    /// One value each.
    Vector(Vec<SeriesValues>),
    /// Any number of values each.
    Matrix(Vec<SeriesValues>),
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SeriesValues {
    /// Its labels, the name among them if it still has one.
    pub labels: LabelSet,
    /// Times and values.
    pub samples: Vec<(i64, f64)>,
}

/// What a query yields at some instants, column by column.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    /// Labels, and a value for each instant, if there is one.
    rows: Vec<(LabelSet, Vec<f64>)>,
    /// For each instant, whether any selector found a sample.
    seen: Vec<bool>,
    /// Whether the query looks at samples at all.
    looks: bool,
}

impl Columns {
    /// What the query yields at the instant of this number.
    pub(crate) fn at(&self, step: usize) -> impl Iterator<Item = (&LabelSet, f64)> {
        self.at_numbered(step).map(|(row, value)| (&self.rows[row].0, value))
    }

    /// The same, with the number of each row instead of its labels.
    pub(crate) fn at_numbered(&self, step: usize) -> impl Iterator<Item = (usize, f64)> {
        let values = self.rows.iter().enumerate().map(move |(row, (_, values))| (row, values[step]));
        values.filter(|(_, value)| is_present(*value))
    }

    /// The labels of each row.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &LabelSet> {
        self.rows.iter().map(|(labels, _)| labels)
    }

    /// Whether the query found nothing to look at: no selector found a sample, and nothing is said about
    /// that, as `absent` would.
    pub(crate) fn has_no_data(&self, step: usize) -> bool {
        self.looks && !self.seen[step] && self.at_numbered(step).next().is_none()
    }
}

impl Query {
    /// A query at one instant, in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// The text is no query.
    pub(crate) fn instant(text: &str, time: i64, limits: &QueryLimits) -> QueryResult<Self> {
        let node = plan(text, (time, time), limits)?.0;
        Ok(Self { node, steps: Steps::at(time), is_range: false })
    }

    /// A query at every `interval` milliseconds from `start` up to `end`.
    ///
    /// # Errors
    ///
    /// The text is no query, yields neither a scalar nor an instant vector, or the times make no
    /// sense or ask for too many steps.
    pub(crate) fn range(
        text: &str,
        start: i64,
        end: i64,
        interval: i64,
        limits: &QueryLimits,
    ) -> QueryResult<Self> {
        if end < start {
            return Err(QueryError::bad_data("end timestamp must not be before start time"));
        }
        if interval <= 0 {
            let message =
                "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(QueryError::bad_data(message));
        }
        if (end - start) / interval > limits.steps_max as i64 {
            return Err(QueryError::bad_data(format!(
                "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
                grouped(limits.steps_max)
            )));
        }
        let steps = Steps::range(start, end, interval);
        let (node, value_type) = plan(text, (start, end), limits)?;
        use promql_parser::parser::value::ValueType;
        if !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
            let name = type_name(value_type);
            return Err(QueryError::bad_data(format!(
                "invalid expression type \"{name}\" for range query, must be Scalar or instant Vector"
            )));
        }
        Ok(Self { node, steps, is_range: true })
    }

    /// Evaluates it. To give it up, drop the future.
    ///
    /// # Errors
    ///
    /// The data make it impossible, it takes too much, or the source fails.
    pub(crate) async fn answer<S: SeriesSource>(
        &self,
        source: &S,
        limits: &QueryLimits,
    ) -> QueryResult<QueryAnswer> {
        let mut evaluator = Evaluator::new(source, limits);
        let began = Instant::now();
        let value = evaluator.evaluate(&self.node, self.steps).await?;
        let evaluation = began.elapsed();
        let value = if self.is_range { self.matrix(value)? } else { self.at_instant(value)? };
        let sorting = began.elapsed().saturating_sub(evaluation);
        let stats = QueryStats { evaluation, sorting, ..evaluator.stats() };
        Ok(QueryAnswer { value, stats, notes: evaluator.notes })
    }

    /// Evaluates it as a rule does: a column for each series, and at which steps there were samples to
    /// look at. To give it up, drop the future.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub(crate) async fn columns<S: SeriesSource>(
        &self,
        source: &S,
        limits: &QueryLimits,
    ) -> QueryResult<Columns> {
        let mut evaluator = Evaluator::new(source, limits).watching(self.steps.count);
        let rows = match evaluator.evaluate(&self.node, self.steps).await? {
            Value::Scalar(values) => vec![(LabelSet::default(), values)],
            Value::Vector(rows) => finished(rows)?.into_iter().map(|row| (row.labels, row.values)).collect(),
            _ => return Err(QueryError::execution("rule result is not a vector or scalar")),
        };
        let seen = evaluator.seen.unwrap_or_default();
        let looks = seen.has_looked;
        let seen = seen.into_steps();
        Ok(Columns { rows, seen, looks })
    }

    fn at_instant(&self, value: Value) -> QueryResult<QueryValue> {
        let time = self.steps.start;
        Ok(match value {
            Value::Scalar(values) => QueryValue::Scalar(time, values[0]),
            Value::Text(text) => QueryValue::Text(time, text),
            Value::Vector(rows) => QueryValue::Vector(self.answered(finished(rows)?)),
            Value::Samples(mut rows) => {
                rows.sort_by(|a, b| a.labels.cmp(&b.labels));
                QueryValue::Matrix(rows.into_iter().map(sampled).collect())
            }
        })
    }

    fn matrix(&self, value: Value) -> QueryResult<QueryValue> {
        let mut rows = match value {
            Value::Scalar(values) => {
                vec![Row { labels: LabelSet::default(), drops_name: false, values }]
            }
            Value::Vector(rows) => finished(rows)?,
            Value::Samples(_) | Value::Text(_) => {
                return Err(QueryError::execution("a range query yields numbers"));
            }
        };
        rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(QueryValue::Matrix(self.answered(rows)))
    }

    fn answered(&self, rows: Vec<Row>) -> Vec<SeriesValues> {
        let answered = |row: Row| {
            let mut samples =
                Vec::with_capacity(row.values.iter().filter(|value| is_present(**value)).count());
            samples.extend(self.steps.iter().zip(row.values).filter(|(_, value)| is_present(*value)));
            SeriesValues { labels: row.labels, samples }
        };
        rows.into_iter().map(answered).collect()
    }
}

/// `@ end()` is the end that was asked for, on whichever step the last one falls.
fn plan(
    text: &str,
    (start, end): (i64, i64),
    limits: &QueryLimits,
) -> QueryResult<(Node, promql_parser::parser::value::ValueType)> {
    let expression = parsed(text)?;
    let subquery_interval = i64::try_from(limits.subquery_interval.as_millis()).unwrap_or(60_000).max(1);
    let planner = Planner { start, end, subquery_interval };
    Ok((planner.plan(&expression)?, expression.value_type()))
}

fn sampled(row: SampleRow) -> SeriesValues {
    SeriesValues { labels: row.labels, samples: row.times.into_iter().zip(row.values).collect() }
}

/// With a comma between thousands.
fn grouped(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}

/// A value as Prometheus writes it: all digits it needs and no more, never an exponent.
#[must_use]
pub fn format_value(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

/// A query laid out for reading, as Prometheus does.
///
/// # Errors
///
/// [`QueryError::BadData`] if the text is no query.
pub fn format_query(text: &str) -> QueryResult<String> {
    Ok(laid_out(&in_prometheus_language(text)?, 0))
}

/// The syntax tree of a query, in Prometheus's JSON.
///
/// # Errors
///
/// [`QueryError::BadData`] if the text is no query.
pub fn parse_query(text: &str) -> QueryResult<serde_json::Value> {
    Ok(tree(&in_prometheus_language(text)?))
}

/// An expression without what our parser knows beyond Prometheus's language.
fn in_prometheus_language(text: &str) -> QueryResult<promql_parser::parser::Expr> {
    let expression = parsed(text)?;
    each_selector(&expression, &mut check_alternatives)?;
    Ok(expression)
}

fn parsed(text: &str) -> QueryResult<promql_parser::parser::Expr> {
    super::parse(text).map_err(|error| QueryError::bad_data(error.in_prometheus_words()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{Memory, STALE};

    /// Whether a query has no data, minute by minute: `x` has samples in minutes 0 to 3 and then goes
    /// stale, `y` has none.
    async fn without_data(text: &str) -> String {
        let mut memory = Memory::default();
        let mut samples: Vec<_> = (0..4).map(|minute| (60_000 * minute, 1.0)).collect();
        samples.push((240_000, STALE));
        memory.add([(super::super::NAME, "x")].into_iter().collect(), samples);
        let limits = QueryLimits::default();
        let query = Query::range(text, 0, 420_000, 60_000, &limits).unwrap();
        let columns = query.columns(&memory, &limits).await.unwrap();
        (0..8).map(|step| if columns.has_no_data(step) { '.' } else { 'x' }).collect()
    }

    #[tokio::test]
    async fn no_data_is_told_from_a_comparison_that_does_not_hold() {
        for (query, expected) in [
            ("x > 5", "xxxx...."),
            ("x", "xxxx...."),
            ("y", "........"),
            ("x or y", "xxxx...."),
            ("sum(x) > 5", "xxxx...."),
            ("count_over_time(x[2m]) > 5", "xxxxx..."),
            ("max_over_time((x > 5)[2m:1m])", "xxxxx..."),
            ("rate(x[2m]) > 5", "xxxxx..."),
            ("x @ 60 > 5", "xxxxxxxx"),
            ("y @ 60 > 5", "........"),
            ("x offset 2m > 5", "..xxxx.."),
            ("absent(y)", "xxxxxxxx"),
            ("absent(x)", "xxxxxxxx"),
            ("vector(1) > 5", "xxxxxxxx"),
            ("time() > bool 5", "xxxxxxxx"),
        ] {
            assert_eq!(without_data(query).await, expected, "{query}");
        }
    }

    #[test]
    fn alternatives_between_conditions_are_neither_laid_out_nor_shown() {
        let text = r#"abs(up{a="b" or c="d"})"#;
        for refused in [format_query(text).map(drop), parse_query(text).map(drop)] {
            assert!(refused.unwrap_err().to_string().contains("`or` between matchers"));
        }
    }
}
