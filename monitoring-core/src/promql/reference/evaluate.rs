//! The expressions themselves: one instant at a time, one series at a time.

use std::time::{Duration, SystemTime};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{
    AggregateExpr, AtModifier, BinaryExpr, Call, Expr, Offset, SubqueryExpr, VectorSelector,
};

use super::series::{Kind, Labels, NAME, Series, is_stale};
use super::window::{self, Seen};
use super::{aggregate, functions, operators};

/// One element of an instant vector.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub labels: Labels,
    /// Its name goes in the end, and not before: "delayed name removal".
    pub drops_name: bool,
    pub value: f64,
}

/// What an expression is at one instant. Vectors of ranges are taken where functions ask for them.
#[derive(Clone, Debug)]
pub(super) enum Worth {
    Scalar(f64),
    Vector(Vec<Element>),
    Text(String),
}

pub(super) type Answer<T> = Result<T, String>;

/// How long a sample is seen after its time.
const LOOKBACK: i64 = 300_000;
/// The step of a subquery that names none.
const SUBQUERY_STEP: i64 = 60_000;

/// Series, and the query asked of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference<'s> {
    pub series: &'s [Series],
    /// What `@ start()` and `@ end()` mean.
    pub start: i64,
    pub end: i64,
}

/// The samples of one range, and what they are samples of.
pub(super) struct Ranged {
    pub labels: Labels,
    pub drops_name: bool,
    pub seen: Seen,
}

impl Reference<'_> {
    pub(super) fn evaluate(&self, expression: &Expr, at: i64) -> Answer<Worth> {
        match expression {
            Expr::Paren(paren) => self.evaluate(&paren.expr, at),
            Expr::NumberLiteral(number) => Ok(Worth::Scalar(number.val)),
            Expr::StringLiteral(text) => Ok(Worth::Text(text.val.clone())),
            Expr::VectorSelector(selector) => {
                let newest = self.newest(selector, at);
                Ok(Worth::Vector(newest.into_iter().map(|(_, element)| element).collect()))
            }
            Expr::Unary(unary) => Ok(match self.evaluate(&unary.expr, at)? {
                Worth::Vector(elements) => Worth::Vector(mapped(elements, |value| Some(-value))),
                Worth::Scalar(value) => Worth::Scalar(-value),
                text => text,
            }),
            Expr::Binary(binary) => self.binary(binary, at),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, at),
            Expr::Call(call) => self.call(call, at),
            other => Err(format!("{other} has no value at an instant")),
        }
    }

    /// The newest sample of each series, with its time.
    pub(super) fn newest(&self, selector: &VectorSelector, at: i64) -> Vec<(i64, Element)> {
        let time = self.shifted(selector.at.as_ref(), selector.offset.as_ref(), at);
        let mut found = Vec::new();
        for series in self.series.iter().filter(|series| selects(selector, &series.labels)) {
            let Some((sampled, value)) = newest_of(series, time) else { continue };
            let element = Element { labels: series.labels.clone(), drops_name: false, value };
            found.push((sampled, element));
        }
        found
    }

    /// The samples of the window that ends at an instant, or where its modifiers move it.
    pub(super) fn range(&self, expression: &Expr, at: i64) -> Answer<Vec<Ranged>> {
        match expression {
            Expr::Paren(paren) => self.range(&paren.expr, at),
            Expr::MatrixSelector(matrix) => {
                let selector = &matrix.vs;
                let end = self.shifted(selector.at.as_ref(), selector.offset.as_ref(), at);
                let start = end - millis(matrix.range);
                let chosen = self.series.iter().filter(|series| selects(selector, &series.labels));
                let ranged = |series: &Series| Ranged {
                    labels: series.labels.clone(),
                    drops_name: false,
                    seen: Seen::of(series, start, end),
                };
                Ok(chosen.map(ranged).collect())
            }
            Expr::Subquery(subquery) => self.subquery(subquery, at),
            other => Err(format!("{other} is no range")),
        }
    }

    /// The inner expression at the multiples of the step within the window.
    fn subquery(&self, subquery: &SubqueryExpr, at: i64) -> Answer<Vec<Ranged>> {
        let end = self.shifted(subquery.at.as_ref(), subquery.offset.as_ref(), at);
        let start = end - millis(subquery.range);
        let step = subquery.step.map_or(SUBQUERY_STEP, millis);
        let mut all: Vec<Ranged> = Vec::new();
        for time in (start..=end).filter(|time| *time > start && time.rem_euclid(step) == 0) {
            let Worth::Vector(elements) = self.evaluate(&subquery.expr, time)? else {
                return Err("a subquery is of an instant vector".to_owned());
            };
            for Element { labels, drops_name, value } in elements {
                let is_known =
                    |ranged: &&mut Ranged| ranged.labels == labels && ranged.drops_name == drops_name;
                match all.iter_mut().find(is_known) {
                    Some(known) => known.seen.samples.push((time, value)),
                    None => {
                        let seen = Seen { samples: vec![(time, value)], start, end, delta: None };
                        all.push(Ranged { labels, drops_name, seen });
                    }
                }
            }
        }
        Ok(all)
    }

    fn shifted(&self, at: Option<&AtModifier>, offset: Option<&Offset>, time: i64) -> i64 {
        let base = match at {
            None => time,
            Some(AtModifier::Start) => self.start,
            Some(AtModifier::End) => self.end,
            Some(AtModifier::At(fixed)) => {
                millis(fixed.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"))
            }
        };
        match offset {
            None => base,
            Some(Offset::Pos(back)) => base - millis(*back),
            Some(Offset::Neg(ahead)) => base + millis(*ahead),
        }
    }

    fn call(&self, call: &Call, at: i64) -> Answer<Worth> {
        let args: Vec<&Expr> = call.args.args.iter().map(|arg| &**arg).collect();
        let name = call.func.name;
        if name == "absent_over_time" {
            return self.absent_over_time(args[0], at);
        }
        let Some(place) = args.iter().position(|arg| is_range(arg)) else {
            return functions::call(self, name, &args, at);
        };
        let mut others = Vec::new();
        for arg in args.iter().enumerate().filter(|(n, _)| *n != place).map(|(_, arg)| arg) {
            others.push(self.scalar(arg, at)?);
        }
        let mut elements = Vec::new();
        for Ranged { labels, drops_name, seen } in self.range(args[place], at)? {
            if let Some(value) = window::function(name, &seen, &others, at) {
                let drops_name = drops_name || name != "last_over_time";
                elements.push(Element { labels, drops_name, value });
            }
        }
        Ok(Worth::Vector(elements))
    }

    fn absent_over_time(&self, range: &Expr, at: i64) -> Answer<Worth> {
        if self.range(range, at)?.iter().any(|ranged| !ranged.seen.samples.is_empty()) {
            return Ok(Worth::Vector(Vec::new()));
        }
        let labels = match range {
            Expr::MatrixSelector(matrix) => functions::labels_told(&matrix.vs),
            _ => Labels::new(),
        };
        Ok(Worth::Vector(vec![Element { labels, drops_name: false, value: 1.0 }]))
    }

    fn aggregate(&self, expression: &AggregateExpr, at: i64) -> Answer<Worth> {
        let parameter = expression.param.as_ref().map(|node| self.evaluate(node, at)).transpose()?;
        let elements = self.vector(&expression.expr, at)?;
        aggregate::aggregate(expression, parameter, elements).map(Worth::Vector)
    }

    fn binary(&self, binary: &BinaryExpr, at: i64) -> Answer<Worth> {
        let (left, right) = (self.evaluate(&binary.lhs, at)?, self.evaluate(&binary.rhs, at)?);
        operators::binary(binary, left, right)
    }

    pub(super) fn vector(&self, expression: &Expr, at: i64) -> Answer<Vec<Element>> {
        match self.evaluate(expression, at)? {
            Worth::Vector(elements) => Ok(elements),
            other => Err(format!("{other:?} is no vector")),
        }
    }

    pub(super) fn scalar(&self, expression: &Expr, at: i64) -> Answer<f64> {
        match self.evaluate(expression, at)? {
            Worth::Scalar(value) => Ok(value),
            other => Err(format!("{other:?} is no scalar")),
        }
    }
}

