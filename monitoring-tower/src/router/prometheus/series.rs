//! Which series, labels and metrics there are.

use axum::extract::{Path, State};
use monitoring_core::{MetricType, PromQuery};
use serde_json::{Map, Value, json};

use super::answer::{PromAnswer, PromData, PromError};
use super::form::Form;
use super::json::{labels as written, quoted, write_list};
use crate::router::state::RouterState;

/// Items in one answer, where the request names no bound.
const ITEMS_MAX: usize = 200_000;

/// The labels of the series that any of the selectors finds.
pub(super) async fn series(State(state): State<RouterState>, form: Form) -> PromAnswer {
    let Selection { promql, selectors, limit } = selection(&state, &form)?;
    if selectors.is_empty() {
        return Err(PromError::bad_data("no match[] parameter provided"));
    }
    state.flush().await;
    let turn = promql.turn().await?;
    let found = turn.series(&selectors, limit.saturating_add(1)).await.map_err(PromError::about_match)?;
    list(found, limit, written).await
}

/// The names of labels.
pub(super) async fn labels(State(state): State<RouterState>, form: Form) -> PromAnswer {
    let Selection { promql, selectors, limit } = selection(&state, &form)?;
    state.flush().await;
    let turn = promql.turn().await?;
    let names =
        turn.label_names(&selectors, limit.saturating_add(1)).await.map_err(PromError::about_match)?;
    list(names, limit, |name| quoted(name)).await
}

/// The values of one label.
pub(super) async fn label_values(
    State(state): State<RouterState>,
    Path(name): Path<String>,
    form: Form,
) -> PromAnswer {
    let Selection { promql, selectors, limit } = selection(&state, &form)?;
    if !is_name(&name) {
        return Err(PromError::bad_data(format!("invalid label name: {name:?}")));
    }
    state.flush().await;
    let turn = promql.turn().await?;
    let values = turn.label_values(&unescaped(&name), &selectors, limit.saturating_add(1)).await;
    list(values.map_err(PromError::about_match)?, limit, |value| quoted(value)).await
}

/// An array of items: of so many at most, which were asked for with one more. It is to be written in the
/// turn they were found in.
async fn list<T: Send>(
    mut items: Vec<T>,
    limit: usize,
    written: impl Fn(&T) -> String + Send + Sync,
) -> PromAnswer {
    let warnings = truncated(&mut items, limit);
    let mut portions = PromData::portions();
    write_list(&mut portions, items, |text, item| text.push_str(&written(&item))).await?;
    Ok(PromData::of(portions).with_notes(warnings, Vec::new()))
}

/// Keeps so many items, and says so if there were more.
pub(super) fn truncated<T>(items: &mut Vec<T>, limit: usize) -> Vec<String> {
    if items.len() <= limit {
        return Vec::new();
    }
    items.truncate(limit);
    vec!["results truncated due to limit".to_owned()]
}

/// Type, help and unit of metrics. Of each we know one, so `limit_per_metric` bounds nothing.
pub(super) async fn metadata(State(state): State<RouterState>, form: Form) -> PromAnswer {
    form.whole_number("limit_per_metric").map_err(PromError::bad_data)?;
    // None at all are asked for by a zero, and a negative number is no limit.
    let limit = form.whole_number("limit").map_err(PromError::bad_data)?;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(ITEMS_MAX);
    let described = state.monitoring().promql().metadata(form.text("metric"), limit).await?;
    let entry = |metric_type: MetricType, help: &str, unit: &str| json!([{"type": metric_type.as_str(), "help": help, "unit": unit}]);
    let metrics: Map<String, Value> = described
        .into_iter()
        .map(|metric| (metric.name, entry(metric.metric_type, &metric.help, &metric.unit)))
        .collect();
    Ok(Value::Object(metrics).into())
}

/// What a list is to be made of.
struct Selection {
    promql: PromQuery,
    selectors: Vec<String>,
    limit: usize,
}

fn selection(state: &RouterState, form: &Form) -> Result<Selection, PromError> {
    let (start, end) = (form.time("start")?, form.time("end")?);
    let promql = state.monitoring().promql().between(start, end);
    Ok(Selection { promql, selectors: form.all("match[]"), limit: form.limit()?.unwrap_or(ITEMS_MAX) })
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, as all labels here have it.
fn is_name(name: &str) -> bool {
    let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
    name.starts_with(|c: char| !c.is_ascii_digit()) && name.chars().all(is_part)
}

/// A label's name in a path: `U__` begins one with characters that a path cannot hold, each between
/// underscores as its number in hexadecimal (the "values" escaping of Prometheus).
fn unescaped(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut unescaped = String::new();
    while let Some((plain, after)) = rest.split_once('_') {
        unescaped.push_str(plain);
        let Some((code, after)) = after.split_once('_') else { return name.to_owned() };
        match u32::from_str_radix(code, 16).ok().and_then(char::from_u32) {
            _ if code.is_empty() => unescaped.push('_'),
            Some(c) => unescaped.push(c),
            None => return name.to_owned(),
        }
        rest = after;
    }
    unescaped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_understood() {
        assert_eq!(unescaped("job"), "job");
        assert_eq!(unescaped("U__http_2e_status"), "http.status");
        assert_eq!(unescaped("U__a__b"), "a_b");
        assert_eq!(unescaped("U__a_zz_b"), "U__a_zz_b");
    }
}
