//! One request id, every layer. As a process, because `tracing` listens once per process.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::process::{Process, command, exchange};
use crate::support::{PASSWORD, TestDatabase, on_each_database};

on_each_database!(a_request_id_finds_the_events_of_every_layer);

async fn a_request_id_finds_the_events_of_every_layer(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let mut shop = command(&folder);
    shop.env("DATABASE_URL", &database.url).env("ADMIN_PASSWORD", PASSWORD);
    // The monitoring hears what the log on stderr leaves out.
    let shop = Process::start(shop.env("RUST_LOG", "off"));
    let admin = shop.login("admin").await;
    let faults = json!({ "gateway_failure_ratio": 1 });
    assert_eq!(shop.call("PUT /api/v1/faults", &admin, faults).await.0, 200);
    let mug = json!({ "product": "mug" });
    let (_, order) = shop.call("POST /api/v1/orders", &admin, mug).await;
    let pay = json!({ "order_id": order["data"]["id"], "card_token": "tok_secret_card" });
    let failed = exchange(&shop.address, "POST /api/v1/payments", &admin, pay).await.unwrap();
    assert_eq!(failed.status, 502, "{}", failed.body);

    let request_id = failed.header("x-request-id").unwrap();
    let events = events_of(&shop, &admin, request_id, 5).await;
    let told = |event_type: &str, source: &str, message: &str| {
        let found = events.iter().find(|event| {
            event["event_type"] == event_type && event["source"] == source && event["message"] == message
        });
        found.unwrap_or_else(|| panic!("no {event_type} of {source}: {message} in {events:#?}"))
    };
    let request = told("log", "http", "POST /api/v1/payments 502");
    assert_eq!(request["level"], "error");
    assert_eq!(request["tags"]["code"], "gateway_failed");
    let log = told("log", "shop", "gateway call failed");
    assert_eq!(log["tags"]["error"], "gateway answered with an error");
    assert_eq!(log["tags"]["order_id"], order["data"]["id"]);
    let alert = told("alert", "payment-service", "payment failed");
    assert_eq!(alert["tags"]["error_type"], "gateway answered with an error");
    let charge = told("trace", "shop", "charge card");
    let payment = told("trace", "shop", "payment");
    assert_eq!(charge["trace_id"], request["trace_id"], "one trace");
    assert_eq!(charge["trace_id"], payment["trace_id"]);
    assert_eq!(charge["trace_id"], log["trace_id"]);
    assert!(!json!(events).to_string().contains("tok_secret_card"));
}

/// The events of a request, once `at_least` so many are stored.
async fn events_of(shop: &Process, token: &str, request_id: &str, at_least: usize) -> Vec<Value> {
    let query = format!("GET /api/v1/monitoring/events?request_id={request_id}");
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let (status, page) = shop.call(&query, token, json!({})).await;
        assert_eq!(status, 200, "{page}");
        let events = page["data"].as_array().unwrap().clone();
        if events.len() >= at_least {
            return events;
        }
        assert!(Instant::now() < deadline, "only {events:#?}");
        sleep(Duration::from_millis(10)).await;
    }
}
