//! From the syntax tree to the plan.

use std::time::{Duration, SystemTime};

use promql_parser::label::{MatchOp, Matcher as ParsedMatcher};
use promql_parser::parser::token::{self, TokenId};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AggregateExpr, AtModifier, BinModifier, BinaryExpr, Call, Expr, LabelModifier, Offset, SubqueryExpr,
    VectorMatchCardinality, VectorSelector,
};

use super::error::{QueryError, QueryResult};
use super::functions::{self, Function};
use super::labels::NAME;
use super::matcher::{Condition, Matcher, anchored};
use super::plan::{
    Aggregate, AggregateOp, Binary, BinaryKind, BinaryOp, Cardinality, Grouping, Matching, Node, Range,
    RangeCall, RangeOf, Select, Shift,
};

/// Makes plans for queries from `start` to `end`, milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planner {
    pub start: i64,
    pub end: i64,
    /// The step of a subquery that names none, in milliseconds.
    pub subquery_interval: i64,
}

/// A node, and whether it is the same at every step.
struct Planned {
    node: Node,
    is_fixed: bool,
}

impl Planned {
    const fn new(node: Node, is_fixed: bool) -> Self {
        Self { node, is_fixed }
    }

    /// The node for a parent that varies: evaluated once if it does not vary itself.
    fn within_varying(self) -> Node {
        match self.node {
            Node::Number(_) | Node::Text(_) => self.node,
            node if self.is_fixed => Node::Fixed(Box::new(node)),
            node => node,
        }
    }
}

impl Planner {
    /// The plan of a syntax tree.
    pub(crate) fn plan(&self, expression: &Expr) -> QueryResult<Node> {
        Ok(self.planned(expression)?.within_varying())
    }

    fn planned(&self, expression: &Expr) -> QueryResult<Planned> {
        match expression {
            Expr::NumberLiteral(number) => Ok(Planned::new(Node::Number(number.val), true)),
            Expr::StringLiteral(text) => Ok(Planned::new(Node::Text(text.val.clone()), true)),
            Expr::Paren(paren) => self.planned(&paren.expr),
            Expr::Unary(unary) => {
                let Planned { node, is_fixed } = self.planned(&unary.expr)?;
                Ok(Planned::new(Node::Negate(Box::new(node)), is_fixed))
            }
            Expr::VectorSelector(selector) => {
                let select = self.select(selector)?;
                let is_fixed = select.shift.at.is_some();
                Ok(Planned::new(Node::Select(select), is_fixed))
            }
            Expr::MatrixSelector(_) | Expr::Subquery(_) => {
                let range = self.range(expression)?;
                let is_fixed = range.shift.at.is_some();
                Ok(Planned::new(Node::Range(range), is_fixed))
            }
            Expr::Binary(binary) => self.binary(binary),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Call(call) => self.call(call),
            Expr::Extension(_) => Err(QueryError::bad_data("unknown kind of expression")),
        }
    }

    fn select(&self, selector: &VectorSelector) -> QueryResult<Select> {
        let shift = self.shift(selector.at.as_ref(), selector.offset.as_ref());
        Ok(Select { matchers: matchers(selector)?, shift })
    }

    /// The range an expression of that type stands for.
    fn range(&self, expression: &Expr) -> QueryResult<Range> {
        match expression {
            Expr::Paren(paren) => self.range(&paren.expr),
            Expr::MatrixSelector(matrix) => {
                let Select { matchers, shift } = self.select(&matrix.vs)?;
                Ok(Range { of: RangeOf::Series(matchers), length: millis(matrix.range), shift })
            }
            Expr::Subquery(subquery) => self.subquery(subquery),
            other => {
                Err(QueryError::bad_data(format!("expected a range vector, got {}", other.value_type())))
            }
        }
    }

    fn subquery(&self, subquery: &SubqueryExpr) -> QueryResult<Range> {
        let shift = self.shift(subquery.at.as_ref(), subquery.offset.as_ref());
        let interval = subquery.step.map_or(0, millis);
        let interval = if interval > 0 { interval } else { self.subquery_interval };
        let of = self.planned(&subquery.expr)?.within_varying();
        let of = RangeOf::Subquery(Box::new(of), interval);
        Ok(Range { of, length: millis(subquery.range), shift })
    }

    fn shift(&self, at: Option<&AtModifier>, offset: Option<&Offset>) -> Shift {
        let at = at.map(|at| match at {
            AtModifier::Start => self.start,
            AtModifier::End => self.end,
            AtModifier::At(time) => unix_millis(*time),
        });
        Shift { at, offset: offset_millis(offset) }
    }

