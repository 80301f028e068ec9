//! Silences as Alertmanager shows and takes them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use monitoring_core::{
    AlertMatcher, AlertMatchers, CreateSilenceRequest, Labels, Page, Silence, SilenceFilter, SilenceState,
    services,
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{AmAnswer, AmError, Asked};
use crate::router::extract::is_json;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// Silences in one answer that are not over: as many as there may be.
const UNEXPIRED_MAX: u32 = 5_000;
/// Others in one answer: the newest.
const EXPIRED_MAX: u32 = 1_000;

pub(super) async fn list(State(state): State<RouterState>, asked: Asked) -> AmAnswer {
    let filter = asked.filter()?;
    let now = state.monitoring().now();
    let mut connection = state.lend().await?;
    // Those that hold come first, however many there were since they were made.
    let mut unexpired = SilenceFilter::default();
    unexpired.unexpired_at = Some(now);
    let page = Page::first(UNEXPIRED_MAX);
    let mut silences = services::query_silences(&mut connection, &unexpired, &page).await?.items;
    let page = Page::first(EXPIRED_MAX);
    let newest = services::query_silences(&mut connection, &SilenceFilter::default(), &page).await?.items;
    silences.extend(newest.into_iter().filter(|silence| silence.state(now) == SilenceState::Expired));
    // As Alertmanager does it: a filter is held against the values that the matchers name.
    let named = |silence: &Silence| {
        let pairs = silence.matchers.iter().map(|matcher| (matcher.name.clone(), matcher.value.clone()));
        pairs.collect::<Labels>()
    };
    let shown = silences.iter().filter(|silence| filter.accepts(&named(silence)));
    Ok(Json(shown.map(|silence| shown_silence(silence, now)).collect()))
}

pub(super) async fn show(State(state): State<RouterState>, Path(id): Path<String>) -> AmAnswer {
    let id = read_id(&id)?;
    let mut connection = state.lend().await?;
    let silence = services::silence(&mut connection, id).await?;
    Ok(Json(shown_silence(&silence, state.monitoring().now())))
}

/// A silence to be made, or changed if it names one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedSilence {
    #[serde(default)]
    id: String,
    matchers: AlertMatchers,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    created_by: String,
    comment: String,
}

pub(super) async fn put(
    State(state): State<RouterState>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> AmAnswer {
    if !is_json(&headers) {
        return Err(AmError::unsupported_media_type());
    }
    let posted: PostedSilence =
        serde_json::from_slice(&body).map_err(|error| AmError::bad_request(error.to_string()))?;
    let request = CreateSilenceRequest {
        matchers: posted.matchers,
        starts_at: Some(posted.starts_at),
        ends_at: Some(posted.ends_at),
        duration: None,
        author: Some(posted.created_by),
        comment: posted.comment,
    };
    let mut connection = state.monitoring().acquire().await?;
    let silence = match posted.id.as_str() {
        "" => services::create_silence(&mut connection, request, Some(caller.id())).await?,
        id => services::update_silence(&mut connection, read_id(id)?, request, Some(caller.id())).await?,
    };
    Ok(Json(json!({"silenceID": silence.id})))
}

pub(super) async fn expire(
    State(state): State<RouterState>,
    caller: Caller,
    Path(id): Path<String>,
) -> AmAnswer {
    let id = read_id(&id)?;
    let mut connection = state.monitoring().acquire().await?;
    services::expire_silence(&mut connection, id, Some(caller.id())).await?;
    Ok(Json(json!({})))
}

fn read_id(text: &str) -> Result<Uuid, AmError> {
    Uuid::try_parse(text).map_err(|_| AmError::bad_request(format!("{text:?} is no id of a silence")))
}

fn shown_silence(silence: &Silence, now: DateTime<Utc>) -> Value {
    let matcher = |matcher: &AlertMatcher| {
        json!({
            "name": matcher.name, "value": matcher.value,
            "isRegex": matcher.operator.is_regex(), "isEqual": matcher.operator.is_equal(),
        })
    };
    json!({
        "id": silence.id,
        "status": {"state": silence.state(now)},
        "updatedAt": silence.updated_at,
        "comment": silence.comment,
        "createdBy": silence.author,
        "endsAt": silence.ends_at,
        "matchers": silence.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "startsAt": silence.starts_at,
    })
}
