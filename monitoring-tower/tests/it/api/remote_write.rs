//! `/prometheus/api/v1/write`: samples of another Prometheus.

use axum::body::Body;
use http::{Method, StatusCode};
use prost::Message;
use serde_json::json;

use crate::support::{ALICE, Answer, Service, exchange, on_both_databases, request};

on_both_databases! {
    what_is_written_can_be_queried
    a_sample_sent_twice_counts_once
    what_cannot_be_stored_is_named_and_the_rest_kept
    staleness_markers_survive
    exemplars_are_stored_and_bad_ones_fail_nothing
    what_is_no_remote_write_is_refused
    a_body_that_expands_without_bound_is_refused
}

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    pub exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    #[prost(double, tag = "2")]
    pub value: f64,
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Label {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Sample {
    #[prost(double, tag = "1")]
    pub value: f64,
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

pub(in super::super) fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    let sample = |(timestamp, value): &(i64, f64)| Sample { value: *value, timestamp: *timestamp };
    let (labels, samples) = (labels.iter().map(label).collect(), samples.iter().map(sample).collect());
    TimeSeries { labels, samples, exemplars: Vec::new() }
}

fn label((name, value): &(&str, &str)) -> Label {
    Label { name: (*name).into(), value: (*value).into() }
}

/// The body of a message.
pub(in super::super) fn body(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    let message = WriteRequest { timeseries }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&message).unwrap()
}

pub(in super::super) async fn send(service: &Service, body: Vec<u8>) -> Answer {
    let request = request(Method::POST, "/prometheus/api/v1/write", Some(ALICE))
        .header("content-encoding", "snappy")
        .header("content-type", "application/x-protobuf")
        .header("x-prometheus-remote-write-version", "0.1.0");
    exchange(&service.app, request.body(Body::from(body)).unwrap()).await
}

async fn write(service: &Service, timeseries: Vec<TimeSeries>) -> Answer {
    send(service, body(timeseries)).await
}

async fn ask(service: &Service, query: &str, millis: i64) -> serde_json::Value {
    let path = format!("/prometheus/api/v1/query?query={query}&time={}", millis as f64 / 1000.0);
    let answer = service.get(&path, ALICE).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["data"]["result"].clone()
}

/// Milliseconds since 1970 of an hour ago, as samples must be recent.
fn begin() -> i64 {
    let now = chrono::Utc::now().timestamp_millis();
    now - now % 60_000 - 3_600_000
}

async fn what_is_written_can_be_queried(service: &Service) {
    let begin = begin();
    let samples: Vec<_> = (0..20).map(|n| (begin + n * 15_000, n as f64 * 3.0)).collect();
    let answer =
        write(service, vec![series(&[("__name__", "requests_total"), ("job", "a")], &samples)]).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    assert_eq!(answer.header("x-prometheus-remote-write-samples-written"), "20");
    let end = begin + 19 * 15_000;
    let value = ask(service, "requests_total", end).await;
    assert_eq!(value[0]["metric"], json!({"__name__": "requests_total", "job": "a"}));
    assert_eq!(value[0]["value"][1], "57");
    // A fifth, as Prometheus computes it.
    assert_eq!(ask(service, "rate(requests_total[2m])", end).await[0]["value"][1], "0.19999999999999998");
    assert_eq!(ask(service, "requests_total", end + 300_000).await, json!([]), "it has gone stale");
}

async fn a_sample_sent_twice_counts_once(service: &Service) {
    let begin = begin();
    for _ in 0..2 {
        let sent = series(&[("__name__", "load")], &[(begin, 1.0), (begin + 1_000, 2.0)]);
        assert_eq!(write(service, vec![sent]).await.status, StatusCode::NO_CONTENT);
    }
    let late = series(&[("__name__", "load")], &[(begin - 60_000, 0.5)]);
    assert_eq!(write(service, vec![late]).await.status, StatusCode::NO_CONTENT, "out of order is fine");
    assert_eq!(ask(service, "count_over_time(load[5m])", begin + 1_000).await[0]["value"][1], "3");
}

