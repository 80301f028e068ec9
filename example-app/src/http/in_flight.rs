//! The requests under way, so that a stop waits for them and for nobody else: a connection that asks
//! nothing, or never ends its question, must not hold it up.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Counts a request in `requests` until the last byte of its response is taken, or nobody takes it.
pub(crate) async fn track(State(requests): State<TaskTracker>, request: Request, next: Next) -> Response {
    let token = requests.token();
    next.run(request).await.map(|body| Body::new(Tracked { body, _token: token }))
}

struct Tracked {
    body: Body,
    _token: TaskTrackerToken,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
