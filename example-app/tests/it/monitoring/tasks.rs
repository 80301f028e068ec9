//! The monitoring's background jobs, through the shop's queue.

use serde_json::{Value, json};

use crate::support::{ADMIN, TestDatabase, on_each_database};
use crate::tasks::{finished, submit};

on_each_database!(
    an_event_is_enriched_and_stored_by_a_task,
    an_event_belongs_to_whoever_submitted_its_task,
    an_event_that_breaks_a_rule_fails_its_task_for_good,
    old_telemetry_is_removed_by_a_task,
    rules_are_evaluated_by_a_task,
    open_incidents_are_explained_by_a_task,
    tasks_for_moderators_are_not_for_users,
);

async fn an_event_is_enriched_and_stored_by_a_task(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    let event = json!({
        "event_type": "log",
        "source": "api-gateway",
        "message": "High error rate detected",
        "payload": { "request_id": "req-7" },
    });
    let task = submit(&shop, &bob, "monitoring_event_processing", event).await;
    let report = finished(&shop, &bob, &task).await;
    assert_eq!(report["status"], "completed", "{report:#}");
    let events = shop.events("request_id=req-7").await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["level"], "error");
    assert_eq!(events[0]["tags"]["service_kind"], "gateway");
}

async fn an_event_belongs_to_whoever_submitted_its_task(database: TestDatabase) {
    let shop = database.start().await;
    let (bob_id, bob) = shop.register_and_login("bob").await;
    let (eve_id, eve) = shop.register_and_login("eve").await;
    let event = json!({ "event_type": "log", "source": "till" });
    let task = submit(&shop, &bob, "monitoring_event_processing", event).await;
    let report = finished(&shop, &bob, &task).await;
    assert_eq!(report["result"]["created_by"], json!(bob_id), "{report:#}");
    let path = format!("/monitoring/events/{}", report["result"]["id"].as_str().unwrap());
    shop.get(&path, &bob).await.data(200);
    shop.get(&path, &eve).await.problem(404, "not_found");

    let forged = json!({ "event_type": "log", "source": "till", "created_by": eve_id });
    let task = submit(&shop, &bob, "monitoring_event_processing", forged).await;
    let report = finished(&shop, &bob, &task).await;
    assert_eq!(report["status"], "failed", "{report:#}");
}

async fn an_event_that_breaks_a_rule_fails_its_task_for_good(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    let event = json!({ "event_type": "gossip", "source": "api-gateway" });
    let task = submit(&shop, &bob, "monitoring_event_processing", event).await;
    let report = finished(&shop, &bob, &task).await;
    assert_eq!(report["status"], "failed");
    assert_eq!(report["attempts"], 1);
    assert!(report["error"].as_str().unwrap().contains("event_type"), "{report:#}");
}

async fn old_telemetry_is_removed_by_a_task(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let task = submit(&shop, &admin, "monitoring_data_retention", Value::Null).await;
    let report = finished(&shop, &admin, &task).await;
    assert_eq!(report["status"], "completed", "{report:#}");
    assert_eq!(report["result"]["events_deleted"], 0, "nothing is thirty days old");
    assert!(!shop.events("source=auth-service").await.is_empty());
}

async fn rules_are_evaluated_by_a_task(database: TestDatabase) {
    let shop = database.start().await;
    let moderator = shop.login_as("dana", "moderator").await;
    let (_, bob) = shop.register_and_login("bob").await;
    let body = json!({ "task_type": "monitoring_alert_evaluation" });
    shop.post("/tasks", &bob, body).await.problem(403, "forbidden");
    let task = submit(&shop, &moderator, "monitoring_alert_evaluation", json!({})).await;
    let report = finished(&shop, &moderator, &task).await;
    assert_eq!(report["status"], "completed", "{report:#}");
    assert!(report["result"]["groups_evaluated"].is_u64(), "{report:#}");
}

async fn open_incidents_are_explained_by_a_task(database: TestDatabase) {
    let shop = database.start().await;
    let moderator = shop.login_as("dana", "moderator").await;
    let task = submit(&shop, &moderator, "monitoring_incident_analysis", json!({})).await;
    let report = finished(&shop, &moderator, &task).await;
    assert_eq!(report["status"], "completed", "{report:#}");
    assert_eq!(report["result"]["analyzed"], 0, "nothing is open");
}

async fn tasks_for_moderators_are_not_for_users(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    for task_type in
        ["monitoring_alert_evaluation", "monitoring_incident_analysis", "monitoring_data_retention"]
    {
        let body = json!({ "task_type": task_type });
        shop.post("/tasks", &bob, body).await.problem(403, "forbidden");
    }
}
