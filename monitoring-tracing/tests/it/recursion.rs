//! The pipeline must not record itself, and recording must not call itself.

use std::fmt;

use monitoring_core::{Decode, Decoded, Deferred, Recorder, Ticks};
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
