//! `/routes`

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN, MODERATOR, Service, on_both_databases};

on_both_databases! {
    a_routing_tree_is_read_back_as_it_was_written
    a_change_meant_for_another_version_is_refused
    everything_wrong_is_named_by_its_path
    changes_are_in_the_audit_log
}

async fn with_receivers(service: &Service, names: &[&str]) {
    for name in names {
        let body = json!({"name": name, "type": "webhook", "config": {"url": "https://h.example/x"}});
        service.post("/receivers", ADMIN, body).await.data();
    }
}

fn tree() -> Value {
    json!({
        "receiver": "team",
        "group_by": ["alertname", "zone"],
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "4h",
        "routes": [{
            "receiver": "duty",
            "matchers": ["severity=\"critical\"", "team=~\"a|b\""],
            "continue": true,
            "mute_time_intervals": ["nights"],
            "routes": [{"group_by": ["..."], "match": {"kind": "db"}, "active_time_intervals": ["office"]}],
        }],
        "inhibit_rules": [{
            "source_matchers": ["severity=\"critical\""],
            "target_matchers": ["severity=\"warning\""],
            "equal": ["zone"],
        }],
        "time_intervals": [
            {"name": "nights", "time_intervals": [
                {"times": [{"start_time": "22:00", "end_time": "24:00"}], "location": "Europe/Berlin"}]},
            {"name": "office", "time_intervals": [
                {"weekdays": ["monday:friday"], "days_of_month": ["-3:-1"], "months": ["january:march"],
                 "years": ["2026:2028"]}]},
        ],
    })
}

async fn a_routing_tree_is_read_back_as_it_was_written(service: &Service) {
    let before = service.get("/routes", MODERATOR).await;
    assert_eq!((before.data(), before.header("etag")), (json!({}), "\"0\""));
    with_receivers(service, &["team", "duty"]).await;
    let answer = service.put("/routes", ADMIN, tree()).await;
    assert_eq!((answer.data(), answer.header("etag")), (tree(), "\"1\""));
    assert_eq!(service.get("/routes", MODERATOR).await.data(), tree());
    let again = service.put("/routes", ADMIN, tree()).await;
    assert_eq!(again.header("etag"), "\"1\"", "nothing has changed");
}

async fn a_change_meant_for_another_version_is_refused(service: &Service) {
    with_receivers(service, &["team"]).await;
    let put = async |tag: &'static str, wait: &str| {
        let body = json!({"receiver": "team", "group_wait": wait});
        let request = crate::support::request(http::Method::PUT, "/routes", Some(ADMIN));
        let request = request.header("if-match", tag).header("content-type", "application/json");
        let request = request.body(axum::body::Body::from(body.to_string())).unwrap();
        crate::support::exchange(&service.app, request).await
    };
    put("\"0\"", "1s").await.data();
    put("\"0\"", "2s").await.problem(StatusCode::PRECONDITION_FAILED, "precondition_failed");
    put("\"1\"", "2s").await.data();
    put("*", "3s").await.data();
}

async fn everything_wrong_is_named_by_its_path(service: &Service) {
    with_receivers(service, &["team"]).await;
    let wrong = async |body: Value| service.put("/routes", ADMIN, body).await.invalid_fields();
    assert_eq!(wrong(json!({"routes": [{"matchers": ["a=b"], "receiver": "team"}]})).await, ["receiver"]);
    let routes = json!({"receiver": "team", "routes": [{"receiver": "nobody", "matchers": ["a=~\"(\""]}]});
    assert_eq!(wrong(routes).await, ["routes[0].receiver", "routes[0].matchers[0]"]);
    let unknown =
        service.put("/routes", ADMIN, json!({"receiver": "team", "routes": [{"recevier": "x"}]})).await;
    let problem = unknown.problem(StatusCode::BAD_REQUEST, "validation_failed");
    assert!(problem["errors"][0]["field"].as_str().unwrap().starts_with("routes[0]"), "{problem}");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("recevier"), "{problem}");
    assert_eq!(wrong(json!({"receiver": "team", "group_wait": "soon"})).await, ["group_wait"]);
    assert_eq!(
        wrong(json!({"receiver": "team", "routes": [{"group_interval": 5}]})).await,
        ["routes[0].group_interval"]
    );
    let location = json!({"receiver": "team", "time_intervals": [
        {"name": "n", "time_intervals": [{"location": "Berlin"}]}]});
    assert_eq!(wrong(location).await, ["time_intervals[0].time_intervals[0].location"]);
}

async fn changes_are_in_the_audit_log(service: &Service) {
    with_receivers(service, &["team"]).await;
    service.put("/routes", ADMIN, json!({"receiver": "team"})).await.data();
    let entry = service.get("/audit", ADMIN).await.data()[0].clone();
    assert_eq!((&entry["action"], &entry["before"]), (&json!("routing.update"), &json!({})));
    assert_eq!(entry["after"], json!({"receiver": "team"}));
}
