//! Prometheus itself reads the exposition, in both formats, and has what was counted. The wait for
//! its scrapes ends when they have happened, not after a time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use chrono::Utc;
use http::Method;
use monitoring_core::{CreateMetricRequest, MetricType};
use monitoring_tower::MonitoringLayer;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::prometheus::{Prometheus, is_installed};
use crate::support::waiting::until;
use crate::support::{ALICE, MOUNT, Service, on_both_databases, send};

on_both_databases! {
    prometheus_scrapes_both_formats_and_has_what_was_counted
    promtool_has_nothing_to_say_about_our_series
    prometheus_writes_to_us_federates_from_us_and_reads_back
    prometheus_has_our_exemplars_and_writes_them_back
    prometheus_discovers_replicas_and_scrapes_each_for_its_own
}

/// Everything a scrape can hold: what was sent, what the layer counted, the system itself.
async fn fill(service: &Service) {
    let batch = json!([
        {"name": "orders_total", "metric_type": "counter", "value": 2, "labels": {"shop": "a\"b\\c\nd é"}},
        {"name": "orders_total", "metric_type": "counter", "value": 3, "labels": {"shop": "a\"b\\c\nd é"}},
        {"name": "temperature_celsius", "metric_type": "gauge", "value": -1.5e-7},
        {"name": "wait_seconds", "metric_type": "histogram", "value": 0.2},
        {"name": "wait_seconds", "metric_type": "histogram", "value": 7},
        {"name": "reply_size_bytes", "metric_type": "summary", "value": 100},
    ]);
    service.post("/metrics", ALICE, batch).await.data();
    let mut connection = service.monitoring.acquire().await.unwrap();
    for (name, help, unit) in [
        ("orders_total", "Orders \"placed\"\nand paid \\", ""),
        ("temperature_celsius", "Outside", ""),
        ("wait_seconds", "In the queue", "seconds"),
        ("reply_size_bytes", "Of answers", "bytes"),
    ] {
        monitoring_core::services::describe_metric(&mut connection, name, help, unit).await.unwrap();
    }
    drop(connection); // on SQLite it is the only one that writes
    let layered = service.app.clone().layer(MonitoringLayer::new(&service.monitoring).skip_nothing());
    send(&layered, Method::GET, "/events", Some(ALICE), None).await.data();
    service
        .post("/events", ALICE, json!({"event_type": "log", "source": "shop", "level": "warn"}))
        .await
        .data();
    service.monitoring.recorder().flush().await.unwrap();
}

