//! Operators with two sides.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/querying/operators/>.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality as Cardinality};

use super::evaluate::{Answer, Element, Worth, mapped};
use super::series::{Labels, NAME};

pub(super) fn binary(binary: &BinaryExpr, left: Worth, right: Worth) -> Answer<Worth> {
    let op = binary.op.to_string();
    let modifier = binary.modifier.clone().unwrap_or_default();
    let returns_bool = modifier.return_bool;
    Ok(match (left, right) {
        (Worth::Scalar(left), Worth::Scalar(right)) => Worth::Scalar(match compare(&op, left, right) {
            Some(holds) => f64::from(holds),
            None => arithmetic(&op, left, right),
        }),
        (Worth::Vector(left), Worth::Scalar(right)) => {
            let pair = |value| (value, right);
            Worth::Vector(with_scalar(&op, returns_bool, left, pair))
        }
        (Worth::Scalar(left), Worth::Vector(right)) => {
            let pair = |value| (left, value);
            Worth::Vector(with_scalar(&op, returns_bool, right, pair))
        }
        (Worth::Vector(left), Worth::Vector(right)) => {
            Worth::Vector(if matches!(op.as_str(), "and" | "or" | "unless") {
                set(&op, &modifier, left, right)
            } else {
                matched(&op, &modifier, left, right)?
            })
        }
        (left, right) => return Err(format!("{left:?} {op} {right:?}")),
    })
}

/// Whether a comparison holds; `None` if it is none.
fn compare(op: &str, left: f64, right: f64) -> Option<bool> {
    Some(match op {
        "==" => left == right,
        "!=" => left != right,
        ">" => left > right,
        "<" => left < right,
        ">=" => left >= right,
        "<=" => left <= right,
        _ => return None,
    })
}

fn arithmetic(op: &str, left: f64, right: f64) -> f64 {
    match op {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" => left / right,
        "%" => left % right,
        "^" => left.powf(right),
        "atan2" => left.atan2(right),
        other => panic!("the reference has no {other}"),
    }
}

fn with_scalar(
    op: &str,
    returns_bool: bool,
    elements: Vec<Element>,
    pair: impl Fn(f64) -> (f64, f64),
) -> Vec<Element> {
    let holds = |value| {
        let (left, right) = pair(value);
        compare(op, left, right)
    };
    let compute = |value| {
        let (left, right) = pair(value);
        Some(holds(value).map_or_else(|| arithmetic(op, left, right), f64::from))
    };
    if compare(op, 0.0, 0.0).is_none() || returns_bool {
        return mapped(elements, compute);
    }
    elements.into_iter().filter(|element| holds(element.value) == Some(true)).collect()
}

/// What elements have in common with those they match.
fn signature(modifier: &BinModifier, labels: &Labels) -> Labels {
    let mut signature = labels.clone();
    match &modifier.matching {
        Some(LabelModifier::Include(on)) => signature.retain(|name, _| on.labels.contains(name)),
        Some(LabelModifier::Exclude(ignored)) => {
            signature.retain(|name, _| name != NAME && !ignored.labels.contains(name));
        }
        None => signature.retain(|name, _| name != NAME),
    }
    signature
}

fn set(op: &str, modifier: &BinModifier, left: Vec<Element>, right: Vec<Element>) -> Vec<Element> {
    let signatures = |elements: &[Element]| -> BTreeSet<Labels> {
        elements.iter().map(|element| signature(modifier, &element.labels)).collect()
    };
    let (of_left, of_right) = (signatures(&left), signatures(&right));
    let is_in =
        |element: &Element, others: &BTreeSet<Labels>| others.contains(&signature(modifier, &element.labels));
    match op {
        "and" => left.into_iter().filter(|element| is_in(element, &of_right)).collect(),
        "unless" => left.into_iter().filter(|element| !is_in(element, &of_right)).collect(),
        _ => {
            let added = right.into_iter().filter(|element| !is_in(element, &of_left));
            left.into_iter().chain(added).collect()
        }
    }
}

fn matched(
    op: &str,
    modifier: &BinModifier,
    left: Vec<Element>,
    right: Vec<Element>,
) -> Answer<Vec<Element>> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    let is_swapped = matches!(modifier.card, Cardinality::OneToMany(_));
    let has_many = is_swapped || matches!(modifier.card, Cardinality::ManyToOne(_));
    let (many, one) = if is_swapped { (right, left) } else { (left, right) };
    let mut by_signature = BTreeMap::new();
    for element in one {
        if by_signature.insert(signature(modifier, &element.labels), element).is_some() {
            return Err("two of a group on the side of one".to_owned());
        }
    }
    let mut results = Vec::new();
    let mut taken = BTreeSet::new();
    for element in many {
        let key = signature(modifier, &element.labels);
        let Some(other) = by_signature.get(&key) else { continue };
        // One with one: nothing else of the group, whatever a comparison makes of it.
        if !has_many && !taken.insert((key.clone(), None)) {
            return Err("two matches where one may be".to_owned());
        }
        let (left, right) =
            if is_swapped { (other.value, element.value) } else { (element.value, other.value) };
        let value = match compare(op, left, right) {
            None => arithmetic(op, left, right),
            Some(holds) if modifier.return_bool => f64::from(holds),
            Some(true) => left,
            Some(false) => continue,
        };
        let labels = labels(op, modifier, &element.labels, &other.labels);
        // Many with one: nothing else of these labels.
        if has_many && !taken.insert((key, Some(labels.clone()))) {
            return Err("two matches where one may be".to_owned());
        }
        let drops_name = element.drops_name || modifier.return_bool;
        results.push(Element { labels, drops_name, value });
    }
    Ok(results)
}

fn labels(op: &str, modifier: &BinModifier, many: &Labels, one: &Labels) -> Labels {
    let mut labels = many.clone();
    if compare(op, 0.0, 0.0).is_none() {
        labels.remove(NAME);
    }
    match (&modifier.card, &modifier.matching) {
        (Cardinality::ManyToOne(include) | Cardinality::OneToMany(include), _) => {
            for name in &include.labels {
                match one.get(name) {
                    Some(value) => labels.insert(name.clone(), value.clone()),
                    None => labels.remove(name),
                };
            }
        }
        (_, Some(LabelModifier::Include(on))) => labels.retain(|name, _| on.labels.contains(name)),
        (_, Some(LabelModifier::Exclude(ignored))) => {
            labels.retain(|name, _| !ignored.labels.contains(name));
        }
        (_, None) => {}
    }
    labels
}
