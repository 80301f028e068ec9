//! `/prometheus/api/v1/query_exemplars`: from a metric to the trace behind it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use monitoring_core::{CreateMetricRequest, Labels, MetricType};
use monitoring_tower::MonitoringLayer;
use serde_json::{Value, json};

use crate::support::{ALICE, Answer, MODERATOR, Service, on_both_databases, send};

on_both_databases! {
    exemplars_are_written_as_prometheus_writes_them
    a_slow_request_is_found_by_its_duration
    what_prometheus_takes_is_taken
}

async fn get(service: &Service, parameters: &str) -> Answer {
    service.get(&format!("/prometheus/api/v1/query_exemplars?{parameters}"), ALICE).await
}

async fn observe(service: &Service, time: DateTime<Utc>, value: f64, labels: Labels) {
    let request = CreateMetricRequest {
        name: "wait_seconds".to_owned(),
        metric_type: MetricType::Histogram,
        value,
        labels: HashMap::from([("shop".to_owned(), "a\"b".to_owned())]),
        timestamp: Some(time),
    };
    service.monitoring.recorder().metric_with_exemplar(request, labels);
}

async fn exemplars_are_written_as_prometheus_writes_them(service: &Service) {
    let second = Utc::now().timestamp() - 60;
    let time = DateTime::from_timestamp_millis(second * 1_000 + 250).unwrap();
    let labels = [("trace_id", "abc"), ("note", "\"")].into_iter().collect();
    observe(service, time, 0.2, labels).await;
    observe(service, time, 2e21, [("trace_id", "def")].into_iter().collect()).await;
    let query = format!("query=rate(wait_seconds_bucket[5m])&start={}&end={}", second, second + 1);
    let expected = format!(
        concat!(
            r#"{{"status":"success","data":["#,
            r#"{{"seriesLabels":{{"__name__":"wait_seconds_bucket","le":"+Inf","shop":"a\"b"}},"#,
            r#""exemplars":[{{"labels":{{"trace_id":"def"}},"value":"2e+21","timestamp":{second}.250}}]}},"#,
            r#"{{"seriesLabels":{{"__name__":"wait_seconds_bucket","le":"0.25","shop":"a\"b"}},"#,
            r#""exemplars":[{{"labels":{{"note":"\"","trace_id":"abc"}},"value":"0.2","timestamp":{second}.250}}]}}"#,
            r#"]}}"#
        ),
        second = second
    );
    let answer = get(service, &query).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, &*expected));
    let earlier = format!("query=wait_seconds_bucket&start={}&end={second}", second - 9);
    assert_eq!(get(service, &earlier).await.text(), r#"{"status":"success","data":[]}"#);
}

async fn a_slow_request_is_found_by_its_duration(service: &Service) {
    let layered = service.app.clone().layer(MonitoringLayer::new(&service.monitoring).skip_nothing());
    send(&layered, Method::GET, "/events", Some(ALICE), None).await.data();
    let answer = get(service, "query=http_server_request_duration_seconds_bucket").await;
    let found = answer.json()["data"].take();
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    let labels: HashMap<String, String> =
        serde_json::from_value(found[0]["exemplars"][0]["labels"].clone()).unwrap();
    for id in ["trace_id", "request_id"] {
        let events = service.get(&format!("/events?{id}={}", labels[id]), MODERATOR).await;
        let events = events.data();
        assert_eq!(events[0]["message"], "GET /api/v1/monitoring/events 200", "{events}");
        assert_eq!(events[0]["span_id"], json!(labels["span_id"]));
    }
}

/// As a real one with exemplar storage answers.
async fn what_prometheus_takes_is_taken(service: &Service) {
    for parameters in ["query=up", "query=up&start=1", "query=up&end=1", "query=up&start=1&end=1"] {
        let answer = get(service, parameters).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, r#"{"status":"success","data":[]}"#));
    }
    let nothing = get(service, "query=1%2B1").await;
    assert_eq!((nothing.status, nothing.text()), (StatusCode::NO_CONTENT, ""));
    for (parameters, message) in [
        ("query=up&start=2&end=1", "end timestamp must not be before start timestamp"),
        (
            "query=up&start=x",
            "invalid parameter \"start\": Invalid time value for 'start': cannot parse \"x\" to a valid timestamp",
        ),
        ("query=up%7B", "1:4: parse error: unexpected end of input inside braces"),
        ("", "1:1: parse error: no expression found in input"),
    ] {
        let answer = get(service, parameters).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{parameters}");
        let error: Value = answer.json();
        assert_eq!((&error["errorType"], &error["error"]), (&json!("bad_data"), &json!(message)));
    }
}
