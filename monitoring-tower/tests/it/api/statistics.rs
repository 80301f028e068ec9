//! `/stats` and `/stats/summary`

use monitoring_core::{CreateEventRequest, EventType};
use serde_json::json;

use crate::support::{ALICE, BOB, MODERATOR, Service, on_both_databases};

on_both_databases! {
    figures_count_what_was_just_stored_and_recorded
    the_summary_lists_the_callers_own_open_incidents
}

async fn figures_count_what_was_just_stored_and_recorded(service: &Service) {
    let event = json!({"event_type": "log", "source": "a", "level": "error"});
    service.post("/events", ALICE, event).await.data();
    service.monitoring.recorder().event(CreateEventRequest {
        event_type: EventType::Log,
        source: "b".to_owned(),
        message: None,
        level: None,
        tags: [].into(),
        payload: [].into(),
        timestamp: None,
    });
    let metric = json!({"name": "jobs_total", "metric_type": "counter", "value": 1});
    service.post("/metrics", ALICE, metric).await.data();
    service.post("/incidents", ALICE, json!({"title": "t", "severity": "low"})).await.data();
    let stats = service.get("/stats", MODERATOR).await.data();
    let expected = json!({
        "total_events": 2, "total_metrics": 1, "active_alerts": 0, "open_incidents": 1,
        "events_last_hour": 2, "metrics_last_hour": 1,
    });
    assert_eq!(stats, expected);
    let summary = service.get("/stats/summary", ALICE).await.data();
    assert_eq!((&summary["events_last_hour"], &summary["errors_last_hour"]), (&json!(2), &json!(1)));
}

async fn the_summary_lists_the_callers_own_open_incidents(service: &Service) {
    service.post("/incidents", ALICE, json!({"title": "mine", "severity": "low"})).await.data();
    let own = service.get("/stats/summary", ALICE).await.data();
    assert_eq!(own["my_open_incidents"][0]["title"], "mine");
    let others = service.get("/stats/summary", BOB).await.data();
    assert_eq!(others["my_open_incidents"], json!([]));
}
