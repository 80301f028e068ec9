//! The response's body: its end is the end of the request.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Outcome;
use super::scope::Scope;

pin_project! {
    /// A response's body that counts its bytes and tells when it is over. Frames pass unchanged,
    /// trailers too.
    #[derive(Debug)]
    pub struct MonitoringBody<B> {
        #[pin]
        inner: B,
        scope: Scope,
    }
}

impl<B> MonitoringBody<B> {
    pub(super) fn new(inner: B, scope: Scope) -> Self {
        Self { inner, scope }
    }
}

/// A body nobody monitors, for layers that answer in the service's place.
impl<B: Default> Default for MonitoringBody<B> {
    fn default() -> Self {
        Self::new(B::default(), Scope::empty())
    }
}

impl<B: Body> Body for MonitoringBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let polled = this.scope.run(|| this.inner.as_mut().poll_frame(cx));
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => this.scope.finish(Outcome::Completed),
            Poll::Ready(Some(Err(_))) => this.scope.finish(Outcome::Error),
            Poll::Ready(Some(Ok(frame))) => {
                this.scope.sent(frame.data_ref().map_or(0, bytes::Buf::remaining));
                // Whoever is told that this was all asks for no more.
                if this.inner.is_end_stream() {
                    this.scope.finish(Outcome::Completed);
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
