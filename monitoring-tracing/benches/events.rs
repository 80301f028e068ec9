//! What an event and a span cost the thread that emits them, with our layer and without any.
//!
//! `queue full` is the layer with nobody behind it, after the queue filled up: records are made and
//! then shed. `drained` has the collector's work on another thread, as in a running service.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use monitoring_core::Recorder;
use tracing::Dispatch;
use tracing_subscriber::prelude::*;

const QUEUE_RECORDS: usize = 16_384;
/// How often a running pipeline empties the queue.
const DRAIN_INTERVAL: Duration = Duration::from_millis(5);

fn event() {
    tracing::info!(
        user_id = black_box(7_u64),
        order_id = black_box("ord_01HZX3J8K2"),
        amount = black_box(149.95),
        "order placed"
    );
}

fn span() -> tracing::Span {
    tracing::info_span!("checkout", tenant = black_box("acme-prod"), cart_id = black_box(7_u64))
}

fn measure(criterion: &mut Criterion, name: &str, dispatch: &Dispatch) {
    tracing::dispatcher::with_default(dispatch, || {
        criterion.bench_function(&format!("event in a span/{name}"), |bencher| {
            let _entered = span().entered();
            bencher.iter(event);
        });
        criterion.bench_function(&format!("span/{name}"), |bencher| {
            bencher.iter(|| span().in_scope(|| ()));
        });
    });
}

fn with_layer(recorder: &Recorder) -> Dispatch {
    Dispatch::new(tracing_subscriber::registry().with(monitoring_tracing::layer_for(recorder)))
}

fn events(criterion: &mut Criterion) {
    measure(criterion, "none", &Dispatch::none());
    measure(criterion, "queue full", &with_layer(&Recorder::with_capacity(1)));
    let recorder = Recorder::with_capacity(QUEUE_RECORDS);
    let dispatch = with_layer(&recorder);
    let stop = Arc::new(AtomicBool::new(false));
    let collector = thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                black_box(recorder.capture());
                thread::sleep(DRAIN_INTERVAL);
            }
        }
    });
    measure(criterion, "drained", &dispatch);
    stop.store(true, Ordering::Relaxed);
    collector.join().expect("the collector does not panic");
}

criterion_group!(benches, events);
criterion_main!(benches);
