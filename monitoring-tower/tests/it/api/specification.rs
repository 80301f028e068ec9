//! Each request of the specification as it stands there, and what it promises about the answer.

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    ADMIN, ALICE, Answer, BOB, MODERATOR, Service, Somebody, exchange, on_both_databases, request,
};

on_both_databases! {
    events_are_created_and_queried
    an_invalid_event_type_is_a_bad_request_that_says_so
    metrics_are_submitted_and_queried
    alert_rules_are_for_moderators
    an_incident_is_created_updated_and_told
    statistics_are_for_moderators
    the_exposition_reads_as_shown
}

async fn send(service: &Service, method: Method, path: &str, who: Somebody, body: &'static str) -> Answer {
    let request = request(method, path, Some(who)).header("content-type", "application/json");
    exchange(&service.app, request.body(Body::from(body)).unwrap()).await
}

async fn post(service: &Service, path: &str, who: Somebody, body: &'static str) -> Answer {
    send(service, Method::POST, path, who, body).await
}

async fn events_are_created_and_queried(service: &Service) {
    let body = r#"{
  "event_type": "log",
  "source": "web-server",
  "message": "Request processed successfully",
  "level": "info",
  "tags": {
    "service": "api",
    "environment": "production"
  },
  "payload": {
    "request_id": "req-123",
    "duration_ms": 245
  }
}"#;
    let created = post(service, "/events", ALICE, body).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let event = created.data();
    let sent: Value = serde_json::from_str(body).unwrap();
    for (field, value) in sent.as_object().unwrap() {
        assert_eq!(&event[field], value, "{field}");
    }
    for query in [
        "event_type=log&source=web-server&limit=50",
        "level=info&start_time=2024-01-01T00:00:00Z&end_time=2099-01-01T00:00:00Z&offset=0",
    ] {
        assert_eq!(service.get(&format!("/events?{query}"), ALICE).await.data(), json!([event]), "{query}");
    }
    for query in
        ["event_type=trace", "source=other", "level=warn", "end_time=2024-01-01T00:00:00Z", "offset=1"]
    {
        assert_eq!(service.get(&format!("/events?{query}"), ALICE).await.data(), json!([]), "{query}");
    }
    let pagination = &service.get("/events", ALICE).await.json()["pagination"];
    assert_eq!((&pagination["limit"], &pagination["offset"]), (&json!(100), &json!(0)));
}

async fn an_invalid_event_type_is_a_bad_request_that_says_so(service: &Service) {
    let answer = post(service, "/events", ALICE, r#"{"event_type": "noise", "source": "a"}"#).await;
    let problem = answer.problem(StatusCode::BAD_REQUEST, "validation_failed");
    let expected = r#"event_type: invalid event type "noise"; expected one of log, metric, trace, alert"#;
    assert_eq!(problem["detail"], expected);
    for event_type in ["log", "metric", "trace", "alert"] {
        let event = json!({"event_type": event_type, "source": "a"});
        assert_eq!(service.post("/events", ALICE, event).await.data()["event_type"], event_type);
    }
}

async fn metrics_are_submitted_and_queried(service: &Service) {
    let body = r#"{
  "name": "http_requests_total",
  "metric_type": "counter",
  "value": 1,
  "labels": {
    "method": "GET",
    "status": "200",
    "endpoint": "/api/users"
  }
}"#;
    let created = post(service, "/metrics", ALICE, body).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let metric = created.data();
    assert_eq!((&metric["name"], &metric["metric_type"]), (&json!("http_requests_total"), &json!("counter")));
    assert_eq!((&metric["value"], &metric["labels"]["endpoint"]), (&json!(1.0), &json!("/api/users")));
    let gauge = r#"{"name": "cpu_usage", "metric_type": "gauge", "value": 81.5}"#;
    post(service, "/metrics", ALICE, gauge).await.data();
    let found = service.get("/metrics?name=cpu_usage&start_time=2024-01-01T00:00:00Z", ALICE).await.data();
    assert_eq!((found.as_array().unwrap().len(), &found[0]["value"]), (1, &json!(81.5)));
}

