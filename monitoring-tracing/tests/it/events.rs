//! What becomes of one event.

use std::fmt;

use monitoring_core::{EventType, Level};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{logs, messages, record, record_one, record_with};

#[test]
fn an_event_becomes_a_log_with_its_place_and_time() {
    let before = chrono::Utc::now();
    let event = record_one(|| tracing::warn!("disk almost full"));
    assert_eq!(event.event_type, EventType::Log);
    assert_eq!(event.message.as_deref(), Some("disk almost full"));
    assert_eq!(event.level, Some(Level::Warn));
    assert_eq!(event.source, "it");
    assert_eq!(event.tags["target"], module_path!());
    assert!(event.payload["file"].as_str().unwrap().ends_with("events.rs"));
    assert!(event.payload["line"].is_u64());
    let slack = chrono::TimeDelta::milliseconds(50); // two clocks
    assert!(event.timestamp > before - slack && event.timestamp < chrono::Utc::now() + slack);
    assert_eq!((event.trace_id, event.span_id), (None, None));
}

#[test]
fn fields_keep_their_types() {
    let event = record_one(|| {
        tracing::info!(
            text = "a",
            shown = %1.5,
            debugged = ?Some(1),
            unsigned = u64::MAX,
            signed = -7,
            float = 0.25,
            nan = f64::NAN,
            yes = true,
            wide = u128::MAX,
            r#type = "card",
            http.method = "GET",
            "user name" = "x",
            empty = tracing::field::Empty,
            "all"
        );
    });
    let mut tags = event.tags;
    tags.remove("target");
    let expected = json!({
        "text": "a",
        "shown": "1.5",
        "debugged": "Some(1)",
        "unsigned": u64::MAX,
        "signed": -7,
        "float": 0.25,
        "nan": "NaN",
        "yes": true,
        "wide": u128::MAX.to_string(),
        "type": "card",
        "http.method": "GET",
        "user_name": "x",
    });
    assert_eq!(serde_json::Value::Object(tags), expected);
}

#[test]
fn every_level_has_its_counterpart() {
    let events = record_with(
        |builder| builder.filter("trace".parse().unwrap()),
        || {
            tracing::trace!("");
            tracing::debug!("");
            tracing::info!("");
            tracing::warn!("");
            tracing::error!("");
        },
    );
    let levels: Vec<_> = events.iter().filter_map(|event| event.level).collect();
    assert_eq!(levels, [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error]);
}

#[test]
fn an_event_without_message_has_none() {
    let event = record_one(|| tracing::info!(user = 7));
    assert_eq!((event.message, &event.tags["user"]), (None, &json!(7)));
}

#[test]
fn an_error_comes_with_its_causes() {
    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot save order")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let error = Outer(std::io::Error::other("disk full"));
    let event = record_one(|| {
        tracing::error!(error = &error as &dyn std::error::Error, "failed");
    });
    assert_eq!(event.tags["error"], "cannot save order: disk full");
}

#[test]
fn the_source_is_the_service_if_it_has_a_name() {
    let source = |name: &'static str| {
        record_with(move |builder| builder.source(name), || tracing::info!("hello")).remove(0).source
    };
    assert_eq!(source("shop-api"), "shop-api");
    assert_eq!(source(" "), "it");
}

#[test]
fn long_values_are_cut_with_a_mark() {
    let long = "ü".repeat(20_000);
    let event = record_one(|| tracing::info!(value = long, debugged = ?long, "{long}"));
    let message = event.message.unwrap();
    assert_eq!(message.chars().count(), 10_000);
    assert!(message.ends_with("ü…"));
    for key in ["value", "debugged"] {
        let value = event.tags[key].as_str().unwrap();
        assert_eq!(value.chars().count(), 500, "{key}");
        assert!(value.ends_with("ü…"));
    }
}

