//! The handling of one request, from the call to the response's head.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::scope::Scope;
use super::{MonitoringBody, Outcome};

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
            Ok(mut response) => {
                scope.respond(&mut response);
                Ok(response.map(|body| MonitoringBody::new(body, scope)))
            }
            Err(error) => {
                scope.finish(Outcome::Error);
                Err(error)
            }
        })
    }
}
