//! Remote read: stored samples for another Prometheus, which evaluates them itself.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/>. Answers are of
//! the type `SAMPLES`; a client that does not accept it is told so.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use monitoring_core::{Comparison, PromQuery, Selector, SeriesValues};
use prost::Message as _;
use tokio::sync::Semaphore;

use super::answer::PromError;
use super::wire::{
    Label, LabelMatcher, ReadQuery, ReadRequest, ReadResponse, ReadResult, Sample, TimeSeries,
};
use super::{bounds, snappy};
use crate::router::error::{Answer, Problem};
use crate::router::state::RouterState;

/// Queries in one request. Prometheus sends one.
const QUERIES_MAX: usize = 100;
/// Samples in one answer, which is held in memory: 16 bytes each, and twice as much again while it is
/// written out.
const SAMPLES_MAX: usize = 2_000_000;
/// Answers made at once.
static TURNS: Semaphore = Semaphore::const_new(2);

pub(super) async fn read(State(state): State<RouterState>, body: Body) -> Result<Response, Response> {
    let body_bytes_max = state.monitoring().limits().body_bytes_max;
    let content = snappy::content(body, body_bytes_max).await.map_err(Problem::into_response)?;
    // Queries and their matchers lie in it as series and their labels do.
    bounds::check_one(&content).map_err(Problem::into_response)?;
    if !accepts_samples(&content).map_err(Problem::into_response)? {
        return Err(refused("server does not support any of the requested response types".to_owned()));
    }
    let request = ReadRequest::decode(&*content)
        .map_err(|error| refused(format!("the body is no prometheus.ReadRequest: {error}")))?;
    if request.queries.len() > QUERIES_MAX {
        return Err(refused(format!("a request has at most {QUERIES_MAX} queries")));
    }
    let turn = TURNS.acquire().await;
    debug_assert!(turn.is_ok(), "turns are never closed");
    state.flush().await;
    let mut limits = state.monitoring().promql().limits().clone();
    limits.samples_max = limits.samples_max.min(SAMPLES_MAX);
    let mut response = ReadResponse::default();
    for query in &request.queries {
        let promql = state.monitoring().promql().with_limits(limits.clone());
        let found = answer(&promql, query).await?;
        limits.samples_max -= found.iter().map(|series| series.samples.len()).sum::<usize>();
        response.results.push(ReadResult { timeseries: found.into_iter().map(TimeSeries::from).collect() });
    }
    let headers = [(CONTENT_TYPE, "application/x-protobuf"), (CONTENT_ENCODING, "snappy")];
    Ok((headers, snappy::body(&response.encode_to_vec())).into_response())
}

/// Whether it is among the types of answers that a request names, or there are none.
fn accepts_samples(request: &[u8]) -> Answer<bool> {
    const ACCEPTED_RESPONSE_TYPES: u64 = 2;
    const SAMPLES: u32 = 0;
    // Read where they lie: a byte each could be any number of them.
    let mut accepted = bounds::numbers(request, ACCEPTED_RESPONSE_TYPES)?.peekable();
    Ok(accepted.peek().is_none() || accepted.any(|accepted| accepted == SAMPLES))
}

async fn answer(promql: &PromQuery, query: &ReadQuery) -> Result<Vec<SeriesValues>, Response> {
    let selector = selector(&query.matchers).map_err(|error| PromError::from(error).into_response())?;
    let (start, end) = (instant(query.start_timestamp_ms), instant(query.end_timestamp_ms));
    let samples = promql.samples(&selector, start, end).await;
    samples.map_err(|error| PromError::from(error).into_response())
}

fn selector(matchers: &[LabelMatcher]) -> monitoring_core::QueryResult<Selector> {
    matchers.iter().try_fold(Selector::default(), |selector, matcher| {
        let comparison = match matcher.kind {
            1 => Comparison::NotEqual,
            2 => Comparison::Matches,
            3 => Comparison::MatchesNot,
            _ => Comparison::Equal,
        };
        selector.with(&matcher.name, comparison, &matcher.value)
    })
}

/// Prometheus asks for the ends of time where it wants everything.
fn instant(millis: i64) -> DateTime<Utc> {
    let ends = (DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC);
    DateTime::from_timestamp_millis(millis).unwrap_or(if millis < 0 { ends.0 } else { ends.1 }).max(ends.0)
}

fn refused(message: String) -> Response {
    PromError::bad_data(message).into_response()
}

impl From<SeriesValues> for TimeSeries {
    fn from(series: SeriesValues) -> Self {
        let label = |label: &monitoring_core::Label| Label {
            name: label.name.to_string(),
            value: label.value.to_string(),
        };
        let sample = |(timestamp, value)| Sample { value, timestamp };
        Self {
            labels: series.labels.iter().map(label).collect(),
            samples: series.samples.into_iter().map(sample).collect(),
            exemplars: Vec::new(),
            histograms: Vec::new(),
        }
    }
}
