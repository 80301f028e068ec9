//! Functions of instant vectors, scalars and texts.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/querying/functions/>.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, VectorSelector};

use super::evaluate::{Answer, Element, Reference, Worth, mapped};
use super::histogram;
use super::series::{Labels, NAME};
use super::window::seconds;

pub(super) fn call(reference: &Reference<'_>, name: &str, args: &[&Expr], at: i64) -> Answer<Worth> {
    let vector = |n: usize| reference.vector(args[n], at);
    let scalar = |n: usize| reference.scalar(args[n], at);
    let map = |f: &dyn Fn(f64) -> f64| Ok(Worth::Vector(mapped(vector(0)?, |value| Some(f(value)))));
    match name {
        "time" => Ok(Worth::Scalar(seconds(at))),
        "pi" => Ok(Worth::Scalar(std::f64::consts::PI)),
        "vector" => Ok(Worth::Vector(vec![unlabelled(scalar(0)?)])),
        "scalar" => Ok(Worth::Scalar(match &vector(0)?[..] {
            [only] => only.value,
            _ => f64::NAN,
        })),
        "abs" => map(&f64::abs),
        "ceil" => map(&f64::ceil),
        "floor" => map(&f64::floor),
        "sqrt" => map(&f64::sqrt),
        "exp" => map(&f64::exp),
        "ln" => map(&f64::ln),
        "sgn" => map(&|value| {
            if value > 0.0 {
                1.0
            } else if value < 0.0 {
                -1.0
            } else {
                value
            }
        }),
        "round" => {
            let inverse = 1.0 / if args.len() > 1 { scalar(1)? } else { 1.0 };
            map(&|value| (value * inverse + 0.5).floor() / inverse)
        }
        "clamp" => clamped(vector(0)?, scalar(1)?, scalar(2)?),
        "clamp_min" => clamped(vector(0)?, scalar(1)?, f64::INFINITY),
        "clamp_max" => clamped(vector(0)?, f64::NEG_INFINITY, scalar(1)?),
        "timestamp" => timestamp(reference, args[0], at),
        "absent" => {
            Ok(Worth::Vector(if vector(0)?.is_empty() { vec![missing(args[0])] } else { Vec::new() }))
        }
        "label_replace" => label_replace(vector(0)?, &texts(&args[1..])?),
        "label_join" => label_join(vector(0)?, &texts(&args[1..])?),
        "histogram_quantile" => {
            let q = scalar(0)?;
            Ok(Worth::Vector(of_histograms(vector(1)?, |buckets| histogram::quantile(q, buckets))))
        }
        "histogram_fraction" => {
            let (lower, upper) = (scalar(0)?, scalar(1)?);
            Ok(Worth::Vector(of_histograms(vector(2)?, |buckets| histogram::fraction(lower, upper, buckets))))
        }
        other => panic!("the reference has no {other}"),
    }
}

fn unlabelled(value: f64) -> Element {
    Element { labels: Labels::new(), drops_name: false, value }
}

fn clamped(elements: Vec<Element>, min: f64, max: f64) -> Answer<Worth> {
    if min > max {
        return Ok(Worth::Vector(Vec::new()));
    }
    // As Go has it: the infinity looked for wins, then NaN.
    let of = |a: f64, b: f64, wins: f64, pick: fn(f64, f64) -> f64| match () {
        () if a == wins || b == wins => wins,
        () if a.is_nan() || b.is_nan() => f64::NAN,
        () => pick(a, b),
    };
    let below = |value| of(value, max, f64::NEG_INFINITY, f64::min);
    let clamp = |value| of(below(value), min, f64::INFINITY, f64::max);
    Ok(Worth::Vector(mapped(elements, |value| Some(clamp(value)))))
}