    fn binary(&self, binary: &BinaryExpr) -> QueryResult<Planned> {
        let (left, right) = (self.planned(&binary.lhs)?, self.planned(&binary.rhs)?);
        let is_fixed = left.is_fixed && right.is_fixed;
        let op = binary_op(binary.op.id())?;
        let (left_type, right_type) = (binary.lhs.value_type(), binary.rhs.value_type());
        let kind = match (left_type, right_type) {
            (ValueType::Scalar, ValueType::Scalar) => BinaryKind::Scalars,
            (ValueType::Vector, ValueType::Scalar) => BinaryKind::VectorScalar,
            (ValueType::Scalar, ValueType::Vector) => BinaryKind::ScalarVector,
            _ => BinaryKind::Vectors(matching(op, binary.modifier.as_ref())?),
        };
        let (left, right) =
            if is_fixed { (left.node, right.node) } else { (left.within_varying(), right.within_varying()) };
        let returns_bool = binary.return_bool();
        let binary = Binary { op, left, right, returns_bool, kind };
        Ok(Planned::new(Node::Binary(Box::new(binary)), is_fixed))
    }

    fn aggregate(&self, aggregate: &AggregateExpr) -> QueryResult<Planned> {
        let of = self.planned(&aggregate.expr)?;
        let parameter = aggregate.param.as_deref().map(|node| self.planned(node)).transpose()?;
        let is_fixed = of.is_fixed && parameter.as_ref().is_none_or(|parameter| parameter.is_fixed);
        let op = aggregate_op(aggregate.op.id())?;
        check_parameter(op, aggregate.param.as_deref())?;
        let grouping = match &aggregate.modifier {
            None => Grouping::By(Vec::new()),
            Some(modifier) => grouping(modifier),
        };
        let within = |planned: Planned| if is_fixed { planned.node } else { planned.within_varying() };
        let aggregate = Aggregate { op, grouping, of: within(of), parameter: parameter.map(within) };
        Ok(Planned::new(Node::Aggregate(Box::new(aggregate)), is_fixed))
    }

    fn call(&self, call: &Call) -> QueryResult<Planned> {
        let name = call.func.name;
        let args: Vec<_> = call.args.args.iter().map(|arg| &**arg).collect();
        check_types(name, &call.func.arg_types, &args)?;
        match functions::find(name)? {
            Function::Instant(function) => {
                let args = args.into_iter().map(|arg| self.planned(arg)).collect::<QueryResult<Vec<_>>>()?;
                let is_fixed = !function.depends_on_time() && args.iter().all(|arg| arg.is_fixed);
                let args = nodes(args, is_fixed);
                Ok(Planned::new(Node::Call(function, args), is_fixed))
            }
            Function::Range(function) => {
                let (ranges, others): (Vec<_>, Vec<_>) =
                    args.into_iter().partition(|arg| arg.value_type() == ValueType::Matrix);
                let [range] = ranges[..] else {
                    return Err(QueryError::bad_data(format!("{name}() needs one range vector")));
                };
                let range = self.range(range)?;
                let args =
                    others.into_iter().map(|arg| self.planned(arg)).collect::<QueryResult<Vec<_>>>()?;
                let is_fixed = !function.depends_on_time()
                    && range.shift.at.is_some()
                    && args.iter().all(|arg| arg.is_fixed);
                let args = nodes(args, is_fixed);
                Ok(Planned::new(Node::RangeCall(Box::new(RangeCall { function, range, args })), is_fixed))
            }
        }
    }
}

fn nodes(planned: Vec<Planned>, is_fixed: bool) -> Vec<Node> {
    planned.into_iter().map(|arg| if is_fixed { arg.node } else { arg.within_varying() }).collect()
}

/// The parser does not look at what the youngest aggregations are told.
fn check_parameter(op: AggregateOp, parameter: Option<&Expr>) -> QueryResult<()> {
    let is_number = matches!(op, AggregateOp::LimitK | AggregateOp::LimitRatio);
    match parameter.map(Expr::value_type).filter(|actual| is_number && *actual != ValueType::Scalar) {
        None => Ok(()),
        Some(actual) => {
            let actual = type_name(actual);
            let message = format!("parse error: expected type scalar in aggregation parameter, got {actual}");
            Err(QueryError::bad_data(message))
        }
    }
}

/// The parser lets some literals pass where a vector must stand.
fn check_types(name: &str, expected: &[ValueType], args: &[&Expr]) -> QueryResult<()> {
    for (n, arg) in args.iter().enumerate() {
        let Some(expected) = expected.get(n).or(expected.last()) else { continue };
        let actual = arg.value_type();
        if actual != *expected {
            let (expected, actual) = (type_name(*expected), type_name(actual));
            let message = format!("expected type {expected} in call to function \"{name}\", got {actual}");
            return Err(QueryError::bad_data(message));
        }
    }
    Ok(())
}

/// The name of a type in Prometheus's messages.
pub(crate) const fn type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Vector => "instant vector",
        ValueType::Scalar => "scalar",
        ValueType::Matrix => "range vector",
        ValueType::String => "string",
    }
}

