//! What expressions evaluate to: columns of values, one for each step.

use super::labels::LabelSet;

/// Stands in a column where there is no value. It is the staleness marker of Prometheus, which no
/// expression can yield: a selector that meets it sees no sample.
pub(crate) const ABSENT: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether a column has a value here. NaN is one.
#[inline]
pub(crate) const fn is_present(value: f64) -> bool {
    value.to_bits() != ABSENT.to_bits()
}

/// The instants an expression is evaluated at, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    pub start: i64,
    /// Between two steps; at least 1.
    pub interval: i64,
    pub count: usize,
}

impl Steps {
    /// One instant.
    pub(crate) const fn at(time: i64) -> Self {
        Self { start: time, interval: 1, count: 1 }
    }

    /// From `start` up to `end`, both included.
    pub(crate) const fn range(start: i64, end: i64, interval: i64) -> Self {
        let count = if end < start { 0 } else { (end - start) / interval + 1 };
        Self { start, interval, count: count as usize }
    }

    /// The instants, in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = i64> + use<> {
        let Self { start, interval, count } = *self;
        (0..count).map(move |step| start + interval * step as i64)
    }

    /// The last instant.
    pub(crate) const fn end(&self) -> i64 {
        self.start + self.interval * (self.count as i64 - 1)
    }
}

/// One series of an instant vector, at every step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub labels: LabelSet,
    /// Whether the name is to be removed in the end. It stays until then, so that later operations
    /// can still tell series apart by it.
    pub drops_name: bool,
    /// A value or [`ABSENT`] for each step.
    pub values: Vec<f64>,
}

impl Row {
    /// Whether it has a value at any step.
    pub(crate) fn is_anywhere(&self) -> bool {
        self.values.iter().any(|value| is_present(*value))
    }
}

/// A series of samples, as a range selector at the top of a query yields it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SampleRow {
    pub labels: LabelSet,
    pub times: Vec<i64>,
    pub values: Vec<f64>,
}

/// What an expression evaluates to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A number for each step.
    Scalar(Vec<f64>),
    Vector(Vec<Row>),
    Samples(Vec<SampleRow>),
    Text(String),
}

impl Value {
    /// What it takes to hold it, in samples.
    pub(crate) fn cells(&self) -> usize {
        match self {
            Self::Scalar(values) => values.len(),
            Self::Vector(rows) => rows.iter().map(|row| row.values.len()).sum(),
            Self::Samples(rows) => rows.iter().map(|row| row.times.len()).sum(),
            Self::Text(_) => 0,
        }
    }
}