/// Of a selector, when its samples were measured; of anything else, now.
fn timestamp(reference: &Reference<'_>, of: &Expr, at: i64) -> Answer<Worth> {
    if let Expr::Paren(paren) = of {
        return timestamp(reference, &paren.expr, at);
    }
    if let Expr::VectorSelector(selector) = of {
        let newest = reference.newest(selector, at).into_iter();
        let timed = |(time, element)| Element { value: seconds(time), drops_name: true, ..element };
        return Ok(Worth::Vector(newest.map(timed).collect()));
    }
    Ok(Worth::Vector(mapped(reference.vector(of, at)?, |_| Some(seconds(at)))))
}

fn missing(of: &Expr) -> Element {
    let labels = match of {
        Expr::VectorSelector(selector) => labels_told(selector),
        _ => Labels::new(),
    };
    Element { labels, ..unlabelled(1.0) }
}

/// The labels a selector demands: the first equality tells one, any other matcher of it takes it back.
pub(super) fn labels_told(selector: &VectorSelector) -> Labels {
    let (mut told, mut had) = (Labels::new(), BTreeSet::new());
    for matcher in selector.matchers.matchers.iter().filter(|matcher| matcher.name != NAME) {
        told.remove(&matcher.name);
        if matches!(matcher.op, MatchOp::Equal) && had.insert(&matcher.name) && !matcher.value.is_empty() {
            told.insert(matcher.name.clone(), matcher.value.clone());
        }
    }
    told
}

fn texts(args: &[&Expr]) -> Answer<Vec<String>> {
    let text = |arg: &&Expr| match arg {
        Expr::StringLiteral(text) => Ok(text.val.clone()),
        other => Err(format!("{other} is no text")),
    };
    args.iter().map(text).collect()
}

fn set(element: &mut Element, name: &str, value: String) {
    if name == NAME {
        element.drops_name = false;
    }
    if value.is_empty() {
        element.labels.remove(name);
    } else {
        element.labels.insert(name.to_owned(), value);
    }
}

/// Two elements of the same labels cannot both be.
fn distinct(elements: Vec<Element>) -> Answer<Worth> {
    for (n, element) in elements.iter().enumerate() {
        let is_same =
            |other: &Element| other.labels == element.labels && other.drops_name == element.drops_name;
        if elements[..n].iter().any(is_same) {
            return Err("two elements of the same labels".to_owned());
        }
    }
    Ok(Worth::Vector(elements))
}

fn label_replace(mut elements: Vec<Element>, texts: &[String]) -> Answer<Worth> {
    let [target, replacement, source, pattern] = texts else { return Err("four texts".to_owned()) };
    let regex = regex::Regex::new(&format!("^(?s:{pattern})$")).map_err(|error| error.to_string())?;
    for element in &mut elements {
        let value = element.labels.get(source).cloned().unwrap_or_default();
        if regex.is_match(&value) {
            let replaced = regex.replace(&value, replacement.as_str()).into_owned();
            set(element, target, replaced);
        }
    }
    distinct(elements)
}

fn label_join(mut elements: Vec<Element>, texts: &[String]) -> Answer<Worth> {
    let [target, separator, sources @ ..] = texts else { return Err("two texts".to_owned()) };
    for element in &mut elements {
        let values = sources.iter().map(|source| element.labels.get(source).cloned().unwrap_or_default());
        let joined = values.collect::<Vec<_>>().join(separator);
        set(element, target, joined);
    }
    distinct(elements)
}

/// Elements that differ in `le` only are one histogram.
fn of_histograms(elements: Vec<Element>, f: impl Fn(Vec<(f64, f64)>) -> f64) -> Vec<Element> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for mut element in elements {
        let bound = element.labels.remove("le").and_then(|le| le.parse::<f64>().ok());
        if let Some(bound) = bound {
            histograms.entry(element.labels).or_default().push((bound, element.value));
        }
    }
    let element = |(labels, buckets)| Element { labels, drops_name: true, value: f(buckets) };
    histograms.into_iter().map(element).collect()
}