#[test]
fn fields_past_the_number_of_tags_go_to_the_payload() {
    macro_rules! many {
        ($($field:ident)*) => { tracing::info!($($field = stringify!($field),)* "many") };
    }
    let event = record_one(|| {
        many!(a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 c0 c1 c2 c3 c4 c5 c6 c7 c8 c9
              d0 d1 d2 d3 d4 d5 d6 d7 d8 d9 e0 e1 e2 e3 e4 e5 e6 e7 e8 e9 f0 f1 f2 f3 f4 f5 f6 f7 f8 f9);
    });
    assert!(event.tags.len() <= 50 && event.tags.contains_key("target"));
    for field in ["a0", "c5", "f9"] {
        let value = event.tags.get(field).or(event.payload.get(field));
        assert_eq!(value, Some(&json!(field)));
    }
}

#[test]
fn a_record_too_large_for_the_queue_keeps_what_fits() {
    let text = "x".repeat(2_000);
    macro_rules! many {
        ($($field:ident)*) => { tracing::info!($($field = text.as_str(),)* "{}", "m".repeat(10_000)) };
    }
    let event = record_one(|| {
        many!(a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 c0 c1 c2 c3 c4 c5 c6 c7 c8 c9
              d0 d1 d2 d3 d4 d5 d6 d7 d8 d9);
    });
    assert_eq!(event.message.unwrap().len(), 10_000);
    assert!(event.tags.len() > 20);
}

#[test]
fn a_field_named_like_a_tag_of_ours_is_kept_in_the_payload() {
    let event = record_one(|| tracing::info!(target = "east", "hit"));
    assert_eq!(event.tags["target"], module_path!());
    assert_eq!(event.payload["target"], "east");
}

#[test]
fn ids_of_an_event_are_lifted() {
    let event = record_one(|| tracing::info!(request_id = "r-1", trace_id = "t-1", span_id = "s-1", "x"));
    assert_eq!(event.request_id.as_deref(), Some("r-1"));
    assert_eq!(event.trace_id.as_deref(), Some("t-1"));
    assert_eq!(event.span_id.as_deref(), Some("s-1"));
    assert_eq!(event.tags.len(), 1, "{:?}", event.tags);
}

#[test]
fn a_panic_in_a_fields_debug_stays_in_the_field() {
    struct Broken;
    impl fmt::Debug for Broken {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            panic!("broken Debug")
        }
    }
    let events = record(|| {
        let span = tracing::info_span!("work", broken = ?Broken);
        span.in_scope(|| tracing::info!(broken = ?Broken, whole = 1, "first"));
        tracing::info!("second");
    });
    let first = logs(&events).next().unwrap();
    assert_eq!(first.tags["broken"], "half[panicked]");
    assert_eq!(first.tags["whole"], 1);
    assert_eq!(messages(&events), ["first", "second"]);
}

#[test]
fn what_does_not_fit_the_queue_is_counted() {
    use tracing_subscriber::prelude::*;
    let recorder = monitoring_core::Recorder::with_capacity(2);
    let subscriber = tracing_subscriber::registry().with(monitoring_tracing::layer_for(&recorder));
    tracing::subscriber::with_default(subscriber, || (0..5).for_each(|n| tracing::info!(n, "x")));
    assert_eq!(recorder.shed_total(monitoring_core::ShedReason::QueueFull), 3);
    assert_eq!(recorder.capture().events.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_value_survives_the_queue(
        text in "[^\u{0}]{0,300}",
        // Longer numbers may be those of cards, which do not survive.
        unsigned in 0..1_000_000_000_000_u64,
        signed in -1_000_000_000_000..1_000_000_000_000_i64,
        float in proptest::num::f64::NORMAL,
        flag: bool,
    ) {
        let event = record_one(|| {
            let span = tracing::info_span!(target: "monitoring::request", "request", outer = text, float);
            span.in_scope(|| tracing::info!(text, unsigned, signed, flag, debugged = ?signed, "{text}"));
        });
        prop_assert_eq!(event.message, Some(text.clone()));
        for (key, expected) in [
            ("text", json!(text)),
            ("outer", json!(text)),
            ("unsigned", json!(unsigned)),
            ("signed", json!(signed)),
            ("float", json!(float)),
            ("flag", json!(flag)),
            ("debugged", json!(signed.to_string())),
        ] {
            prop_assert_eq!(&event.tags[key], &expected, "{}", key);
        }
    }
}
