//! What a scrape says about the series this library makes.

use std::collections::HashSet;

use axum::body::Body;
use http::Method;
use monitoring_tower::MonitoringLayer;

use crate::support::{ALICE, Service, exchange, on_both_databases, request, send};

on_both_databases! {
    every_series_of_the_library_has_a_help_text
}

async fn every_series_of_the_library_has_a_help_text(service: &Service) {
    let app = service.app.clone().layer(MonitoringLayer::new(&service.monitoring).skip_nothing());
    send(&app, Method::GET, "/events", Some(ALICE), None).await.data();
    for accept in ["text/plain", "application/openmetrics-text"] {
        service.monitoring.recorder().flush().await.unwrap();
        let request = request(Method::GET, "/metrics/prometheus", Some(ALICE)).header("accept", accept);
        let answer = exchange(&service.app, request.body(Body::empty()).unwrap()).await;
        let named = |prefix: &str| -> HashSet<&str> {
            let lines = answer.text().lines().filter_map(|line| line.strip_prefix(prefix));
            lines.map(|rest| rest.split(' ').next().unwrap()).collect()
        };
        let (typed, helped) = (named("# TYPE "), named("# HELP "));
        assert!(typed.iter().any(|name| name.starts_with("http_server_")), "{}", answer.text());
        assert!(typed.iter().any(|name| name.starts_with("monitoring_ingest_")), "{}", answer.text());
        assert_eq!(typed, helped);
        if accept != "text/plain" {
            let with_unit =
                |unit| typed.iter().copied().filter(|name| name.ends_with(unit)).collect::<HashSet<_>>();
            assert_eq!(named("# UNIT "), &with_unit("_seconds") | &with_unit("_bytes"));
        }
    }
}
