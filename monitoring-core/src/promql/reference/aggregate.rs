//! Aggregations.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/querying/operators/#aggregation-operators>.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use promql_parser::parser::{AggregateExpr, LabelModifier};

use super::evaluate::{Answer, Element, Worth};
use super::series::{Labels, NAME};
use super::window::{mean, quantile, sum, variance};

pub(super) fn aggregate(
    expression: &AggregateExpr,
    parameter: Option<Worth>,
    elements: Vec<Element>,
) -> Answer<Vec<Element>> {
    let mut groups: BTreeMap<Labels, Vec<Element>> = BTreeMap::new();
    for element in elements {
        let group = group(expression.modifier.as_ref(), &element.labels);
        groups.entry(group).or_default().push(element);
    }
    let op = expression.op.to_string();
    if matches!(op.as_str(), "topk" | "bottomk") {
        return chosen(&op, scalar(parameter)?, groups.into_values());
    }
    if op == "count_values" {
        let Some(Worth::Text(label)) = parameter else { return Err("a label is missing".to_owned()) };
        return Ok(counted(&label, groups));
    }
    let q = if op == "quantile" { scalar(parameter)? } else { f64::NAN };
    let element = |(labels, members): (Labels, Vec<Element>)| {
        let values: Vec<f64> = members.into_iter().map(|member| member.value).collect();
        Element { labels, drops_name: false, value: joined(&op, q, &values) }
    };
    Ok(groups.into_iter().map(element).collect())
}

fn scalar(parameter: Option<Worth>) -> Answer<f64> {
    match parameter {
        Some(Worth::Scalar(value)) => Ok(value),
        other => Err(format!("{other:?} is no scalar")),
    }
}

/// The labels a group has in common.
fn group(modifier: Option<&LabelModifier>, labels: &Labels) -> Labels {
    let mut common = labels.clone();
    match modifier {
        None => common.clear(),
        Some(LabelModifier::Include(by)) => common.retain(|name, _| by.labels.contains(name)),
        Some(LabelModifier::Exclude(without)) => {
            common.retain(|name, _| name != NAME && !without.labels.contains(name));
        }
    }
    common
}

fn joined(op: &str, q: f64, values: &[f64]) -> f64 {
    let numbers = values.iter().copied().filter(|value| !value.is_nan());
    match op {
        "sum" => sum(values),
        "avg" => mean(values),
        "count" => values.len() as f64,
        "group" => 1.0,
        // NaN only if there is nothing else, which is what these make of nothing.
        "min" => numbers.reduce(f64::min).unwrap_or(f64::NAN),
        "max" => numbers.reduce(f64::max).unwrap_or(f64::NAN),
        "stdvar" => variance(values),
        "stddev" => variance(values).sqrt(),
        "quantile" => quantile(q, values),
        other => panic!("the reference has no {other}"),
    }
}

/// NaN comes last either way. Of equal ones, the first by labels: Prometheus says nothing about them.
fn chosen(op: &str, k: f64, groups: impl Iterator<Item = Vec<Element>>) -> Answer<Vec<Element>> {
    if k.is_nan() {
        return Err("the parameter is NaN".to_owned());
    }
    if k.abs() >= 9_223_372_036_854_775_807.0 {
        return Err("the parameter is no int64".to_owned());
    }
    let by_rank = |a: &Element, b: &Element| {
        let by_value =
            a.value.partial_cmp(&b.value).unwrap_or_else(|| a.value.is_nan().cmp(&b.value.is_nan()));
        let is_number = !a.value.is_nan() && !b.value.is_nan();
        let by_value = if op == "topk" && is_number { by_value.reverse() } else { by_value };
        by_value.then_with(|| a.labels.iter().cmp(&b.labels))
    };
    let first = |mut members: Vec<Element>| -> Vec<Element> {
        members.sort_by(by_rank);
        members.into_iter().take(k.max(0.0) as usize).collect()
    };
    Ok(groups.flat_map(first).collect())
}

fn counted(label: &str, groups: BTreeMap<Labels, Vec<Element>>) -> Vec<Element> {
    let mut counts: BTreeMap<Labels, f64> = BTreeMap::new();
    for (group, members) in groups {
        for member in members {
            let mut labels = group.clone();
            labels.insert(label.to_owned(), written(member.value));
            *counts.entry(labels).or_default() += 1.0;
        }
    }
    let element = |(labels, value)| Element { labels, drops_name: false, value };
    counts.into_iter().map(element).collect()
}

fn written(value: f64) -> String {
    match value.partial_cmp(&0.0) {
        Some(Ordering::Greater) if value.is_infinite() => "+Inf".to_owned(),
        Some(Ordering::Less) if value.is_infinite() => "-Inf".to_owned(),
        _ => value.to_string(),
    }
}
