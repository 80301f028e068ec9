//! The span around the handler, as a subscriber sees it.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::support::{Monitored, Script, Step, get, ok, read};

/// Writes down what happens to spans, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, entry: String) {
        self.0.lock().unwrap().push(entry);
    }

    fn entries(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl Subscriber for Diary {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(String::new());
        span.record(&mut fields);
        self.note(format!("{} {}{}", span.metadata().target(), span.metadata().name(), fields.0));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.note(format!("event{}", fields.0));
    }

    fn enter(&self, _: &Id) {
        self.note("enter".to_owned());
    }

    fn exit(&self, _: &Id) {
        self.note("exit".to_owned());
    }
}

#[test]
fn the_handler_runs_inside_a_span_that_carries_the_ids() {
    let diary = Diary::default();
    tracing::subscriber::with_default(diary.clone(), || {
        let monitored = Monitored::new();
        let request = http::Request::get("/")
            .header("x-request-id", "order-7")
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .body(());
        monitored.answer(request.unwrap(), |_| {
            tracing::info!("working");
            ok(Script::buffered([]))
        });
    });
    let entries = diary.entries();
    let opened = &entries[0];
    assert!(opened.starts_with(r#"monitoring::request request request_id="order-7" trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id="#), "{opened}");
    assert!(opened.ends_with(r#" method="GET" route="unmatched""#), "{opened}");
    assert_eq!(entries[1..4], ["enter", "event message=working", "exit"]);
}

#[test]
fn every_poll_of_handler_and_body_is_inside_the_span() {
    let diary = Diary::default();
    tracing::subscriber::with_default(diary.clone(), || {
        let monitored = Monitored::new();
        let response = monitored.answer(get("/"), |_| ok(Script::stream([Step::Data("a")])));
        read(response.into_body());
    });
    // The call, one poll of the future, two of the body.
    assert_eq!(diary.entries()[1..], ["enter", "exit"].repeat(4));
}
