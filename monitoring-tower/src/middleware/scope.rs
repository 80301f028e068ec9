//! What surrounds the service while it works on a request: its context, its span, its recording.

use std::cell::RefCell;
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use monitoring_core::Ticks;
use tracing::Span;

use super::recording::{Recording, Shared};
use super::{Outcome, RequestContext, current};

thread_local!(
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    static SPARE: RefCell<Vec<Box<Active>>> = const { RefCell::new(Vec::new()) }
);

/// Spare places kept per thread.
const SPARE_MAX: usize = 64;

/// One request under way. It has one place on the heap from the call to the last byte, since
/// futures and responses are moved many times between services. Places are used again.
#[derive(Debug)]
pub(super) struct Active {
    /// `None` in a spare place.
    pub context: Option<RequestContext>,
    pub recording: Recording,
}

impl Active {
    pub(super) fn new(context: RequestContext) -> Box<Self> {
        let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.pop());
        let unused = || Box::new(Self { context: None, recording: Recording::idle() });
        let mut place = spare.ok().flatten().unwrap_or_else(unused);
        place.context = Some(context);
        place
    }

    /// Begins to record, unless the policy skips the request.
    pub(super) fn begin<B>(&mut self, shared: &Arc<Shared>, request: &Request<B>, start: Ticks) {
        if let Some(context) = &self.context {
            self.recording.begin(shared, request, context, start);
        }
    }

    /// Ends what is under way and keeps the place for another request.
    fn clear(mut self: Box<Self>) {
        self.recording.abandon();
        self.context = None;
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut()
                && spare.len() < SPARE_MAX
            {
                spare.push(self);
            }
        });
    }
}

#[derive(Debug)]
pub(super) struct Scope {
    active: Option<Box<Active>>,
    /// `None` unless somebody listens.
    span: Option<Span>,
}

impl Scope {
    pub(super) fn new(active: Box<Active>, span: Option<Span>) -> Self {
        Self { active: Some(active), span }
    }

    /// The scope of nothing.
    pub(super) const fn empty() -> Self {
        Self { active: None, span: None }
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
            let _span = self.span.as_ref().map(Span::enter);
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
        if let Some(context) = &active.context {
            context.echo(response.headers_mut());
        }
        active.recording.respond(response);
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
        Some(&mut self.active.as_mut()?.recording)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if let Some(active) = self.active.take() {
            active.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn active() -> Box<Active> {
        Active::new(RequestContext::of(&HeaderMap::new(), true))
    }

    #[test]
    fn a_place_is_used_again_and_keeps_nothing() {
        let first = active();
        let place = std::ptr::from_ref(&*first);
        drop(Scope::new(first, None));
        let kept = SPARE.take().pop().unwrap();
        assert!(kept.context.is_none());
        SPARE.set(vec![kept]);
        assert_eq!(std::ptr::from_ref(&*active()), place);
    }

    #[test]
    fn spare_places_are_bounded() {
        let scopes: Vec<_> = (0..2 * SPARE_MAX).map(|_| Scope::new(active(), None)).collect();
        drop(scopes);
        assert_eq!(SPARE.take().len(), SPARE_MAX);
    }
}
