//! What is recorded, and that other layers are left alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use monitoring_core::Recorder;
use monitoring_tracing::{RecorderLayer, layer_for};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::with_default;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::prelude::*;

use crate::support::{closed, logs, messages, record, record_with};

#[test]
fn info_and_worse_is_recorded_by_default() {
    let events = record(|| {
        tracing::debug!("quiet");
        tracing::debug_span!("quiet").in_scope(|| tracing::info!("normal"));
        tracing::error!("loud");
    });
    assert_eq!(messages(&events), ["normal", "loud"]);
    assert_eq!(events.len(), 2);
}

#[test]
fn directives_choose_by_target() {
    let targets: Targets = "info,hyper=warn,it::monitoring::filters=debug".parse().unwrap();
    let events = record_with(
        |builder| builder.filter(targets),
        || {
            tracing::debug!("mine");
            tracing::info!(target: "hyper::client", "too quiet");
            tracing::warn!(target: "hyper::client", "loud enough");
            tracing::debug!(target: "other", "too quiet");
        },
    );
    assert_eq!(messages(&events), ["mine", "loud enough"]);
}

/// Notes the messages of everything it is shown.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Witness {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.lock().expect("no witness panics").push(event.metadata().level().to_string());
    }
}

#[test]
fn what_we_leave_out_other_layers_still_see() {
    let recorder = Recorder::with_capacity(100);
    let run = || {
        tracing::trace!("trace");
        tracing::error!(target: "monitoring_core", "error");
        tracing::info!("info");
    };
    let outside = Witness::default();
    with_default(tracing_subscriber::registry().with(layer_for(&recorder)).with(outside.clone()), run);
    let inside = Witness::default();
    with_default(tracing_subscriber::registry().with(inside.clone()).with(layer_for(&recorder)), run);
    for witness in [outside, inside] {
        assert_eq!(*witness.0.lock().unwrap(), ["TRACE", "ERROR", "INFO"]);
    }
    assert_eq!(messages(&recorder.capture().events), ["info", "info"]);
}

#[test]
fn an_event_that_nobody_wants_is_not_even_built() {
    let recorder = Recorder::with_capacity(100);
    let built = AtomicUsize::new(0);
    let build = || built.fetch_add(1, Ordering::Relaxed);
    with_default(tracing_subscriber::registry().with(layer_for(&recorder)), || {
        tracing::debug!(n = build(), "level");
        tracing::error!(target: "monitoring_tower", n = build(), "target");
        assert!(!tracing::enabled!(tracing::Level::DEBUG));
    });
    assert_eq!(built.load(Ordering::Relaxed), 0);
}

#[test]
fn a_filter_on_top_narrows_further() {
    let recorder = Recorder::with_capacity(100);
    let all = Targets::new().with_default(LevelFilter::TRACE);
    let layer = RecorderLayer::builder(&recorder)
        .filter(all)
        .build()
        .with_filter(filter_fn(|metadata| metadata.target() != "noisy"));
    with_default(tracing_subscriber::registry().with(layer), || {
        let noisy = tracing::info_span!(target: "noisy", "noisy", noisy = 1);
        noisy.in_scope(|| {
            tracing::info!(target: "noisy", "left out");
            tracing::trace_span!("work").in_scope(|| tracing::trace!("kept"));
        });
    });
    let events = recorder.capture().events;
    assert_eq!(messages(&events), ["kept"]);
    assert!(!logs(&events).next().unwrap().tags.contains_key("noisy"));
    assert_eq!(closed(&events, "work").span_id, logs(&events).next().unwrap().span_id);
}

#[test]
fn ids_of_the_request_pass_filters_that_leave_its_span_out() {
    let events = record_with(
        |builder| builder.filter("error".parse().unwrap()),
        || {
            let span = tracing::info_span!(target: "monitoring::request", "request", request_id = "r-1");
            span.in_scope(|| tracing::error!("failed"));
        },
    );
    assert_eq!(events[0].request_id.as_deref(), Some("r-1"));
}
