//! What every answer has, good or bad.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use monitoring_tower::{Authentication, MonitoringLayer, RouterBuilder};

use crate::support::{ADMIN, ALICE, Service, exchange, request, send};

#[tokio::test]
async fn a_problem_has_all_its_members() {
    let service = Service::sqlite().await;
    let request = request(Method::GET, "/events?limit=0", Some(ALICE)).header("x-request-id", "req-7");
    let answer = exchange(&service.app, request.body(Body::empty()).unwrap()).await;
    insta::assert_snapshot!(serde_json::to_string_pretty(&answer.json()).unwrap(), @r#"
    {
      "code": "validation_failed",
      "detail": "limit: must be a whole number from 1 to 1000",
      "errors": [
        {
          "field": "limit",
          "message": "must be a whole number from 1 to 1000"
        }
      ],
      "instance": "/api/v1/monitoring/events",
      "request_id": "req-7",
      "status": 400,
      "success": false,
      "title": "Bad Request",
      "type": "about:blank"
    }
    "#);
}

#[tokio::test]
async fn answers_are_neither_sniffed_nor_stored() {
    let service = Service::sqlite().await;
    for path in ["/livez", "/events", "/nowhere"] {
        let answer = service.get(path, ALICE).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_request_id_that_is_not_well_formed_is_replaced() {
    let service = Service::sqlite().await;
    let request = request(Method::GET, "/nowhere", Some(ALICE)).header("x-request-id", "a b\u{e9}");
    let answer = exchange(&service.app, request.body(Body::empty()).unwrap()).await;
    let problem = answer.problem(StatusCode::NOT_FOUND, "not_found");
    assert_eq!(problem["request_id"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn under_the_layer_the_problem_has_the_layers_request_id() {
    let service = Service::sqlite().await;
    let app = service.app.clone().layer(MonitoringLayer::new(&service.monitoring));
    let answer = send(&app, Method::GET, "/nowhere", Some(ALICE), None).await;
    answer.problem(StatusCode::NOT_FOUND, "not_found"); // compares it with the answer's header
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    async fn never(_: &Parts) -> Authentication {
        std::future::pending().await
    }
    let service = Service::sqlite().await;
    let timeout = Duration::from_secs(5);
    let app: Router = RouterBuilder::new(&service.monitoring, never).request_timeout(timeout).build();
    tokio::time::pause();
    let answer = exchange(&app, Request::get("/events").body(Body::empty()).unwrap()).await;
    answer.problem(StatusCode::SERVICE_UNAVAILABLE, "timed_out");
    assert_eq!(answer.header("retry-after"), "5");
    // It may have been done, and done again it may be done twice.
    let answer = exchange(&app, Request::post("/events").body(Body::empty()).unwrap()).await;
    answer.problem(StatusCode::SERVICE_UNAVAILABLE, "timed_out");
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn a_database_that_is_away_is_unavailable() {
    let service = Service::sqlite().await;
    service.monitoring.shutdown(Duration::from_secs(5)).await;
    let answer = service.get("/audit", ADMIN).await;
    answer.problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let service = Service::sqlite().await;
    let event = serde_json::json!({"event_type": "log", "source": "a"});
    let id = service.post("/events", ALICE, event).await.data()["id"].as_str().unwrap().to_owned();
    for path in ["/livez", "/events", "/metrics", "/metrics/prometheus", &format!("/events/{id}"), "/nowhere"]
    {
        let get = service.get(path, ALICE).await;
        let head = send(&service.app, Method::HEAD, path, Some(ALICE), None).await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

/// Whoever wants pages of other origins served puts a CORS layer in front, which answers these.
#[tokio::test]
async fn options_are_not_answered_here() {
    let service = Service::sqlite().await;
    let answer = send(&service.app, Method::OPTIONS, "/alerts", Some(ADMIN), None).await;
    answer.problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    assert_eq!(answer.header("allow"), "POST,GET,HEAD");
    let answer = send(&service.app, Method::OPTIONS, "/alerts", None, None).await;
    answer.problem(StatusCode::UNAUTHORIZED, "unauthorized");
}
