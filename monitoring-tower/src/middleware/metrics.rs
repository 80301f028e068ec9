//! The metrics of a request, after the OpenTelemetry conventions for HTTP servers in Prometheus'
//! naming (<https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use monitoring_core::{Decoded, Labels, MetricType, Series, Temporality, Ticks, default_bounds};

use super::correlation::exemplar;
use super::facts::{Facts, RequestRecord};
use super::{Outcome, route};

/// Sets of series kept ready. Past it all are forgotten: a service has few routes, so whoever gets
/// here names routes by something unbounded, and storage's own limit on series applies.
const CACHED_MAX: usize = 4096;

/// A gauge that stands still is told again, so that a chart of the last minutes has a point.
const RETOLD_AFTER: Duration = Duration::from_secs(60);

/// Methods that appear as they are; any other could be made up by a client.
const METHODS: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "CONNECT", "TRACE"];

#[derive(Debug)]
pub(super) struct HttpMetrics {
    active: Arc<AtomicI64>,
    active_series: Series,
    /// The number of active requests last told, and when.
    active_told: Option<(i64, Ticks)>,
    /// Where in `series` those of a key are.
    cached: HashMap<Box<[u8]>, usize>,
    series: Vec<RequestSeries>,
    /// The key being looked up.
    key: Vec<u8>,
}

#[derive(Debug)]
struct RequestSeries {
    duration: Series,
    request_size: Series,
    response_size: Series,
}

impl HttpMetrics {
    pub(super) fn new(active: Arc<AtomicI64>) -> Self {
        let active_series = Series::new(
            "http_server_active_requests".to_owned(),
            Labels::new(),
            MetricType::Gauge,
            Temporality::Delta,
            Vec::new(),
        );
        Self {
            active,
            active_series,
            active_told: None,
            cached: HashMap::new(),
            series: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Observes one request.
    pub(super) fn observe(
        &mut self,
        request: &RequestRecord<'_>,
        duration: Duration,
        time: DateTime<Utc>,
        decoded: &mut Decoded<'_>,
    ) {
        let series = self.series(request);
        let Facts { trace_id, span_id, .. } = request.facts;
        let labels = || exemplar(trace_id, span_id, &String::from_utf8_lossy(request.request_id));
        decoded.observe_with_exemplar(&series.duration, duration.as_secs_f64(), time, labels);
        if let Some(bytes) = request.facts.request_bytes {
            decoded.observe(&series.request_size, bytes as f64, time);
        }
        if request.facts.status.is_some() {
            decoded.observe(&series.response_size, request.facts.response_bytes as f64, time);
        }
    }

    /// Observes how many requests are under way, when that changed or was not told for long. So
    /// records decoded together make one observation.
    pub(super) fn observe_active(&mut self, decoded: &mut Decoded<'_>) {
        let (active, now) = (self.active.load(Ordering::Relaxed), Ticks::now());
        let is_known = |&(told, at): &(i64, Ticks)| told == active && now.since(at) < RETOLD_AFTER;
        if !self.active_told.as_ref().is_some_and(is_known) {
            self.active_told = Some((active, now));
            decoded.observe(&self.active_series, active as f64, decoded.time(now));
        }
    }

    fn series(&mut self, request: &RequestRecord<'_>) -> &RequestSeries {
        let method = method_label(request.method);
        self.key.clear();
        self.key.extend_from_slice(method.as_bytes());
        self.key.extend_from_slice(&request.facts.status.unwrap_or(0).to_le_bytes());
        self.key.push(request.facts.outcome as u8);
        self.key.extend_from_slice(request.route);
        let at = match self.cached.get(&*self.key) {
            Some(at) => *at,
            None => self.add(RequestSeries::new(method, request)),
        };
        &self.series[at]
    }

    /// Keeps a set of series under the key being looked up.
    fn add(&mut self, series: RequestSeries) -> usize {
        if self.series.len() >= CACHED_MAX {
            self.cached.clear();
            self.series.clear();
        }
        let at = self.series.len();
        self.cached.insert(self.key.as_slice().into(), at);
        self.series.push(series);
        at
    }
}

impl RequestSeries {
    fn new(method: &'static str, request: &RequestRecord<'_>) -> Self {
        let labels = labels(method, request);
        let histogram = |name: &str| {
            let bounds = default_bounds(name).to_vec();
            Series::new(name.to_owned(), labels.clone(), MetricType::Histogram, Temporality::Delta, bounds)
        };
        Self {
            duration: histogram("http_server_request_duration_seconds"),
            request_size: histogram("http_server_request_body_size_bytes"),
            response_size: histogram("http_server_response_body_size_bytes"),
        }
    }
}

fn labels(method: &str, request: &RequestRecord<'_>) -> Labels {
    let route = if request.route.is_empty() {
        route::UNMATCHED.into()
    } else {
        String::from_utf8_lossy(request.route)
    };
    let mut labels = Labels::new();
    labels.set("http_request_method", method);
    labels.set("http_route", route);
    if let Some(status) = request.facts.status {
        labels.set("http_response_status_code", status.to_string());
    }
    if let Some(error_type) = error_type(&request.facts) {
        labels.set("error_type", error_type);
    }
    labels
}

/// Present only on failures: the status, or how the request ended where that tells more.
fn error_type(facts: &Facts) -> Option<String> {
    match (facts.outcome, facts.status) {
        (Outcome::Completed | Outcome::Upgraded, Some(status @ 500..)) => Some(status.to_string()),
        (outcome, _) if outcome.is_regular() => None,
        (outcome, _) => Some(outcome.as_str().to_owned()),
    }
}

fn method_label(method: &[u8]) -> &'static str {
    METHODS.into_iter().find(|known| known.as_bytes() == method).unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_method_makes_no_series_of_its_own() {
        assert_eq!(method_label(b"PATCH"), "PATCH");
        assert_eq!(method_label(b"BREW"), "_OTHER");
        assert_eq!(method_label(b"get"), "_OTHER", "methods are case-sensitive");
    }
}
