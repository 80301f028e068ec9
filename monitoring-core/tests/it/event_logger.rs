//! The specification's logger, on a connection and on the recorder.

use std::collections::HashMap;

use monitoring_core::{EventFilter, EventLogger, EventType, Level, Page, Recorder, ShedReason, services};
use serde_json::json;
use uuid::Uuid;

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::Fixture;

on_each_database!(
    everything_logged_carries_request_and_source,
    a_trace_and_tags_may_come_with_an_error,
    what_is_too_long_is_cut_and_kept,
);

async fn everything_logged_carries_request_and_source(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let request_id = Uuid::from_u128(5);
    let (amount, currency) = (42, "EUR");

    let mut logger = EventLogger::new(&mut conn, request_id, "payment-service".to_string());
    logger
        .log_info(
            "Payment processing started",
            HashMap::from([("amount".to_string(), json!(amount)), ("currency".to_string(), json!(currency))]),
        )
        .await
        .unwrap();
    logger.log_warn("Gateway is slow", HashMap::new()).await.unwrap();
    let error: &dyn std::error::Error = &std::io::Error::other("card declined");
    logger.log_error("Payment failed", error).await.unwrap();

    let mut filter = EventFilter::default();
    filter.source = Some("payment-service".to_owned());
    filter.request_id = Some(request_id.to_string());
    let mut events = services::query_events(&mut conn, &filter, &Page::default()).await.unwrap().items;
    events.sort_by_key(|event| event.level);
    let [info, warn, error] = events.try_into().unwrap();
    assert_eq!((info.event_type, info.level), (EventType::Log, Some(Level::Info)));
    assert_eq!((&info.tags["amount"], &info.tags["currency"]), (&json!(42), &json!("EUR")));
    assert_eq!((warn.event_type, warn.level), (EventType::Log, Some(Level::Warn)));
    assert_eq!((error.event_type, error.level), (EventType::Alert, Some(Level::Error)));
    assert_eq!(error.tags["error_type"], "card declined");
    assert!(error.payload["error_details"].as_str().unwrap().contains("Custom"), "{:?}", error.payload);
}

async fn a_trace_and_tags_may_come_with_an_error(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let (trace_id, span_id) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let mut logger = EventLogger::new(&mut conn, "r-1", "s").with_trace(trace_id, span_id);
    let tags = HashMap::from([("order_id".to_owned(), json!(7))]);
    logger.log_error_with("Payment failed", &std::io::Error::other("declined"), tags).await.unwrap();

    let mut filter = EventFilter::default();
    filter.trace_id = Some(trace_id.to_owned());
    let events = services::query_events(&mut conn, &filter, &Page::default()).await.unwrap().items;
    let [event] = events.try_into().unwrap();
    assert_eq!((event.request_id.as_deref(), event.span_id.as_deref()), (Some("r-1"), Some(span_id)));
    assert_eq!((&event.tags["order_id"], &event.tags["error_type"]), (&json!(7), &json!("declined")));
}

async fn what_is_too_long_is_cut_and_kept(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let error = std::io::Error::other("x".repeat(100_000));
    let mut logger = EventLogger::new(&mut conn, "r-1", "s");
    logger.log_error(&"m".repeat(20_000), &error).await.unwrap();
    let events = services::query_events(&mut conn, &EventFilter::default(), &Page::default()).await.unwrap();
    let event = &events.items[0];
    assert_eq!(event.message.as_ref().unwrap().chars().count(), 10_000);
    assert_eq!(event.tags["error_type"].as_str().unwrap().chars().count(), 500);
    assert!(event.payload["error_details"].as_str().unwrap().contains("xxxx"));
}

/// No database, no runtime at work: whatever it awaits is ready at once.
#[tokio::test]
async fn a_logger_on_the_recorder_waits_for_nothing() {
    let recorder = Recorder::with_capacity(2);
    let mut logger = EventLogger::new(&recorder, "r-1", "s");
    for _ in 0..3 {
        let logged = futures_util::FutureExt::now_or_never(logger.log_info("full", HashMap::new()));
        logged.expect("it is ready at once").unwrap();
    }
    assert_eq!(recorder.shed_total(ShedReason::QueueFull), 1);
    let mut owned = EventLogger::new(recorder.clone(), "r-2", "s");
    owned.log_error("failed", &std::fmt::Error).await.unwrap();
    assert_eq!(recorder.shed_total(ShedReason::QueueFull), 2);
}