/// A value of a gauge or counter is seen until it is five minutes old or marked as stale. What has
/// been counted in increments stays.
fn newest_of(series: &Series, time: i64) -> Option<(i64, f64)> {
    let last = series.samples.iter().rfind(|(sampled, _)| *sampled <= time).copied();
    match series.kind {
        Kind::Readings => last.filter(|(sampled, value)| *sampled > time - LOOKBACK && !is_stale(*value)),
        Kind::Increments { .. } => {
            let total = series.total(time)?;
            // Without a recent sample it is as if it were measured now.
            let sampled = last.map_or(time, |(sampled, _)| sampled);
            Some((if sampled > time - LOOKBACK { sampled } else { time }, total))
        }
    }
}

/// Applies a function that yields no sample of the series any longer.
pub(super) fn mapped(elements: Vec<Element>, f: impl Fn(f64) -> Option<f64>) -> Vec<Element> {
    let map = |element: Element| f(element.value).map(|value| Element { value, drops_name: true, ..element });
    elements.into_iter().filter_map(map).collect()
}

fn is_range(expression: &Expr) -> bool {
    match expression {
        Expr::Paren(paren) => is_range(&paren.expr),
        other => matches!(other, Expr::MatrixSelector(_) | Expr::Subquery(_)),
    }
}

fn selects(selector: &VectorSelector, labels: &Labels) -> bool {
    let value = |name: &str| labels.get(name).map_or("", String::as_str);
    selector.name.as_ref().is_none_or(|name| value(NAME) == name)
        && selector.matchers.matchers.iter().all(|matcher| accepts(matcher, value(&matcher.name)))
}

fn accepts(matcher: &Matcher, value: &str) -> bool {
    let whole = || regex::Regex::new(&format!("^(?s:{})$", matcher.value)).expect("a valid expression");
    match matcher.op {
        MatchOp::Equal => value == matcher.value,
        MatchOp::NotEqual => value != matcher.value,
        MatchOp::Re(_) => whole().is_match(value),
        MatchOp::NotRe(_) => !whole().is_match(value),
    }
}

fn millis(duration: Duration) -> i64 {
    duration.as_millis() as i64
}
