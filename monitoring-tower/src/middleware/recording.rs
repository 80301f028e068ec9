//! The guard that tells of a request exactly once, however it ends.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body;
use monitoring_core::{Deferred, FieldBytes, Lane, Recorder, Ticks};

use super::decode::RequestDecoder;
use super::facts::{Facts, Lengths};
use super::policy::Policy;
use super::{MonitoringTags, OfOwnRouter, Outcome, RequestContext, route};

/// Longest body believed in: 1 TiB.
const CONTENT_LENGTH_MAX: u64 = 1 << 40;

/// What all requests of one layer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub policy: Arc<Policy>,
    /// Requests under way. The decoder holds it too, and must not hold the recorder that holds
    /// the decoder.
    active: Arc<AtomicI64>,
    recorder: Recorder,
    /// Opened when the first service is made: then the policy is settled.
    lane: OnceLock<Lane>,
}

impl Shared {
    pub(super) fn new(recorder: Recorder, policy: Policy) -> Self {
        Self { policy: Arc::new(policy), active: Arc::default(), recorder, lane: OnceLock::new() }
    }

    /// The same for another policy.
    pub(super) fn with_policy(&self, policy: Policy) -> Self {
        Self::new(self.recorder.clone(), policy)
    }

    pub(super) fn lane(&self) -> &Lane {
        self.lane
            .get_or_init(|| self.recorder.lane(RequestDecoder::new(self.policy.clone(), self.active.clone())))
    }
}

/// Records one request at a time. One that is under way when this is dropped finishes as what the
/// drop means.
#[derive(Debug)]
pub(super) struct Recording {
    /// Written where it stands, and again for the next request: its bytes are too many to be moved
    /// about.
    record: Deferred,
    /// `None` for a request that is skipped, and once it is recorded.
    request: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    shared: Arc<Shared>,
    lengths: Lengths,
    facts: Facts,
    /// Whether the method says that a body may follow the response's head.
    method: MethodKind,
    /// Bytes of the response's body, where it was announced.
    response_bytes_expected: Option<u64>,
    /// Whether the service is running right now. Still true in the drop: it panicked.
    inside: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MethodKind {
    Head,
    Connect,
    Other,
}

impl Recording {
    /// Of nothing yet.
    pub(super) fn idle() -> Self {
        Self { record: Deferred::at(Ticks::now(), None), request: None }
    }

    /// Begins to record, unless the policy skips the request.
    pub(super) fn begin<B>(
        &mut self,
        shared: &Arc<Shared>,
        request: &Request<B>,
        context: &RequestContext,
        start: Ticks,
    ) {
        let path = route::path(request.uri(), request.extensions());
        if shared.policy.skip.covers(path) {
            return;
        }
        self.record.start = start;
        let (fields, mut lengths) = (&mut self.record.fields, Lengths::default());
        fields.clear();
        lengths.push_method(fields, request.method().as_str());
        lengths.push_path(fields, path);
        lengths.push_request_id(fields, context.request_id.as_header().as_bytes());
        if let Some(route) = route::of_request(request.extensions()) {
            lengths.push_route(fields, route);
        }
        shared.active.fetch_add(1, Ordering::Relaxed);
        self.request = Some(UnderWay {
            shared: shared.clone(),
            lengths,
            facts: Facts {
                trace_id: context.trace.trace_id,
                span_id: context.trace.span_id,
                parent_span_id: context.trace.parent_span_id,
                status: None,
                outcome: Outcome::ClientDisconnected,
                request_bytes: content_length(request.headers()),
                response_bytes: 0,
                started_nanos: None,
            },
            method: MethodKind::of(request.method()),
            response_bytes_expected: None,
            inside: false,
        });
    }

    /// Marks that the service runs, until [`Recording::leave`].
    pub(super) fn enter(&mut self) {
        if let Some(request) = &mut self.request {
            request.inside = true;
        }
    }

    pub(super) fn leave(&mut self) {
        if let Some(request) = &mut self.request {
            request.inside = false;
        }
    }

    /// The response's head is there. Finishes if there is nothing to wait for.
    pub(super) fn respond<B: Body>(&mut self, response: &Response<B>) {
        let Some(request) = &mut self.request else { return };
        if request.shared.policy.skip.own_router && response.extensions().get::<OfOwnRouter>().is_some() {
            return self.discard();
        }
        let status = response.status();
        request.facts.status = Some(status.as_u16());
        request.take_extensions(response, &mut self.record.fields);
        if request.is_upgrade(status) {
            self.finish(Outcome::Upgraded);
        } else if request.is_bodyless(status) || response.body().is_end_stream() {
            self.finish(Outcome::Completed);
        } else {
            request.expect_body(response, self.record.start);
        }
    }

    /// So many more bytes of the response's body were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(request) = &mut self.request {
            request.facts.response_bytes += bytes as u64;
        }
    }

    /// Tells of the request. Only the first call counts.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        let Some(mut request) = self.request.take() else { return };
        request.facts.outcome = outcome;
        request.facts.push(&mut self.record.fields, request.lengths);
        self.record.end = Ticks::now();
        // First, so that whoever decodes the last record sees nobody left.
        request.shared.active.fetch_sub(1, Ordering::Relaxed);
        request.shared.lane().push(&mut self.record);
    }

    /// Tells nobody.
    fn discard(&mut self) {
        if let Some(request) = self.request.take() {
            request.shared.active.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Nobody waits for the request any more. Tells of it unless that is done.
    pub(super) fn abandon(&mut self) {
        if let Some(request) = &self.request {
            self.finish(request.outcome_of_drop());
        }
    }
}

impl UnderWay {
    fn take_extensions<B>(&mut self, response: &Response<B>, fields: &mut FieldBytes) {
        let extensions = response.extensions();
        if !self.lengths.has_route()
            && let Some(route) = route::explicit(extensions)
        {
            self.lengths.push_route(fields, route);
        }
        if let Some(tags) = extensions.get::<MonitoringTags>() {
            self.lengths.push_tags(fields, &tags.to_bytes());
        }
    }

    /// The bytes that follow belong to another protocol; how long it is spoken is not the
    /// request's time.
    fn is_upgrade(&self, status: StatusCode) -> bool {
        status == StatusCode::SWITCHING_PROTOCOLS
            || (self.method == MethodKind::Connect && status.is_success())
    }

    /// Servers drop the body of these responses unread (RFC 9110 §6.4.1).
    fn is_bodyless(&self, status: StatusCode) -> bool {
        self.method == MethodKind::Head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    fn expect_body<B: Body>(&mut self, response: &Response<B>, start: Ticks) {
        let exact = response.body().size_hint().exact();
        self.response_bytes_expected = exact.or_else(|| content_length(response.headers()));
        if self.response_bytes_expected.is_none() {
            let started = Ticks::now().since(start).as_nanos();
            self.facts.started_nanos = u64::try_from(started).ok();
        }
    }

    fn outcome_of_drop(&self) -> Outcome {
        let sent_all = self.response_bytes_expected.is_some_and(|all| self.facts.response_bytes >= all);
        if self.inside {
            Outcome::Panicked
        } else if sent_all {
            Outcome::Completed // a server that has sent the announced length asks for no more
        } else {
            Outcome::ClientDisconnected
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl MethodKind {
    fn of(method: &Method) -> Self {
        match *method {
            Method::HEAD => Self::Head,
            Method::CONNECT => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// What is announced, unless it is a lie: nobody sends so much at once, and a sum of such numbers
/// would be good for nothing ever after.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    let bytes = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    bytes.filter(|bytes| *bytes <= CONTENT_LENGTH_MAX)
}
