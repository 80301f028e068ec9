//! What is to be evaluated: the syntax tree with everything resolved that does not depend on data.
//!
//! Types are checked, functions and operators are looked up, regular expressions are compiled,
//! `@ start()` and `@ end()` are instants, and what is the same at every step is marked.

use super::functions::{InstantFunction, RangeFunction};
use super::matcher::Matcher;

/// An expression.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Number(f64),
    Text(String),
    /// An instant selector.
    Select(Select),
    /// A range; only at the top, where samples themselves are asked for.
    Range(Range),
    Negate(Box<Node>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(InstantFunction, Vec<Node>),
    /// A function over a range, with its other arguments.
    RangeCall(Box<RangeCall>),
    /// The same at every step.
    Fixed(Box<Node>),
}

/// Which series, and when.
#[derive(Clone, Debug)]
pub(crate) struct Select {
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
}

/// How far from the step the samples lie that it sees, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    /// The instant, if it is the same at every step.
    pub at: Option<i64>,
    /// Back in time, or ahead if negative.
    pub offset: i64,
}

impl Shift {
    /// The instant seen at a step.
    pub(crate) fn seen_at(self, step: i64) -> i64 {
        self.at.unwrap_or(step) - self.offset
    }
}

/// The samples of a window before each step.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub of: RangeOf,
    /// Its length in milliseconds.
    pub length: i64,
    pub shift: Shift,
}

#[derive(Clone, Debug)]
pub(crate) enum RangeOf {
    Series(Vec<Matcher>),
    /// What an expression yields every so many milliseconds.
    Subquery(Box<Node>, i64),
}

#[derive(Clone, Debug)]
pub(crate) struct RangeCall {
    pub function: RangeFunction,
    pub range: Range,
    pub args: Vec<Node>,
}

#[derive(Clone, Debug)]
pub(crate) struct Binary {
    pub op: BinaryOp,
    pub left: Node,
    pub right: Node,
    /// A comparison that yields 0 or 1 instead of filtering.
    pub returns_bool: bool,
    pub kind: BinaryKind,
}

/// What an operator stands between.
#[derive(Clone, Debug)]
pub(crate) enum BinaryKind {
    Scalars,
    /// The scalar stands on the right.
    VectorScalar,
    /// The scalar stands on the left.
    ScalarVector,
    Vectors(Matching),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    pub(crate) const fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(self, Equal | NotEqual | Greater | Less | GreaterOrEqual | LessOrEqual)
    }
}

/// Which series of one side belong to which of the other.
#[derive(Clone, Debug)]
pub(crate) struct Matching {
    pub labels: Grouping,
    pub cardinality: Cardinality,
    /// Labels taken over from the side that has one.
    pub include: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cardinality {
    OneToOne,
    ManyToOne,
    OneToMany,
    ManyToMany,
}

/// Which labels tell groups apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// These: `by`, `on`.
    By(Vec<String>),
    /// All but these and the name: `without`, `ignoring`.
    Without(Vec<String>),
}

#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    pub op: AggregateOp,
    pub grouping: Grouping,
    pub of: Node,
    /// A scalar, or for `count_values` a text.
    pub parameter: Option<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateOp {
    Sum,
    Average,
    Count,
    Min,
    Max,
    Group,
    StdDev,
    StdVar,
    TopK,
    BottomK,
    Quantile,
    CountValues,
    LimitK,
    LimitRatio,
}
