//! Runs code under a subscriber with our layer and returns what it recorded.

use monitoring_core::{Event, EventType, Recorder};
use monitoring_tracing::{LayerBuilder, RecorderLayer};
use tracing::subscriber::with_default;
use tracing_subscriber::prelude::*;

/// Everything recorded while `run` ran under the layer with its defaults.
pub(crate) fn record(run: impl FnOnce()) -> Vec<Event> {
    record_with(|builder| builder, run)
}

/// Like [`record`], with a layer of other settings.
pub(crate) fn record_with(
    configure: impl FnOnce(LayerBuilder<'_>) -> LayerBuilder<'_>,
    run: impl FnOnce(),
) -> Vec<Event> {
    let recorder = Recorder::with_capacity(1_000);
    let layer = configure(RecorderLayer::builder(&recorder)).build();
    with_default(tracing_subscriber::registry().with(layer), run);
    recorder.capture().events
}

/// The one event recorded.
pub(crate) fn record_one(run: impl FnOnce()) -> Event {
    let [event] = <[Event; 1]>::try_from(record(run)).expect("one event");
    event
}

/// The messages of all logs, in order.
pub(crate) fn messages(events: &[Event]) -> Vec<&str> {
    logs(events).map(|event| event.message.as_deref().unwrap_or_default()).collect()
}

/// The logs among the events.
pub(crate) fn logs(events: &[Event]) -> impl Iterator<Item = &Event> {
    events.iter().filter(|event| event.event_type == EventType::Log)
}

/// The trace event of the span with this name.
pub(crate) fn closed<'e>(events: &'e [Event], name: &str) -> &'e Event {
    let is_it =
        |event: &&Event| event.event_type == EventType::Trace && event.message.as_deref() == Some(name);
    events.iter().find(is_it).unwrap_or_else(|| panic!("no span {name}: {events:#?}"))
}
