//! Makes the event and the metrics of a recorded request. Runs in the recorder's own time.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use chrono::{DateTime, Utc};
use monitoring_core::{Decode, Decoded, Deferred, Event, EventId, EventType, Level, Tags};

use super::facts::RequestRecord;
use super::metrics::HttpMetrics;
use super::outcome::default_level;
use super::policy::Policy;
use super::{MonitoringTags, RequestSummary, route};

#[derive(Debug)]
pub(super) struct RequestDecoder {
    policy: Arc<Policy>,
    metrics: HttpMetrics,
}

impl RequestDecoder {
    pub(super) fn new(policy: Arc<Policy>, active: Arc<AtomicI64>) -> Self {
        Self { policy, metrics: HttpMetrics::new(active) }
    }
}

impl Decode for RequestDecoder {
    fn decode(&mut self, record: &Deferred, decoded: &mut Decoded<'_>) {
        let Some(request) = RequestRecord::read(record.fields.as_slice()) else { return };
        let duration = record.end.since(record.start);
        let time = decoded.time(record.end);
        self.metrics.observe(&request, duration, time, decoded);

        let texts = Texts::of(&request);
        let summary = self.summarize(&request, &texts, duration);
        if let Some(level) = self.policy.event_level(&summary) {
            decoded.event(self.event(&request, &summary, &texts, level, time));
        }
    }

    fn sample(&mut self, decoded: &mut Decoded<'_>) {
        self.metrics.observe_active(decoded);
    }
}

impl RequestDecoder {
    fn summarize<'t>(
        &self,
        request: &RequestRecord<'_>,
        texts: &'t Texts<'_>,
        duration: Duration,
    ) -> RequestSummary<'t> {
        let facts = &request.facts;
        let judged = facts.started_nanos.map_or(duration, Duration::from_nanos);
        let slow = judged > self.policy.slow_after;
        RequestSummary {
            method: &texts.method,
            route: (!texts.route.is_empty()).then_some(&*texts.route),
            path: &texts.path,
            status: facts.status,
            outcome: facts.outcome,
            duration,
            slow,
            level: default_level(facts.status, facts.outcome, slow),
        }
    }

    fn event(
        &self,
        request: &RequestRecord<'_>,
        summary: &RequestSummary<'_>,
        texts: &Texts<'_>,
        level: Level,
        timestamp: DateTime<Utc>,
    ) -> Event {
        let facts = &request.facts;
        let mut tags = MonitoringTags::from_bytes(request.tags);
        add_tags(&mut tags, summary);
        if let Some(parent) = facts.parent_span_id {
            tags.insert("parent_span_id".to_owned(), parent.to_string().into());
        }
        Event {
            id: EventId::at(timestamp),
            event_type: EventType::Log,
            source: self.policy.source.clone(),
            message: Some(message(summary)),
            level: Some(level),
            tags,
            payload: payload(request),
            request_id: Some(texts.request_id.clone().into_owned()),
            trace_id: Some(facts.trace_id.to_string()),
            span_id: Some(facts.span_id.to_string()),
            timestamp,
            created_at: timestamp, // the writer knows better
            created_by: None,
        }
    }
}

/// The texts of a request. A path cut inside a character ends with a replacement character.
struct Texts<'r> {
    method: Cow<'r, str>,
    path: Cow<'r, str>,
    route: Cow<'r, str>,
    request_id: Cow<'r, str>,
}

impl<'r> Texts<'r> {
    fn of(request: &RequestRecord<'r>) -> Self {
        Self {
            method: String::from_utf8_lossy(request.method),
            path: String::from_utf8_lossy(request.path),
            route: String::from_utf8_lossy(request.route),
            request_id: String::from_utf8_lossy(request.request_id),
        }
    }
}

/// `GET /orders/{id} 200`; without a route the path, without a response how it ended.
fn message(request: &RequestSummary<'_>) -> String {
    let RequestSummary { method, path, outcome, .. } = request;
    let route = request.route.unwrap_or(path);
    match request.status {
        Some(status) => format!("{method} {route} {status}"),
        None => format!("{method} {route} {outcome}"),
    }
}

fn add_tags(tags: &mut Tags, request: &RequestSummary<'_>) {
    let millis = (request.duration.as_secs_f64() * 1e6).round() / 1e3;
    tags.insert("method".to_owned(), request.method.into());
    tags.insert("path".to_owned(), request.path.into());
    tags.insert("route".to_owned(), request.route.unwrap_or(route::UNMATCHED).into());
    tags.insert("duration_ms".to_owned(), millis.into());
    tags.insert("outcome".to_owned(), request.outcome.as_str().into());
    if let Some(status) = request.status {
        tags.insert("status".to_owned(), status.into());
    }
    if request.slow {
        tags.insert("slow".to_owned(), true.into());
    }
}

fn payload(request: &RequestRecord<'_>) -> Tags {
    let facts = &request.facts;
    let mut payload = Tags::new();
    if let Some(bytes) = facts.request_bytes {
        payload.insert("request_body_bytes".to_owned(), bytes.into());
    }
    if facts.status.is_some() {
        payload.insert("response_body_bytes".to_owned(), facts.response_bytes.into());
    }
    if let Some(nanos) = facts.started_nanos {
        payload.insert("response_started_ms".to_owned(), (nanos as f64 / 1e6).into());
    }
    payload
}