/// The service on a socket, and once more below `/classic` for those who cannot read OpenMetrics.
async fn serve(service: &Service) -> SocketAddr {
    async fn without_accept(mut request: Request, next: Next) -> Response {
        request.headers_mut().remove("accept");
        next.run(request).await
    }
    let classic = service.app.clone().layer(from_fn(without_accept));
    let app: Router = service.app.clone().nest("/classic", classic);
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn prometheus_scrapes_both_formats_and_has_what_was_counted(service: &Service) {
    if !is_installed("prometheus") {
        return;
    }
    fill(service).await;
    let address = serve(service).await;
    let job = |name: &str, below: &str| {
        format!(
            "  - job_name: {name}
    metrics_path: {below}{MOUNT}/metrics/prometheus
    authorization: {{credentials: alice}}
    static_configs: [{{targets: ['{address}']}}]
"
        )
    };
    let server = Prometheus::start(&(job("classic", "/classic") + &job("openmetrics", ""))).await;
    server.wait_for("sum_over_time(up[1h]) >= bool 2", &[1.0, 1.0]).await;

    server.wait_for("up", &[1.0, 1.0]).await;
    for (query, expected) in [
        (r#"orders_total{shop="a\"b\\c\nd é"}"#, 5.0),
        ("temperature_celsius", -1.5e-7),
        (r#"wait_seconds_bucket{le="0.25"}"#, 1.0),
        (r#"wait_seconds_bucket{le="+Inf"}"#, 2.0),
        ("wait_seconds_sum", 7.2),
        ("histogram_quantile(1, wait_seconds_bucket)", 7.5),
        ("reply_size_bytes_sum / reply_size_bytes_count", 100.0),
        ("monitoring_total_events >= bool 1", 1.0),
        ("monitoring_open_incidents", 0.0),
        ("sum by (job) (http_server_request_duration_seconds_count)", 1.0),
        (r#"sum by (job) (monitoring_events_total{source="shop",level="warn"})"#, 1.0),
    ] {
        assert_eq!(server.query(query).await, [expected, expected], "{query}");
    }
    for target in server.api("/api/v1/targets").await["activeTargets"].as_array().unwrap() {
        assert_eq!((&target["health"], &target["lastError"]), (&json!("up"), &json!("")), "{target}");
    }
    let known = server.api("/api/v1/targets/metadata?metric=wait_seconds").await;
    let known = known.as_array().unwrap();
    for known in known {
        assert_eq!((&known["type"], &known["help"]), (&json!("histogram"), &json!("In the queue")));
    }
    // Only OpenMetrics has units, so both formats were read.
    let mut units: Vec<_> = known.iter().map(|known| known["unit"].as_str().unwrap()).collect();
    units.sort_unstable();
    assert_eq!(units, ["", "seconds"]);
    let complaints = ["level=warn", "level=error", "Append failed", "append failed", "Error on ingesting"];
    let log = server.log();
    let complaints: Vec<_> = log.lines().filter(|line| complaints.iter().any(|c| line.contains(c))).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

async fn promtool_has_nothing_to_say_about_our_series(service: &Service) {
    if !is_installed("promtool") {
        return;
    }
    fill(service).await;
    let scrape = service.get("/metrics/prometheus", ALICE).await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed");
    promtool.stdin.take().unwrap().write_all(&scrape.body).await.unwrap();
    let said = promtool.wait_with_output().await.unwrap();
    let said = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
    // The names of these two are the specification's.
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with("monitoring_total_")).collect();
    assert!(lines.is_empty(), "{lines:#?}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

async fn prometheus_writes_to_us_federates_from_us_and_reads_back(service: &Service) {
    if !is_installed("prometheus") {
        return;
    }
    fill(service).await;
    let address = serve(service).await;
    let url = format!("http://{address}{MOUNT}/prometheus");
    let jobs = format!(
        "  - job_name: federate
    honor_labels: true
    metrics_path: {MOUNT}/prometheus/federate
    params: {{'match[]': [orders_total, temperature_celsius]}}
    authorization: {{credentials: alice}}
    static_configs: [{{targets: ['{address}']}}]
remote_write:
  - url: {url}/api/v1/write
    authorization: {{credentials: alice}}
    queue_config: {{batch_send_deadline: 1s}}
    write_relabel_configs: [{{source_labels: [__name__], regex: up, action: keep}}]
remote_read:
  - url: {url}/api/v1/read
    authorization: {{credentials: alice}}
    read_recent: true
"
    );
    let server = Prometheus::start(&jobs).await;
    server.wait_for("orders_total{instance=\"\"}", &[5.0]).await;
    server.wait_for("temperature_celsius", &[-1.5e-7]).await;
    // It never scraped these.
    server.wait_for("wait_seconds_count", &[2.0]).await;
    server.wait_for(r#"wait_seconds_bucket{le="0.25"}"#, &[1.0]).await;
    // We never saw this but from it. It writes what it has scraped a little later.
    until("up has been written to us", async || {
        let answer = service.get("/prometheus/api/v1/query?query=up%7Bjob=%22federate%22%7D", ALICE).await;
        answer.json()["data"]["result"][0]["value"][1] == "1"
    })
    .await;
    let log = server.log();
    let complaints: Vec<_> =
        log.lines().filter(|line| line.contains("remote") && line.contains("level=error")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

async fn prometheus_has_our_exemplars_and_writes_them_back(service: &Service) {
    if !is_installed("prometheus") {
        return;
    }
    fill(service).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (name, metric_type, value) in
        [("wait_seconds", MetricType::Histogram, 0.2), ("orders_total", MetricType::Counter, 2.0)]
    {
        let (name, labels) = (name.to_owned(), HashMap::new());
        let request = CreateMetricRequest { name, metric_type, value, labels, timestamp: None };
        // Nothing to escape: this version of Prometheus keeps the backslashes in exemplars.
        let exemplar = [("trace_id", trace), ("note", "a é")].into_iter().collect();
        service.monitoring.recorder().metric_with_exemplar(request, exemplar);
    }
    let address = serve(service).await;
    let jobs = format!(
        "  - job_name: shop
    metrics_path: {MOUNT}/metrics/prometheus
    authorization: {{credentials: alice}}
    static_configs: [{{targets: ['{address}']}}]
remote_write:
  - url: http://{address}{MOUNT}/prometheus/api/v1/write
    authorization: {{credentials: alice}}
    send_exemplars: true
    queue_config: {{batch_send_deadline: 1s}}
    write_relabel_configs:
      - {{source_labels: [__name__], regex: wait_seconds_bucket, action: keep}}
      - {{target_label: __name__, replacement: sent_bucket}}
"
    );
    let server = Prometheus::start(&jobs).await;
    server.wait_for("wait_seconds_count", &[3.0]).await;
    let times = format!("start={}&end={}", Utc::now().timestamp() - 600, Utc::now().timestamp() + 600);
    let theirs = async |query: &str| {
        let path = format!("/api/v1/query_exemplars?query={query}&{times}");
        server.api(&path).await
    };
    let ours = async |query: &str| {
        let path = format!("/prometheus/api/v1/query_exemplars?query={query}&{times}");
        service.get(&path, ALICE).await.json()["data"].take()
    };
    for query in ["wait_seconds_bucket", "orders_total", "http_server_request_duration_seconds_bucket"] {
        let (theirs, ours) = (theirs(query).await, ours(query).await);
        assert_eq!(ours.as_array().unwrap().len(), 1, "{query}: {ours}");
        assert_eq!(theirs[0]["exemplars"], ours[0]["exemplars"], "{query}");
        assert_eq!(theirs[0]["seriesLabels"]["le"], ours[0]["seriesLabels"]["le"], "{query}");
    }
    assert_eq!(ours("wait_seconds_bucket").await[0]["exemplars"][0]["labels"]["trace_id"], trace);
    until("what it scraped from us has been written to us", async || {
        let sent = ours("sent_bucket").await;
        let own = ours("wait_seconds_bucket").await;
        !sent[0].is_null() && sent[0]["exemplars"] == own[0]["exemplars"]
    })
    .await;
    let log = server.log();
    let is_complaint =
        |line: &&str| line.contains("xemplar") && ["warn", "rror"].iter().any(|word| line.contains(word));
    let complaints: Vec<_> = log.lines().filter(is_complaint).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

async fn prometheus_discovers_replicas_and_scrapes_each_for_its_own(service: &Service) {
    if !is_installed("prometheus") {
        return;
    }
    let mut replicas = Vec::new();
    for orders in [2, 3] {
        let (listener, address) = listen().await;
        let (app, monitoring) = service.replica(address).await;
        let order = json!({"name": "orders_total", "metric_type": "counter", "value": orders});
        send(&app, Method::POST, "/metrics", Some(ALICE), Some(order)).await.data();
        tokio::spawn(async move { axum::serve(listener, app).await });
        replicas.push((address, monitoring));
    }
    let jobs = format!(
        "  - job_name: shop
    authorization: {{credentials: alice}}
    http_sd_configs:
      - url: http://{}{MOUNT}/prometheus/sd
        authorization: {{type: Bearer, credentials: alice}}
        refresh_interval: 1s
",
        replicas[0].0
    );
    let server = Prometheus::start(&jobs).await;
    server.wait_for("sum(orders_total)", &[5.0]).await;
    server.wait_for("min(orders_total)", &[2.0]).await;
    let (gone, monitoring) = replicas.pop().unwrap();
    monitoring.shutdown(Duration::from_secs(10)).await;
    until("it is discovered no more", async || {
        let targets = server.api("/api/v1/targets?state=active").await.to_string();
        !targets.contains(&gone.to_string())
    })
    .await;
}