/// The conditions of a selector, its name as one of them.
pub(crate) fn matchers(selector: &VectorSelector) -> QueryResult<Vec<Matcher>> {
    check_alternatives(selector)?;
    let name = selector
        .name
        .clone()
        .map(|name| Ok(Matcher { name: NAME.to_owned(), condition: Condition::Equal(name) }));
    let all: Vec<_> =
        name.into_iter().chain(selector.matchers.matchers.iter().map(matcher)).collect::<QueryResult<_>>()?;
    if all.iter().all(|matcher| matcher.accepts("")) {
        let message = "vector selector must contain at least one non-empty matcher";
        return Err(QueryError::bad_data(message));
    }
    Ok(all)
}

/// Refuses what our parser knows beyond Prometheus's language.
pub(super) fn check_alternatives(selector: &VectorSelector) -> QueryResult<()> {
    match selector.matchers.or_matchers.is_empty() {
        true => Ok(()),
        false => Err(QueryError::bad_data("`or` between matchers is no PromQL of Prometheus")),
    }
}

fn matcher(parsed: &ParsedMatcher) -> QueryResult<Matcher> {
    let value = &parsed.value;
    let condition = match &parsed.op {
        MatchOp::Equal => Condition::Equal(value.clone()),
        MatchOp::NotEqual => Condition::NotEqual(value.clone()),
        MatchOp::Re(_) => Condition::Matches(anchored(value)?),
        MatchOp::NotRe(_) => Condition::MatchesNot(anchored(value)?),
    };
    Ok(Matcher { name: parsed.name.clone(), condition })
}

fn matching(op: BinaryOp, modifier: Option<&BinModifier>) -> QueryResult<Matching> {
    let is_set = matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless);
    let default = BinModifier::default();
    let modifier = modifier.unwrap_or(&default);
    if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
        return Err(QueryError::bad_data("fill modifiers are experimental and not supported"));
    }
    let labels = modifier.matching.as_ref().map_or(Grouping::Without(Vec::new()), grouping);
    let (cardinality, include) = match &modifier.card {
        _ if is_set => (Cardinality::ManyToMany, Vec::new()),
        VectorMatchCardinality::ManyToOne(include) => (Cardinality::ManyToOne, include.labels.clone()),
        VectorMatchCardinality::OneToMany(include) => (Cardinality::OneToMany, include.labels.clone()),
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {
            (Cardinality::OneToOne, Vec::new())
        }
    };
    Ok(Matching { labels, cardinality, include })
}

fn grouping(modifier: &LabelModifier) -> Grouping {
    match modifier {
        LabelModifier::Include(labels) => Grouping::By(labels.labels.clone()),
        LabelModifier::Exclude(labels) => Grouping::Without(labels.labels.clone()),
    }
}

fn binary_op(id: TokenId) -> QueryResult<BinaryOp> {
    Ok(match id {
        token::T_ADD => BinaryOp::Add,
        token::T_SUB => BinaryOp::Subtract,
        token::T_MUL => BinaryOp::Multiply,
        token::T_DIV => BinaryOp::Divide,
        token::T_MOD => BinaryOp::Modulo,
        token::T_POW => BinaryOp::Power,
        token::T_ATAN2 => BinaryOp::Atan2,
        token::T_EQLC => BinaryOp::Equal,
        token::T_NEQ => BinaryOp::NotEqual,
        token::T_GTR => BinaryOp::Greater,
        token::T_LSS => BinaryOp::Less,
        token::T_GTE => BinaryOp::GreaterOrEqual,
        token::T_LTE => BinaryOp::LessOrEqual,
        token::T_LAND => BinaryOp::And,
        token::T_LOR => BinaryOp::Or,
        token::T_LUNLESS => BinaryOp::Unless,
        _ => return Err(QueryError::bad_data("unknown operator")),
    })
}

fn aggregate_op(id: TokenId) -> QueryResult<AggregateOp> {
    Ok(match id {
        token::T_SUM => AggregateOp::Sum,
        token::T_AVG => AggregateOp::Average,
        token::T_COUNT => AggregateOp::Count,
        token::T_MIN => AggregateOp::Min,
        token::T_MAX => AggregateOp::Max,
        token::T_GROUP => AggregateOp::Group,
        token::T_STDDEV => AggregateOp::StdDev,
        token::T_STDVAR => AggregateOp::StdVar,
        token::T_TOPK => AggregateOp::TopK,
        token::T_BOTTOMK => AggregateOp::BottomK,
        token::T_QUANTILE => AggregateOp::Quantile,
        token::T_COUNT_VALUES => AggregateOp::CountValues,
        token::T_LIMITK => AggregateOp::LimitK,
        token::T_LIMIT_RATIO => AggregateOp::LimitRatio,
        _ => return Err(QueryError::bad_data("unknown aggregation")),
    })
}

/// How far back in time an offset leads; ahead, if negative.
pub(super) fn offset_millis(offset: Option<&Offset>) -> i64 {
    offset.map_or(0, |offset| match offset {
        Offset::Pos(duration) => millis(*duration),
        Offset::Neg(duration) => -millis(*duration),
    })
}

pub(super) fn millis(duration: Duration) -> i64 {
    // Bounded by the parser and by the check before it.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

pub(super) fn unix_millis(time: SystemTime) -> i64 {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    }
}
