//! `/metrics/prometheus`

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

use crate::support::{ALICE, Answer, Service, exchange, on_both_databases, request};

on_both_databases! {
    a_scrape_shows_the_system_and_everything_sent
    the_scraper_chooses_the_format
    many_series_come_in_many_chunks
    a_replica_shows_its_own_if_asked
}

async fn scrape(service: &Service, accept: &str) -> Answer {
    let request = request(Method::GET, "/metrics/prometheus", Some(ALICE)).header("accept", accept);
    exchange(&service.app, request.body(Body::empty()).unwrap()).await
}

async fn a_scrape_shows_the_system_and_everything_sent(service: &Service) {
    let batch = json!([
        {"name": "orders_total", "metric_type": "counter", "value": 2, "labels": {"shop": "a\"b"}},
        {"name": "orders_total", "metric_type": "counter", "value": 3, "labels": {"shop": "a\"b"}},
        {"name": "wait_seconds", "metric_type": "histogram", "value": 0.2},
    ]);
    service.post("/metrics", ALICE, batch).await.data();
    let answer = scrape(service, "*/*").await;
    let text = answer.text();
    for line in [
        "# TYPE monitoring_total_metrics counter",
        "monitoring_total_metrics 3",
        "# TYPE orders_total counter",
        r#"orders_total{shop="a\"b"} 5"#,
        r#"wait_seconds_bucket{le="0.25"} 1"#,
        r#"wait_seconds_bucket{le="+Inf"} 1"#,
        "wait_seconds_count 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

async fn the_scraper_chooses_the_format(service: &Service) {
    let classic = scrape(service, "text/plain;version=0.0.4").await;
    assert_eq!(classic.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(!classic.text().contains("# EOF"));
    let open = scrape(service, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert_eq!(open.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text().ends_with("# EOF\n"));
}

async fn many_series_come_in_many_chunks(service: &Service) {
    let batch: Value = (0..1_200)
        .map(|n| json!({"name": "g", "metric_type": "gauge", "value": n, "labels": {"n": n.to_string()}}))
        .collect();
    service.post("/metrics", ALICE, batch).await.data();
    let answer = scrape(service, "text/plain").await;
    assert_eq!(answer.text().lines().filter(|line| line.starts_with("g{")).count(), 1_200);
    assert_eq!(answer.text().lines().filter(|line| *line == "# TYPE g gauge").count(), 1);
    assert!(answer.headers.get("content-length").is_none(), "it was gathered in memory");
}

async fn a_replica_shows_its_own_if_asked(service: &Service) {
    let batch: Value = (0..1_200)
        .map(|n| json!({"name": "g", "metric_type": "gauge", "value": n, "labels": {"n": n.to_string()}}))
        .collect();
    service.post("/metrics", ALICE, batch).await.data();
    let own = service.get("/metrics/prometheus?scope=process", ALICE).await;
    let own = own.text();
    assert_eq!(own.lines().filter(|line| line.starts_with("g{")).count(), 1_200);
    assert!(!own.contains("monitoring_total_metrics"), "only the cluster knows:\n{own}");
    let all = service.get("/metrics/prometheus?scope=cluster", ALICE).await;
    let all = all.text();
    assert!(all.contains("monitoring_total_metrics"));
    let neither = service.get("/metrics/prometheus?scope=galaxy", ALICE).await;
    assert_eq!(neither.invalid_fields(), ["scope"]);
}