async fn what_cannot_be_stored_is_named_and_the_rest_kept(service: &Service) {
    let begin = begin();
    let good = series(&[("__name__", "good")], &[(begin, 1.0)]);
    let nameless = series(&[("job", "a")], &[(begin, 1.0)]);
    let ancient = series(&[("__name__", "ancient")], &[(1_000, 1.0)]);
    let reserved = series(&[("__name__", "monitoring_events_total")], &[(begin, 1.0)]);
    let answer = write(service, vec![nameless, good, ancient, reserved]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.header("x-prometheus-remote-write-samples-written"), "1");
    for reason in ["__name__", "a sample of ancient", "itself"] {
        assert!(answer.text().contains(reason), "{reason}: {}", answer.text());
    }
    assert_eq!(ask(service, "good", begin).await[0]["value"][1], "1");
}

async fn staleness_markers_survive(service: &Service) {
    let begin = begin();
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let samples = [(begin, 1.0), (begin + 15_000, stale), (begin + 30_000, f64::NAN)];
    assert_eq!(
        write(service, vec![series(&[("__name__", "up")], &samples)]).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(ask(service, "up", begin + 14_999).await[0]["value"][1], "1");
    assert_eq!(ask(service, "up", begin + 15_000).await, json!([]));
    assert_eq!(ask(service, "up", begin + 30_000).await[0]["value"][1], "NaN");
    assert_eq!(ask(service, "count_over_time(up[5m])", begin + 30_000).await[0]["value"][1], "2");
}

async fn exemplars_are_stored_and_bad_ones_fail_nothing(service: &Service) {
    let begin = begin();
    let exemplar = |trace: &str| Exemplar {
        labels: vec![label(&("trace_id", trace))],
        value: 0.4,
        timestamp: begin - 1_500,
    };
    // Prometheus sends them apart from the samples, and after them.
    let labels = [("__name__", "latency_bucket"), ("le", "0.5")];
    let alone = |trace: &str| TimeSeries { exemplars: vec![exemplar(trace)], ..series(&labels, &[]) };
    let sent = vec![series(&labels, &[(begin, 1.0)]), alone("abc"), alone(&"x".repeat(121)), alone("abc")];
    let answer = write(service, sent).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    assert_eq!(answer.header("x-prometheus-remote-write-samples-written"), "1");
    assert_eq!(answer.header("x-prometheus-remote-write-exemplars-written"), "2");
    let path = format!(
        "/prometheus/api/v1/query_exemplars?query=latency_bucket&start={}&end={}",
        (begin - 1_500) as f64 / 1000.0,
        begin / 1_000
    );
    let found = service.get(&path, ALICE).await.json()["data"].take();
    let time = (begin - 1_500) as f64 / 1_000.0;
    let exemplars = json!([{"labels": {"trace_id": "abc"}, "value": "0.4", "timestamp": time}]);
    let labels = json!({"__name__": "latency_bucket", "le": "0.5"});
    assert_eq!(found, json!([{"seriesLabels": labels, "exemplars": exemplars}]));
}

async fn what_is_no_remote_write_is_refused(service: &Service) {
    is_refused(&send(service, b"no snappy".to_vec()).await, StatusCode::BAD_REQUEST);
    let garbage = snap::raw::Encoder::new().compress_vec(&[0xff; 40]).unwrap();
    is_refused(&send(service, garbage).await, StatusCode::BAD_REQUEST);
    for (name, value) in [("content-encoding", "gzip"), ("content-type", "application/json")] {
        let request = request(Method::POST, "/prometheus/api/v1/write", Some(ALICE)).header(name, value);
        let answer = exchange(&service.app, request.body(Body::empty()).unwrap()).await;
        is_refused(&answer, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}

/// As Prometheus refuses what is wrong.
fn is_refused(answer: &Answer, status: StatusCode) {
    assert_eq!((answer.status, answer.header("content-type")), (status, "application/json"));
    let body = answer.json();
    assert_eq!((&body["status"], &body["errorType"]), (&json!("error"), &json!("bad_data")), "{body}");
}

async fn a_body_that_expands_without_bound_is_refused(service: &Service) {
    // A length of 4 GiB in the head of the block.
    let answer = send(service, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]).await;
    is_refused(&answer, StatusCode::PAYLOAD_TOO_LARGE);
}
