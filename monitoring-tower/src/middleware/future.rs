//! The handling of one request, from the call to the response's head.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use tracing::Span;

use super::correlation::{X_REQUEST_ID, set};
use super::recording::Recording;
use super::{MonitoringBody, Outcome, RequestContext, current};

/// What surrounds the service while it works on a request.
#[derive(Debug)]
pub(super) struct Scope {
    context: Option<RequestContext>,
    /// `None` for a request that is skipped.
    recording: Option<Recording>,
    span: Span,
}

impl Scope {
    pub(super) fn new(context: RequestContext, recording: Option<Recording>, span: Span) -> Self {
        Self { context: Some(context), recording, span }
    }

    /// The scope of nothing.
    pub(super) fn empty() -> Self {
        Self { context: None, recording: None, span: Span::none() }
    }

    /// Runs a part of the service inside the request's context and span. A panic leaves the
    /// recording marked.
    #[inline]
    pub(super) fn run<T>(&mut self, part: impl FnOnce() -> T) -> T {
        let _context = current::enter(&mut self.context);
        let _span = self.span.enter();
        if let Some(recording) = &mut self.recording {
            recording.enter();
        }
        let done = part();
        if let Some(recording) = &mut self.recording {
            recording.leave();
        }
        done
    }

    pub(super) fn recording(&mut self) -> Option<&mut Recording> {
        self.recording.as_mut()
    }

    pub(super) fn finish(&mut self, outcome: Outcome) {
        if let Some(recording) = &mut self.recording {
            recording.finish(outcome);
        }
    }

    /// The response's head is there: adds the id and goes on with the body.
    fn respond<B: Body>(mut self, mut response: Response<B>) -> Response<MonitoringBody<B>> {
        if let Some(context) = &self.context {
            set(response.headers_mut(), &X_REQUEST_ID, context.request_id.as_header().clone());
        }
        if let Some(recording) = &mut self.recording {
            recording.respond(&response);
        }
        response.map(|body| MonitoringBody::new(body, self))
    }
}

pin_project! {
    /// The response of a [`MonitoringService`](super::MonitoringService), soon.
    #[derive(Debug)]
    pub struct MonitoringFuture<F> {
        #[pin]
        inner: F,
        scope: Scope,
    }
}

impl<F> MonitoringFuture<F> {
    pub(super) fn new(inner: F, scope: Scope) -> Self {
        Self { inner, scope }
    }
}

impl<F, B, E> Future for MonitoringFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<MonitoringBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.scope.run(|| this.inner.poll(cx)));
        let mut scope = mem::replace(this.scope, Scope::empty());
        Poll::Ready(match result {
            Ok(response) => Ok(scope.respond(response)),
            Err(error) => {
                scope.finish(Outcome::Error);
                Err(error)
            }
        })
    }
}
