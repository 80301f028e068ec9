//! `/prometheus/api/v1/admin/tsdb`: what an administrator may do to the samples.

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    ADMIN, Answer, MODERATOR, Service, Somebody, exchange, on_both_databases, request, send,
};

on_both_databases! {
    an_administrator_removes_samples_and_series
    a_removal_is_for_administrators_and_is_written_down
    a_removal_that_makes_no_sense_has_the_words_of_prometheus
    there_are_no_tombstones_and_no_snapshots
}

const ADMIN_API: &str = "/prometheus/api/v1/admin/tsdb";

async fn knock(service: &Service, method: Method, path: &str, who: Somebody) -> Answer {
    send(&service.app, method, &format!("{ADMIN_API}{path}"), Some(who), None).await
}

async fn record(service: &Service) {
    let at = |seconds: i64| (chrono::Utc::now() - chrono::TimeDelta::seconds(seconds)).to_rfc3339();
    let reading = |room: &str, seconds: i64| json!({"name": "temperature", "metric_type": "gauge", "value": seconds, "labels": {"room": room}, "timestamp": at(seconds)});
    service
        .post("/metrics", ADMIN, json!([reading("a", 60), reading("a", 3_600), reading("b", 60)]))
        .await
        .data();
}

async fn rooms(service: &Service, query: &str) -> Value {
    let answer = service.get(&format!("/prometheus/api/v1/{query}"), ADMIN).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["data"].clone()
}

async fn an_administrator_removes_samples_and_series(service: &Service) {
    record(service).await;
    let recent = (chrono::Utc::now().timestamp() - 600).to_string();
    let path = format!("/delete_series?match[]=temperature%7Broom%3D%22a%22%7D&start={recent}");
    let answer = knock(service, Method::POST, &path, ADMIN).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::NO_CONTENT, ""));
    let current = rooms(service, "query?query=count(temperature)").await;
    assert_eq!(current["result"][0]["value"][1], "1");
    assert_eq!(rooms(service, "label/room/values").await, json!(["a", "b"]), "an older sample is left");
    let form = request(Method::PUT, &format!("{ADMIN_API}/delete_series"), Some(ADMIN))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("match[]=temperature%7Broom%3D%22a%22%7D&match[]=nothing"));
    assert_eq!(exchange(&service.app, form.unwrap()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(rooms(service, "label/room/values").await, json!(["b"]));
}

async fn a_removal_is_for_administrators_and_is_written_down(service: &Service) {
    record(service).await;
    let path = "/delete_series?match[]=temperature";
    let refused = knock(service, Method::POST, path, MODERATOR).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(rooms(service, "label/room/values").await, json!(["a", "b"]));
    knock(service, Method::POST, path, ADMIN).await;
    let log = service.get("/audit", ADMIN).await.data();
    assert_eq!(log[0]["action"], "metrics.delete_series");
    assert_eq!(log[0]["actor"], json!(ADMIN.id));
    assert_eq!(log[0]["after"]["selectors"], json!(["temperature"]));
}

async fn a_removal_that_makes_no_sense_has_the_words_of_prometheus(service: &Service) {
    for (path, error) in [
        ("/delete_series", "no match[] parameter provided"),
        (
            "/delete_series?match[]=up&start=x",
            r#"invalid parameter "start": Invalid time value for 'start': cannot parse "x" to a valid timestamp"#,
        ),
        (
            "/delete_series?match[]=up&end=x",
            r#"invalid parameter "end": Invalid time value for 'end': cannot parse "x" to a valid timestamp"#,
        ),
        ("/delete_series?match[]=%7B", r#"invalid parameter "match[]": "#),
    ] {
        let answer = knock(service, Method::POST, path, ADMIN).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        let answer = answer.json();
        assert_eq!(answer["errorType"], "bad_data");
        assert!(answer["error"].as_str().unwrap().starts_with(error), "{path}: {answer}");
    }
}

async fn there_are_no_tombstones_and_no_snapshots(service: &Service) {
    for method in [Method::POST, Method::PUT] {
        let answer = knock(service, method.clone(), "/clean_tombstones", ADMIN).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::NO_CONTENT, ""));
        let answer = knock(service, method, "/snapshot", ADMIN).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        let unavailable =
            json!({"status": "error", "errorType": "unavailable", "error": "admin APIs disabled"});
        assert_eq!(answer.json(), unavailable);
    }
}
