//! The pipeline must not record itself, and recording must not call itself.

use std::fmt;

use futures_util::FutureExt as _;
use monitoring_core::{Decode, Decoded, Deferred, Recorder, Ticks, own_work};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::support::{closed, messages, record};

#[test]
fn nothing_inside_the_pipeline_is_recorded() {
    let events = record(|| {
        let pipeline = tracing::error_span!(target: "monitoring::internal", "pipeline");
        pipeline.in_scope(|| {
            tracing::error!(target: "sqlx::query", "slow statement");
            tracing::info_span!("connect").in_scope(|| tracing::warn!(target: "hyper", "retrying"));
        });
        tracing::error!(parent: &pipeline, "by parent");
        tracing::error!(target: "monitoring::internal", "by target");
        tracing::info!("the host");
    });
    assert_eq!(messages(&events), ["the host"]);
    assert_eq!(events.len(), 1, "spans of the pipeline are not stored either");
}

/// Emits in every way a driver may, while it is polled: on this thread, and on one of its own.
async fn statement() {
    tracing::error!(target: "sqlx::query", "slow statement");
    let inside = tracing::info_span!("connect");
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let worker = std::thread::spawn(move || {
        tracing::dispatcher::with_default(&dispatch, || {
            inside.in_scope(|| tracing::warn!(target: "sqlx::query", "on a worker"));
        });
    });
    worker.join().expect("it does not panic");
}

#[test]
fn work_that_began_before_anybody_listened_is_not_recorded() {
    let mut work = Box::pin(own_work::mark("ingest", async {
        statement().await;
        tokio::task::yield_now().await;
        statement().await;
    }));
    assert!(work.as_mut().now_or_never().is_none());
    let events = record(|| {
        assert!(work.now_or_never().is_some());
        tracing::info!("the host");
    });
    assert_eq!(messages(&events), ["the host"]);
    assert_eq!(events.len(), 1, "{events:#?}");
}

#[test]
fn a_filter_that_hides_our_marks_lets_nothing_of_our_work_through() {
    let recorder = Recorder::with_capacity(100);
    let visible: Targets = "shop=info,sqlx=debug".parse().unwrap();
    let layer = monitoring_tracing::layer_for(&recorder);
    let subscriber = tracing_subscriber::registry().with(visible).with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let work = own_work::mark("ingest", async {
            tracing::error!(target: "sqlx::query", "slow statement");
        });
        work.now_or_never().unwrap();
        tracing::info!(target: "shop", "the host");
    });
    assert_eq!(messages(&recorder.capture().events), ["the host"]);
}

#[test]
fn our_own_crates_are_never_recorded() {
    let events = record(|| {
        tracing::error!(target: "monitoring_core::ingest", "database is away");
        tracing::error_span!(target: "monitoring_tower", "router").in_scope(|| tracing::info!("in ours"));
        tracing::info!(target: "monitoring_corel", "somebody else's");
    });
    assert_eq!(messages(&events), ["in ours", "somebody else's"]);
}

#[test]
fn the_hosts_own_queries_are_recorded() {
    let events = record(|| tracing::info!(target: "sqlx::query", "SELECT 1"));
    assert_eq!(messages(&events), ["SELECT 1"]);
}

#[test]
fn a_pipeline_that_logs_while_it_drains_comes_to_an_end() {
    struct Chatty;
    impl Decode for Chatty {
        fn decode(&mut self, _: &Deferred, _: &mut Decoded<'_>) {
            tracing::error!("decoding");
        }
    }
    let recorder = Recorder::with_capacity(100);
    let lane = recorder.lane(Chatty);
    let subscriber = tracing_subscriber::registry().with(monitoring_tracing::layer_for(&recorder));
    tracing::subscriber::with_default(subscriber, || {
        let now = Ticks::now();
        lane.push(&mut Deferred::at(now, None));
        tracing::info!("the host");
        let _pipeline = tracing::error_span!(target: "monitoring::internal", "pipeline").entered();
        assert_eq!(messages(&recorder.capture().events), ["the host"]);
        assert_eq!(recorder.capture().events, []);
    });
}

/// Emits an event with itself as a field whenever it is formatted.
struct Echo;

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::info!(echo = ?Echo, "echo");
        tracing::info_span!("echo", echo = ?Echo).in_scope(|| ());
        f.write_str("Echo")
    }
}

#[test]
fn a_value_that_logs_itself_is_recorded_once() {
    let events = record(|| {
        tracing::info!(echo = ?Echo, "hello");
        tracing::info!("next");
    });
    assert_eq!(messages(&events), ["hello", "next"]);
    assert_eq!(events[0].tags["echo"], "Echo");
}

#[test]
fn a_value_may_use_the_span_it_is_recorded_in() {
    struct Records;
    impl fmt::Debug for Records {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            tracing::Span::current().record("seen", true).record("other", tracing::field::debug(Echo));
            f.write_str("Records")
        }
    }
    let events = record(|| {
        let span = tracing::info_span!("work", seen = tracing::field::Empty, other = ?Records);
        let _entered = span.enter();
        tracing::info!(value = ?Records, "hello");
        span.record("other", tracing::field::debug(Records));
    });
    assert_eq!(closed(&events, "work").tags["other"], "Records");
}