async fn alert_rules_are_for_moderators(service: &Service) {
    let body = r#"{
  "name": "High CPU Usage",
  "description": "CPU usage above 80% for more than 5 minutes",
  "query": "cpu_usage > 80",
  "threshold_value": 80.0
}"#;
    post(service, "/alerts", ALICE, body).await.problem(StatusCode::FORBIDDEN, "forbidden");
    let created = post(service, "/alerts", MODERATOR, body).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let rule = created.data();
    let sent: Value = serde_json::from_str(body).unwrap();
    for (field, value) in sent.as_object().unwrap() {
        assert_eq!(&rule[field], value, "{field}");
    }
    let mut listed = service.get("/alerts", MODERATOR).await.data();
    let status = listed[0].as_object_mut().unwrap().remove("status").expect("a list says how rules stand");
    assert_eq!((&status["state"], &status["alerts"]), (&json!("inactive"), &json!([])));
    assert_eq!(listed, json!([rule]));
    service.get("/alerts", ALICE).await.problem(StatusCode::FORBIDDEN, "forbidden");
}

async fn an_incident_is_created_updated_and_told(service: &Service) {
    let sent = json!({
        "title": "API Response Time Degradation",
        "description": "Average response time increased to 2+ seconds",
        "severity": "high",
        "assigned_to": BOB.id,
    });
    let created = service.post("/incidents", ALICE, sent.clone()).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let incident = created.data();
    for (field, value) in sent.as_object().unwrap() {
        assert_eq!(&incident[field], value, "{field}");
    }
    let path = format!("/incidents/{}", incident["id"].as_str().unwrap());
    let update = r#"{
  "status": "investigating",
  "root_cause": "Database connection pool exhaustion",
  "severity": "critical"
}"#;
    let updated = send(service, Method::PUT, &path, BOB, update).await;
    assert_eq!(updated.status, StatusCode::OK);
    let updated = updated.data();
    assert_eq!((&updated["status"], &updated["severity"]), (&json!("investigating"), &json!("critical")));
    assert_eq!(updated["root_cause"], "Database connection pool exhaustion");

    let timeline = service.get(&format!("{path}/timeline?limit=100"), ALICE).await.data();
    let lines: Vec<_> =
        timeline["entries"].as_array().unwrap().iter().map(|entry| &entry["message"]).collect();
    assert!(lines[0].as_str().unwrap().starts_with("incident opened"), "{lines:?}");
    assert!(lines[1].as_str().unwrap().contains("from open to investigating"), "{lines:?}");
    assert!(timeline["entries"].as_array().unwrap().iter().all(|entry| entry["source"] == "incident"));
}

async fn statistics_are_for_moderators(service: &Service) {
    let batch = json!([{"event_type": "log", "source": "a"}, {"event_type": "log", "source": "b"}]);
    service.post("/events", ALICE, batch).await.data();
    post(service, "/metrics", ALICE, r#"{"name": "a", "metric_type": "gauge", "value": 1}"#).await.data();
    post(service, "/incidents", ALICE, r#"{"title": "t", "severity": "low"}"#).await.data();
    let expected = json!({
        "success": true,
        "data": {
            "total_events": 2,
            "total_metrics": 1,
            "active_alerts": 0,
            "open_incidents": 1,
            "events_last_hour": 2,
            "metrics_last_hour": 1
        }
    });
    assert_eq!(service.get("/stats", MODERATOR).await.json(), expected);
    assert_eq!(service.get("/stats", ADMIN).await.json(), expected);
    service.get("/stats", ALICE).await.problem(StatusCode::FORBIDDEN, "forbidden");
    assert_eq!(service.get("/stats/summary", ALICE).await.data()["events_last_hour"], 2);
}

#[cfg(feature = "prometheus")]
async fn the_exposition_reads_as_shown(service: &Service) {
    post(service, "/events", ALICE, r#"{"event_type": "log", "source": "a"}"#).await.data();
    let scrape = service.get("/metrics/prometheus", ALICE).await;
    for part in [
        "# HELP monitoring_total_events Total number of events in the system
# TYPE monitoring_total_events counter
monitoring_total_events 1
",
        "# HELP monitoring_active_alerts Number of currently active alerts
# TYPE monitoring_active_alerts gauge
monitoring_active_alerts 0
",
    ] {
        assert!(scrape.text().contains(part), "{part} is not in\n{}", scrape.text());
    }
}

#[cfg(not(feature = "prometheus"))]
async fn the_exposition_reads_as_shown(_: &Service) {}
