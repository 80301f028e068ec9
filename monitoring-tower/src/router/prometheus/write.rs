//! Remote write: another system's samples, as Prometheus sends them.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use monitoring_core::services::{self, SentReport};
use prost::Message;

use super::parts::{SAMPLES_MAX, parts};
use super::wire::{Request, Sent, WriteRequest};
use super::{bounds, snappy};
use crate::router::error::{Answer, Code, Problem};
use crate::router::state::RouterState;

/// Stores the samples of a request: of each series those that can be stored. The sender is told of
/// the rest with a status that keeps it from trying again. An exemplar that cannot be stored is left out
/// without one, as Prometheus does: the number of those that are is in the answer.
pub(super) async fn write(
    State(state): State<RouterState>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let version = Version::of(&headers)?;
    let sent = version.read(body, state.monitoring().limits().body_bytes_max).await?;
    let mut report = SentReport::default();
    for part in parts(sent.series, SAMPLES_MAX) {
        // A connection for each: whoever waits for one comes in between.
        report.add(services::store_samples(&mut state.write().await?, part).await?);
    }
    let unreadable = sent.histograms + sent.malformed;
    if sent.histograms > 0 {
        report.reasons.push(format!("{} native histograms, which cannot be stored", sent.histograms));
    }
    if sent.malformed > 0 {
        report.reasons.push(format!("{} series or samples that cannot be read", sent.malformed));
    }
    let dropped = report.exemplars_dropped + sent.malformed_exemplars;
    if dropped > 0 {
        tracing::debug!(target: "monitoring_tower", dropped, "exemplars of remote write cannot be stored");
    }
    let written = HeaderValue::from(report.samples_stored);
    let headers = [
        ("x-prometheus-remote-write-samples-written", written),
        ("x-prometheus-remote-write-histograms-written", HeaderValue::from_static("0")),
        ("x-prometheus-remote-write-exemplars-written", HeaderValue::from(report.exemplars_stored)),
    ];
    if report.refused + unreadable == 0 {
        return Ok((StatusCode::NO_CONTENT, headers).into_response());
    }
    let reasons = report.reasons.join("; ");
    Ok((StatusCode::BAD_REQUEST, headers, format!("not all could be stored: {reasons}\n")).into_response())
}

/// Which message the body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

impl Version {
    fn of(headers: &HeaderMap) -> Answer<Self> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("snappy")) {
            return Err(Problem::new(Code::UnsupportedMediaType, "the body must be compressed with snappy"));
        }
        let content_type: String =
            text(CONTENT_TYPE).unwrap_or("application/x-protobuf").split_whitespace().collect();
        match &*content_type.to_ascii_lowercase() {
            "application/x-protobuf" | "application/x-protobuf;proto=prometheus.writerequest" => {
                Ok(Self::One)
            }
            "application/x-protobuf;proto=io.prometheus.write.v2.request" => Ok(Self::Two),
            _ => Err(Problem::new(
                Code::UnsupportedMediaType,
                "the body must be a prometheus.WriteRequest or an io.prometheus.write.v2.Request",
            )),
        }
    }

    /// What a body of at most so many bytes says.
    pub(super) async fn read(self, body: Body, bytes_max: usize) -> Answer<Sent> {
        let bytes = snappy::content(body, bytes_max).await?;
        match self {
            Self::One => bounds::check_one(&bytes)?,
            Self::Two => bounds::check_two(&bytes, bytes_max * snappy::EXPANSION_MAX)?,
        }
        let sent = match self {
            Self::One => WriteRequest::decode(&*bytes).map(Sent::from),
            Self::Two => Request::decode(&*bytes).map(Sent::from),
        };
        sent.map_err(|error| Problem::field("body", format!("is no such message: {error}")))
    }
}
