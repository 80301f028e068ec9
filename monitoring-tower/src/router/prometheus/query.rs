//! Queries.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use monitoring_core::{
    PromQuery, QueryAnswer, QueryError, QueryExemplars, QueryValue, format_query, parse_query,
};
use serde_json::json;

use super::answer::{PromAnswer, PromData, PromError};
use super::form::Form;
use super::json::{exemplars as written_exemplars, write_result};
use super::series::truncated;
use crate::router::state::RouterState;

/// A query at one instant.
pub(super) async fn instant(State(state): State<RouterState>, form: Form) -> PromAnswer {
    let (promql, limit) = (limited(&state, &form)?, form.limit()?);
    let time = form.time("time")?.unwrap_or_else(|| promql.now());
    state.flush().await;
    let turn = promql.turn().await?;
    let answer = turn.instant(form.query(), time).await.map_err(about_query)?;
    shown(answer, limit, form.text("stats").is_some()).await
}

/// A query at every step of a range.
pub(super) async fn range(State(state): State<RouterState>, form: Form) -> PromAnswer {
    let (promql, limit) = (limited(&state, &form)?, form.limit()?);
    let (start, end) = (form.required_time("start")?, form.required_time("end")?);
    if end < start {
        return Err(PromError::parameter("end", "end timestamp must not be before start time"));
    }
    let step = form.positive_duration("step")?;
    state.flush().await;
    let turn = promql.turn().await?;
    let answer = turn.range(form.query(), start, end, step).await.map_err(about_query)?;
    shown(answer, limit, form.text("stats").is_some()).await
}

/// Exemplars of the series in a query. Like Prometheus, it says nothing of a query without any.
pub(super) async fn exemplars(State(state): State<RouterState>, form: Form) -> Result<Response, PromError> {
    let start = form.time("start")?.unwrap_or(DateTime::<Utc>::MIN_UTC);
    let end = form.time("end")?.unwrap_or(DateTime::<Utc>::MAX_UTC);
    if end < start {
        return Err(PromError::bad_data("end timestamp must not be before start timestamp"));
    }
    state.flush().await;
    let found = state.monitoring().promql().exemplars(form.query(), start, end).await?;
    let Some(QueryExemplars { series, is_complete, .. }) = found else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let warnings = if is_complete { Vec::new() } else { vec!["results truncated due to limit".to_owned()] };
    Ok(PromData::written(&written_exemplars(&series)).with_notes(warnings, Vec::new()).into_response())
}

/// The query, laid out for reading.
pub(super) async fn format(form: Form) -> PromAnswer {
    Ok(json!(format_query(form.query()).map_err(about_query)?).into())
}

/// The syntax tree of the query.
pub(super) async fn parse(form: Form) -> PromAnswer {
    Ok(parse_query(form.query()).map_err(about_query)?.into())
}

/// The engine, with what the request says about its limits.
fn limited(state: &RouterState, form: &Form) -> Result<PromQuery, PromError> {
    let promql = state.monitoring().promql();
    let mut limits = promql.limits().clone();
    if let Some(timeout) = form.duration("timeout")? {
        // Without any time, or with less, it is over before it begins.
        let timeout = timeout.to_std().ok().filter(|timeout| !timeout.is_zero());
        limits.timeout = limits.timeout.min(timeout.ok_or(QueryError::Timeout)?);
    }
    let lookback = form
        .readable_duration("lookback_delta")
        .map_err(|why| PromError::bad_data(format!("error parsing lookback delta duration: {why}")))?;
    if let Some(lookback) = lookback.and_then(|lookback| lookback.to_std().ok())
        && !lookback.is_zero()
    {
        limits.lookback = lookback;
    }
    Ok(promql.with_limits(limits))
}

/// Prometheus says which parameter it was.
fn about_query(error: QueryError) -> PromError {
    match error {
        QueryError::BadData(message) if message.starts_with("exceeded maximum resolution") => {
            PromError::bad_data(message)
        }
        QueryError::BadData(message) => PromError::parameter("query", message),
        other => other.into(),
    }
}

/// To be written in the turn of the query: the text of an answer takes more memory than its numbers.
async fn shown(mut answer: QueryAnswer, limit: Option<usize>, shows_stats: bool) -> PromAnswer {
    let mut warnings = answer.warnings();
    let infos = answer.infos();
    if let (Some(limit), QueryValue::Vector(series) | QueryValue::Matrix(series)) = (limit, &mut answer.value)
    {
        warnings.extend(truncated(series, limit));
    }
    let stats = shows_stats.then_some(answer.stats);
    let mut portions = PromData::portions();
    write_result(&mut portions, answer.value, stats).await?;
    Ok(PromData::of(portions).with_notes(warnings, infos))
}
