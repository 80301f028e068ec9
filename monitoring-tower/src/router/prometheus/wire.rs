//! The messages of remote write, versions 1.0 and 2.0, and of remote read, as far as they are used.
//!
//! Sources: <https://prometheus.io/docs/specs/prw/remote_write_spec/>,
//! <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/> and
//! <https://github.com/prometheus/prometheus/blob/main/prompb/remote.proto>.

use chrono::DateTime;
use monitoring_core::services::SentSeries;
use prost::Message;

/// `prometheus.WriteRequest`
#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`
#[derive(Clone, PartialEq, Message)]
pub(super) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Native histograms, which are only counted.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub histograms: Vec<Vec<u8>>,
}

/// `prometheus.Label`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Label {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `prometheus.Sample`, and `io.prometheus.write.v2.Sample`
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Sample {
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// `io.prometheus.write.v2.Request`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(string, repeated, tag = "4")]
    pub symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    pub timeseries: Vec<SymbolSeries>,
}

/// `io.prometheus.write.v2.TimeSeries`
#[derive(Clone, PartialEq, Message)]
pub(super) struct SymbolSeries {
    /// Names and values in turn, by their numbers among the symbols.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Native histograms, which are only counted.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub histograms: Vec<Vec<u8>>,
}

/// `prometheus.ReadRequest`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    pub queries: Vec<ReadQuery>,
}

/// `prometheus.Query`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadQuery {
    /// Included, in milliseconds since 1970.
    #[prost(int64, tag = "1")]
    pub start_timestamp_ms: i64,
    /// Included.
    #[prost(int64, tag = "2")]
    pub end_timestamp_ms: i64,
    #[prost(message, repeated, tag = "3")]
    pub matchers: Vec<LabelMatcher>,
}

/// `prometheus.LabelMatcher`
#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelMatcher {
    /// Equal, not equal, matching, not matching.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub value: String,
}

/// `prometheus.ReadResponse`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<ReadResult>,
}

/// `prometheus.QueryResult`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadResult {
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

/// What both versions come down to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sent {
    pub series: Vec<SentSeries>,
    /// Native histograms, which cannot be stored.
    pub histograms: usize,
    /// Series whose symbols are missing, and samples of no possible time.
    pub malformed: usize,
}

impl From<WriteRequest> for Sent {
    fn from(request: WriteRequest) -> Self {
        let mut sent = Self::default();
        for series in request.timeseries {
            let labels = series.labels.into_iter().map(|label| (label.name, label.value)).collect();
            sent.add(Some(labels), &series.samples, series.histograms.len());
        }
        sent
    }
}

impl From<Request> for Sent {
    fn from(request: Request) -> Self {
        let mut sent = Self::default();
        let symbol = |number: &u32| request.symbols.get(*number as usize).cloned();
        for series in &request.timeseries {
            let (pairs, rest) = series.labels_refs.as_chunks::<2>();
            let labels = pairs.iter().map(|[name, value]| Some((symbol(name)?, symbol(value)?))).collect();
            let labels = if rest.is_empty() { labels } else { None };
            sent.add(labels, &series.samples, series.histograms.len());
        }
        sent
    }
}

impl Sent {
    fn add(&mut self, labels: Option<Vec<(String, String)>>, samples: &[Sample], histograms: usize) {
        self.histograms += histograms;
        let Some(labels) = labels else {
            self.malformed += 1;
            return;
        };
        let timed = samples
            .iter()
            .filter_map(|sample| Some((DateTime::from_timestamp_millis(sample.timestamp)?, sample.value)));
        let timed: Vec<_> = timed.collect();
        self.malformed += samples.len() - timed.len();
        if !samples.is_empty() {
            self.series.push(SentSeries { labels, samples: timed });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_say_the_same() {
        let samples = vec![Sample { value: 1.5, timestamp: 2_000 }];
        let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
        let first = WriteRequest {
            timeseries: vec![TimeSeries {
                labels: vec![label("__name__", "up"), label("job", "a")],
                samples: samples.clone(),
                histograms: Vec::new(),
            }],
        };
        let second = Request {
            symbols: ["", "__name__", "up", "job", "a"].map(str::to_owned).to_vec(),
            timeseries: vec![SymbolSeries { labels_refs: vec![1, 2, 3, 4], samples, histograms: Vec::new() }],
        };
        assert_eq!(Sent::from(first), Sent::from(second));
    }

    #[test]
    fn a_symbol_that_is_missing_costs_its_series_only() {
        let series = |labels_refs| SymbolSeries {
            labels_refs,
            samples: vec![Sample { value: 1.0, timestamp: 0 }],
            histograms: Vec::new(),
        };
        let request = Request {
            symbols: vec!["__name__".into(), "up".into()],
            timeseries: vec![series(vec![0, 1]), series(vec![0, 9]), series(vec![0])],
        };
        let sent = Sent::from(request);
        assert_eq!((sent.series.len(), sent.malformed), (1, 2));
    }
}
