//! `/metrics/prometheus`

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use crate::support::{ALICE, Answer, Service, exchange, on_both_databases, request};

on_both_databases! {
    a_scrape_shows_the_system_and_everything_sent
    the_scraper_chooses_the_format
    many_series_come_in_many_small_frames
    series_with_the_largest_labels_come_one_by_one
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

/// The frames a scrape comes in, as they come.
async fn frames(service: &Service, path: &str) -> Vec<Bytes> {
    let request = request(Method::GET, path, Some(ALICE)).body(Body::empty()).unwrap();
    let response = service.app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().into_data_stream().map(Result::unwrap).collect().await
}

fn text(frames: &[Bytes]) -> String {
    String::from_utf8(frames.concat()).unwrap()
}

const SCOPES: [&str; 2] = ["/metrics/prometheus", "/metrics/prometheus?scope=process"];

async fn many_series_come_in_many_small_frames(service: &Service) {
    const SERIES: usize = 3_000;
    let sample = |n: usize| json!({"name": "h", "metric_type": "histogram", "value": n, "labels": {"n": n.to_string()}});
    service.post("/metrics", ALICE, (0..SERIES).map(sample).collect()).await.data();
    for path in SCOPES {
        let frames = frames(service, path).await;
        let text = text(&frames);
        assert_eq!(text.lines().filter(|line| line.starts_with("h_count{")).count(), SERIES);
        assert_eq!(text.lines().filter(|line| *line == "# TYPE h histogram").count(), 1);
        // A portion of 256 KiB, which ends with a whole series.
        let largest = frames.iter().map(Bytes::len).max().unwrap();
        assert!(largest < 260 * 1024, "{largest} bytes in a frame of {path}");
        assert!(frames.len() > text.len() / (260 * 1024), "{} frames", frames.len());
        assert!(!frames.iter().any(Bytes::is_empty));
    }
}

/// The labels of a series stand on every line of a histogram, so a few series make a large text.
async fn series_with_the_largest_labels_come_one_by_one(service: &Service) {
    const SERIES: usize = 8;
    let large = "\u{10348}".repeat(500);
    let mut labels: Map<String, Value> =
        (10..59).map(|n| (format!("{n:l>100}"), json!(large.clone()))).collect();
    for n in 0..SERIES {
        labels.insert("n".to_owned(), json!(n.to_string()));
        let sample = json!({"name": "h", "metric_type": "histogram", "value": 1, "labels": labels.clone()});
        service.post("/metrics", ALICE, sample).await.data();
    }
    let federation = "/prometheus/federate?match%5B%5D=%7B__name__%3D~%22h_.%2A%22%7D";
    for path in SCOPES.into_iter().chain([federation]) {
        let frames = frames(service, path).await;
        let text = text(&frames);
        assert_eq!(text.lines().filter(|line| line.starts_with("h_count{")).count(), SERIES);
        let largest = frames.iter().map(Bytes::len).max().unwrap();
        let series = text.len() / SERIES;
        assert!(series > 1024 * 1024, "the test is of large series, not of {series} bytes");
        assert!(largest < 256 * 1024 + series, "{largest} bytes in a frame of {path}");
    }
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
