//! What `MonitoringLayer` costs a request: an axum router with and without it.
//!
//! Requests are made before the clock starts and response bodies are read to their end. A thread
//! empties the recorder every 5 ms, as the pipeline does, so records are taken, not shed.

#![allow(missing_docs)] // `criterion_group!` makes a public function
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::Request;
use http_body_util::BodyExt;
use monitoring_core::Recorder;
use monitoring_tower::MonitoringLayer;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

fn app() -> Router {
    Router::new().route("/orders/{id}", get(async |Path(id): Path<u64>| Json(id)))
}

fn request() -> Request<Body> {
    Request::get("/orders/100007")
        .header("host", "api.example.com")
        .header("user-agent", "bench/1.0")
        .header("accept", "application/json")
        .body(Body::empty())
        .unwrap()
}

fn correlated() -> Request<Body> {
    let mut request = request();
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", traceparent.parse().unwrap());
    request.headers_mut().insert("x-request-id", "order-100007".parse().unwrap());
    request
}

async fn serve(app: Router, request: Request<Body>) {
    let response: Response = app.oneshot(request).await.unwrap();
    black_box(response.into_body().collect().await.unwrap());
}

/// Empties a recorder in the background until it is dropped.
struct Drain {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drain {
    fn start(recorder: Recorder) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stopped = stopped.clone();
            move || {
                while !stopped.load(Ordering::Relaxed) {
                    black_box(recorder.capture());
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        Self { stopped, thread: Some(thread) }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn layer(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().build().unwrap();
    let recorder = Recorder::with_capacity(1 << 20);
    let _drain = Drain::start(recorder.clone());
    // As `axum::serve` does, so that routes are not built anew for each request.
    let bare = app().with_state(());
    let monitored = app().layer(MonitoringLayer::with_recorder(&recorder)).with_state(());

    let mut bench = |name: &str, app: &Router, request: fn() -> Request<Body>| {
        criterion.bench_function(name, |bencher| {
            bencher.iter_batched(request, |request| run(&runtime, app, request), BatchSize::SmallInput);
        });
    };
    bench("bare", &bare, request);
    bench("layer", &monitored, request);
    bench("bare, correlated", &bare, correlated);
    bench("layer, correlated", &monitored, correlated);
}

fn run(runtime: &Runtime, app: &Router, request: Request<Body>) {
    runtime.block_on(serve(app.clone(), request));
}

criterion_group!(benches, layer);
criterion_main!(benches);
