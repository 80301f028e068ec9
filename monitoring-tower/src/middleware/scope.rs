//! What surrounds the service while it works on a request: its context, its span, its recording.

use http::Response;
use http_body::Body;
use tracing::Span;

use super::recording::Recording;
use super::{Outcome, RequestContext, current};

/// One request under way. It has one place on the heap from the call to the last byte, since
/// futures and responses are moved many times between services.
#[derive(Debug)]
pub(super) struct Active {
    pub context: RequestContext,
    /// `None` for a request that is skipped.
    pub recording: Option<Recording>,
}

#[derive(Debug)]
pub(super) struct Scope {
    active: Option<Box<Active>>,
    span: Span,
}

impl Scope {
    pub(super) fn new(context: RequestContext, recording: Option<Recording>, span: Span) -> Self {
        Self { active: Some(Box::new(Active { context, recording })), span }
    }

    /// The scope of nothing.
    pub(super) const fn empty() -> Self {
        Self { active: None, span: Span::none() }
    }

    /// Runs a part of the service inside the request's context and span. A panic leaves the
    /// recording marked.
    #[inline]
    pub(super) fn run<T>(&mut self, part: impl FnOnce() -> T) -> T {
        if let Some(recording) = self.recording() {
            recording.enter();
        }
        let done = {
            let _context = current::enter(&mut self.active);
            let _span = self.span.enter();
            part()
        };
        if let Some(recording) = self.recording() {
            recording.leave();
        }
        done
    }

    /// The response's head is there: it gets the id.
    pub(super) fn respond<B: Body>(&mut self, response: &mut Response<B>) {
        let Some(active) = &mut self.active else { return };
        active.context.echo(response.headers_mut());
        if let Some(recording) = &mut active.recording {
            recording.respond(response);
        }
    }

    /// So many more bytes of the response's body were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(recording) = self.recording() {
            recording.sent(bytes);
        }
    }

    /// The request is over.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        if let Some(recording) = self.recording() {
            recording.finish(outcome);
        }
    }

    fn recording(&mut self) -> Option<&mut Recording> {
        self.active.as_mut()?.recording.as_mut()
    }
}
