//! The shop's server: HTTP/1.1, to whoever asks within reasonable time.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Extension, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::Listener;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer;

use super::AppError;

/// For the head of a request, and for the pause before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// For the body of a request and what is made of it. A payment takes up to twelve seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves until `stop` completes, then until the requests under way are answered and all connections are
/// closed.
///
/// Like `axum::serve`, which leaves the server without a clock, and so without a limit for heads.
pub(crate) async fn serve(mut listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let mut server = Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let (connections, stopping) = (TaskTracker::new(), CancellationToken::new());
    let (stop_guard, mut stop) = (stopping.clone().drop_guard(), pin!(stop));
    loop {
        let (stream, address) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = &mut stop => break,
        };
        let service = Extension(ConnectInfo::<SocketAddr>(address)).layer(router.clone());
        let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let (connection, stopping) = (connection.into_owned(), stopping.clone());
        connections.spawn(async move {
            let mut connection = pin!(connection);
            tokio::select! {
                // How it ends is the client's business.
                _ = &mut connection => {}
                () = stopping.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        });
    }
    drop((listener, stop_guard));
    connections.close();
    connections.wait().await;
}

/// Ends a request that takes too long, most of all one whose body does not come.
pub(crate) async fn within_time(request: Request, next: Next) -> Result<Response, AppError> {
    timeout(REQUEST_TIMEOUT, next.run(request)).await.map_err(|_| AppError::TimedOut)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, Bytes};
    use axum::http::StatusCode;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;
    use tower::ServiceExt as _;

    use super::*;

    fn echo() -> Router {
        Router::new().route("/", post(async |body: Bytes| body)).layer(from_fn(within_time))
    }

    /// What is answered until the connection is closed, after these bytes.
    async fn answer_to(address: SocketAddr, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut answer = String::new();
        let read = timeout(HEAD_TIMEOUT * 10, socket.read_to_string(&mut answer)).await;
        read.expect("the connection is closed").unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_ask_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, echo(), async { stopped.await.unwrap_or(()) }));
        for begun in ["", "P", "POST / HTTP/1.1\r\nhost: here\r\n"] {
            assert_eq!(answer_to(address, begun.as_bytes()).await, "", "{begun:?}");
        }
        let asked = "POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 5\r\n\r\nhello";
        let answer = answer_to(address, asked.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nhello"), "{answer}");
        stop.send(()).unwrap();
        server.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let request = Request::post("/").body(body).unwrap();
        let answer = timeout(REQUEST_TIMEOUT * 10, echo().oneshot(request)).await;
        assert_eq!(answer.expect("it is answered").unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    }
}
