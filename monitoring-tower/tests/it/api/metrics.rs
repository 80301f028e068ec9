//! `/metrics`

use http::StatusCode;
use serde_json::json;

use crate::support::{ALICE, BOB, Service, on_both_databases};

on_both_databases! {
    an_observation_can_be_sent_and_read_back
    a_batch_names_every_observation_that_is_wrong
    samples_are_filtered_by_name_type_and_labels
}

async fn an_observation_can_be_sent_and_read_back(service: &Service) {
    let request = json!({
        "name": "http_requests_total",
        "metric_type": "counter",
        "value": 1,
        "labels": {"method": "GET", "status": "200", "endpoint": "/api/users"},
    });
    let answer = service.post("/metrics", ALICE, request).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let created = answer.data();
    assert_eq!(created["value"], 1.0);
    assert_eq!(created["labels"]["endpoint"], "/api/users");
    let list = service.get("/metrics?name=http_requests_total", BOB).await;
    assert_eq!(list.data()[0]["name"], "http_requests_total");
    assert_eq!(list.data()[0]["value"], 1.0);
}

async fn a_batch_names_every_observation_that_is_wrong(service: &Service) {
    let batch = json!([
        {"name": "a_total", "metric_type": "counter", "value": 1},
        {"name": "5xx", "metric_type": "gauge", "value": 1},
        {"name": "b_total", "metric_type": "counter", "value": -1},
    ]);
    let fields = service.post("/metrics", ALICE, batch).await.invalid_fields();
    assert_eq!(fields, ["[1].name", "[2].value"]);
    let one = json!({"name": "b_total", "metric_type": "counter", "value": -1});
    assert_eq!(service.post("/metrics", ALICE, one).await.invalid_fields(), ["value"]);
    let unknown = json!({"name": "b", "metric_type": "cuonter", "value": 1});
    assert_eq!(service.post("/metrics", ALICE, unknown).await.invalid_fields(), ["metric_type"]);
    assert_eq!(service.get("/metrics?name=a_total", ALICE).await.data(), json!([]));
}

async fn samples_are_filtered_by_name_type_and_labels(service: &Service) {
    let batch = json!([
        {"name": "cpu_usage", "metric_type": "gauge", "value": 1, "labels": {"host": "a", "zone": "x"}},
        {"name": "cpu_usage", "metric_type": "gauge", "value": 2, "labels": {"host": "b", "zone": "x"}},
        {"name": "jobs_total", "metric_type": "counter", "value": 3, "labels": {"host": "a"}},
    ]);
    service.post("/metrics", ALICE, batch).await.data();
    for (query, expected) in [
        ("name=cpu_usage&label.host=a", vec![1.0]),
        ("name=cpu_usage&label.host=b&label.zone=x", vec![2.0]),
        ("name=jobs_total&metric_type=counter", vec![3.0]),
        ("name=jobs_total&metric_type=gauge", vec![]),
        ("name=cpu_usage&end_time=2000-01-01T00:00:00Z", vec![]),
    ] {
        let data = service.get(&format!("/metrics?{query}"), ALICE).await.data();
        let values: Vec<_> = data.as_array().unwrap().iter().map(|m| m["value"].as_f64().unwrap()).collect();
        assert_eq!(values, expected, "{query}");
    }
}
