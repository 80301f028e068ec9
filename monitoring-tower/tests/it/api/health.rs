//! `/livez` and `/readyz`

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use crate::support::{Service, on_both_databases, send};

on_both_databases! {
    a_service_that_works_is_alive_and_ready
    a_service_that_is_shut_down_is_alive_but_not_ready
}

async fn a_service_that_works_is_alive_and_ready(service: &Service) {
    let live = send(&service.app, Method::GET, "/livez", None, None).await;
    assert_eq!(live.data(), json!("alive"));
    let ready = send(&service.app, Method::GET, "/readyz", None, None).await;
    assert_eq!(ready.data(), json!({"database": "ok", "pipeline": "ok"}));
}

async fn a_service_that_is_shut_down_is_alive_but_not_ready(service: &Service) {
    service.monitoring.shutdown(Duration::from_secs(5)).await;
    send(&service.app, Method::GET, "/livez", None, None).await.data();
    let ready = send(&service.app, Method::GET, "/readyz", None, None).await;
    let problem = ready.problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    assert_eq!(problem["errors"][0]["field"], "pipeline");
}
