//! `/prometheus/federate` and `/prometheus/api/v1/read`: what is stored, for another Prometheus.

use axum::body::Body;
use http::{Method, StatusCode};
use prost::Message;
use serde_json::json;

use super::remote_write::TimeSeries;
use crate::support::{ALICE, Answer, Service, exchange, on_both_databases, request};

on_both_databases! {
    federation_shows_the_newest_samples
    federation_refuses_what_is_no_selector
    federation_counts_before_it_reads
    remote_read_answers_with_samples
    remote_read_takes_every_comparison
    remote_read_refuses_what_it_cannot_read
    remote_read_answers_only_who_accepts_samples
    answers_are_compressed_where_that_is_accepted
}

#[derive(Clone, PartialEq, Message)]
struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<Query>,
    #[prost(int32, repeated, tag = "2")]
    accepted_response_types: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    end: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<Matcher>,
}

#[derive(Clone, PartialEq, Message)]
struct Matcher {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

/// A counter that was at 5 an hour ago and is at 7 now, and a gauge.
async fn fill(service: &Service) {
    let hour_ago = chrono::Utc::now() - chrono::TimeDelta::hours(1);
    let order = |value: u32| json!({"name": "orders_total", "metric_type": "counter", "value": value, "labels": {"shop": "a\"b\\c\nd"}});
    let mut old = order(5);
    old["timestamp"] = json!(hour_ago);
    let gauge = json!({"name": "temperature_celsius", "metric_type": "gauge", "value": -1.5, "labels": {"instance": "outside"}});
    service.post("/metrics", ALICE, json!([old, order(2), gauge])).await.data();
}

async fn federation_shows_the_newest_samples(service: &Service) {
    fill(service).await;
    let path =
        "/prometheus/federate?match[]=orders_total&match[]=%7B__name__%3D~%22temp.*%7Corders_total%22%7D";
    let answer = service.get(path, ALICE).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[0], "# TYPE orders_total untyped");
    let (orders, time) = lines[1].rsplit_once(' ').unwrap();
    assert_eq!(orders, r#"orders_total{shop="a\"b\\c\nd",instance=""} 7"#);
    let age = chrono::Utc::now().timestamp_millis() - time.parse::<i64>().unwrap();
    assert!((0..60_000).contains(&age), "{age}");
    assert_eq!(lines[2], "# TYPE temperature_celsius untyped");
    assert!(lines[3].starts_with(r#"temperature_celsius{instance="outside"} -1.5 "#), "{}", lines[3]);
}

async fn federation_refuses_what_is_no_selector(service: &Service) {
    for selector in ["1%2B1", "rate(x[5m])", "%7B%7D", "x%7B"] {
        let answer = service.get(&format!("/prometheus/federate?match[]={selector}"), ALICE).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{selector}: {}", answer.text());
        assert_eq!(answer.json()["errorType"], "bad_data");
    }
    assert_eq!(service.get("/prometheus/federate", ALICE).await.text(), "");
}

async fn federation_counts_before_it_reads(service: &Service) {
    let of = |selector: &str, count| {
        format!("/prometheus/federate?{}", format!("match[]={selector}&").repeat(count))
    };
    let refused = service.get(&of("%7B", 101), ALICE).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text().contains("at most 100 selectors are taken at once"), "{}", refused.text());
    let selector = format!("up%7B{}%7D", vec!["a%3D~%22b%7Cc%22"; 26].join(","));
    let refused = service.get(&of(&selector, 4), ALICE).await;
    assert!(refused.text().contains("at most 100 regular expressions"), "{}", refused.text());
}

async fn send(service: &Service, body: Vec<u8>) -> Answer {
    let request = request(Method::POST, "/prometheus/api/v1/read", Some(ALICE))
        .header("content-encoding", "snappy")
        .header("content-type", "application/x-protobuf")
        .header("x-prometheus-remote-read-version", "0.1.0");
    exchange(&service.app, request.body(Body::from(body)).unwrap()).await
}

async fn read(service: &Service, queries: Vec<Query>) -> Vec<QueryResult> {
    let message = ReadRequest { queries, accepted_response_types: vec![1, 0] }.encode_to_vec();
    let answer = send(service, snap::raw::Encoder::new().compress_vec(&message).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/x-protobuf");
    assert_eq!(answer.header("content-encoding"), "snappy");
    let content = snap::raw::Decoder::new().decompress_vec(&answer.body).unwrap();
    ReadResponse::decode(&*content).unwrap().results
}

fn query(kind: i32, name: &str, value: &str, minutes: i64) -> Query {
    let end = chrono::Utc::now().timestamp_millis();
    let matcher = Matcher { kind, name: name.to_owned(), value: value.to_owned() };
    Query { start: end - minutes * 60_000, end, matchers: vec![matcher] }
}

async fn remote_read_answers_with_samples(service: &Service) {
    fill(service).await;
    let gauge = query(0, "__name__", "temperature_celsius", 5);
    let counter = query(0, "__name__", "orders_total", 120);
    let recent = query(0, "__name__", "orders_total", 30);
    let everything = Query { start: i64::MIN, end: i64::MAX, ..counter.clone() };
    let results = read(service, vec![gauge, counter, recent, everything]).await;
    let [gauge, counter, recent, everything] = &results[..] else { panic!("{results:?}") };
    let labels = gauge.timeseries[0].labels.iter().map(|label| (&*label.name, &*label.value));
    let expected = [("__name__", "temperature_celsius"), ("instance", "outside")];
    assert_eq!(labels.collect::<Vec<_>>(), expected);
    assert_eq!(gauge.timeseries[0].samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [-1.5]);
    for (result, first) in [(counter, 5.0), (recent, 5.0), (everything, 5.0)] {
        let samples = &result.timeseries[0].samples;
        assert_eq!((samples[0].value, samples.last().unwrap().value), (first, 7.0));
        let gaps = samples.windows(2).map(|pair| pair[1].timestamp - pair[0].timestamp);
        assert!(gaps.clone().all(|gap| (1..=240_000).contains(&gap)), "{:?}", gaps.collect::<Vec<_>>());
    }
}

async fn remote_read_takes_every_comparison(service: &Service) {
    fill(service).await;
    let names = |result: &QueryResult| {
        let name = |series: &TimeSeries| series.labels[0].value.clone();
        let names = result.timeseries.iter().map(name);
        names.filter(|name| !name.starts_with("monitoring_")).collect::<Vec<_>>()
    };
    let queries = vec![
        query(0, "__name__", "orders_total", 120),
        query(1, "__name__", "orders_total", 120),
        query(2, "__name__", "order.*|temp.*", 120),
        query(3, "__name__", "order.*|nothing", 120),
    ];
    let found: Vec<_> = read(service, queries).await.iter().map(names).collect();
    let (orders, temperature) = ("orders_total", "temperature_celsius");
    assert_eq!(found, [vec![orders], vec![temperature], vec![orders, temperature], vec![temperature]]);
}

async fn remote_read_refuses_what_it_cannot_read(service: &Service) {
    let compressed = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    for body in [b"no snappy".to_vec(), compressed(b"no protobuf")] {
        assert_eq!(send(service, body).await.status, StatusCode::BAD_REQUEST);
    }
    let broken = ReadRequest { queries: vec![query(2, "a", "(", 5)], accepted_response_types: Vec::new() };
    let answer = send(service, compressed(&broken.encode_to_vec())).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["errorType"], "bad_data");
}

async fn remote_read_answers_only_who_accepts_samples(service: &Service) {
    let asked = async |accepted_response_types: Vec<i32>| {
        let queries = vec![query(0, "__name__", "orders_total", 5)];
        let message = ReadRequest { queries, accepted_response_types }.encode_to_vec();
        send(service, snap::raw::Encoder::new().compress_vec(&message).unwrap()).await
    };
    for accepted in [vec![], vec![0], vec![1, 0]] {
        assert_eq!(asked(accepted).await.status, StatusCode::OK);
    }
    for accepted in [vec![1], vec![20]] {
        let refused = asked(accepted).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        let words = "server does not support any of the requested response types";
        assert_eq!(refused.json()["error"], words);
    }
}

async fn answers_are_compressed_where_that_is_accepted(service: &Service) {
    fill(service).await;
    for path in ["/prometheus/federate?match[]=orders_total", "/metrics/prometheus", "/metrics"] {
        let plain = service.get(path, ALICE).await;
        assert_eq!(plain.headers.get("content-encoding"), None, "{path}");
        let gzip = request(Method::GET, path, Some(ALICE)).header("accept-encoding", "gzip");
        let gzip = exchange(&service.app, gzip.body(Body::empty()).unwrap()).await;
        assert_eq!(gzip.header("content-encoding"), "gzip", "{path}");
        assert_eq!(gzip.body[..2], [0x1f, 0x8b], "{path}");
    }
}
