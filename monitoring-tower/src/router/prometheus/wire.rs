//! The messages of remote write, versions 1.0 and 2.0, and of remote read, as far as they are used.
//!
//! Sources: <https://prometheus.io/docs/specs/prw/remote_write_spec/>,
//! <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/> and
//! <https://github.com/prometheus/prometheus/blob/main/prompb/remote.proto>.

use chrono::DateTime;
use monitoring_core::Exemplar;
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
    #[prost(message, repeated, tag = "3")]
    pub exemplars: Vec<SentExemplar>,
    /// Native histograms, which are only counted.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub histograms: Vec<Vec<u8>>,
}

/// `prometheus.Exemplar`
#[derive(Clone, PartialEq, Message)]
pub(super) struct SentExemplar {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
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
    #[prost(message, repeated, tag = "4")]
    pub exemplars: Vec<SymbolExemplar>,
}

/// `io.prometheus.write.v2.Exemplar`
#[derive(Clone, PartialEq, Message)]
pub(super) struct SymbolExemplar {
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
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
    /// Exemplars likewise.
    pub malformed_exemplars: usize,
}

/// Names and values.
type Pairs = Vec<(String, String)>;

impl From<WriteRequest> for Sent {
    fn from(request: WriteRequest) -> Self {
        let mut sent = Self::default();
        for series in request.timeseries {
            let exemplars = series.exemplars.into_iter();
            let exemplars = exemplars.map(|one| exemplar(Some(pairs(one.labels)), one.value, one.timestamp));
            let exemplars = exemplars.collect();
            sent.add(Some(pairs(series.labels)), &series.samples, exemplars, series.histograms.len());
        }
        sent
    }
}

impl From<Request> for Sent {
    fn from(request: Request) -> Self {
        let mut sent = Self::default();
        let symbol = |number: &u32| request.symbols.get(*number as usize).cloned();
        let labels = |references: &[u32]| {
            let (pairs, rest) = references.as_chunks::<2>();
            let pairs = pairs.iter().map(|[name, value]| Some((symbol(name)?, symbol(value)?))).collect();
            if rest.is_empty() { pairs } else { None::<Pairs> }
        };
        for series in &request.timeseries {
            let exemplars = series.exemplars.iter();
            let exemplars = exemplars.map(|one| exemplar(labels(&one.labels_refs), one.value, one.timestamp));
            let exemplars = exemplars.collect();
            sent.add(labels(&series.labels_refs), &series.samples, exemplars, series.histograms.len());
        }
        sent
    }
}

fn pairs(labels: Vec<Label>) -> Pairs {
    labels.into_iter().map(|label| (label.name, label.value)).collect()
}

/// `None` if there is no such exemplar.
fn exemplar(labels: Option<Pairs>, value: f64, timestamp: i64) -> Option<Exemplar> {
    let timestamp = DateTime::from_timestamp_millis(timestamp)?;
    Some(Exemplar { labels: labels?.into_iter().collect(), value, timestamp })
}

impl Sent {
    fn add(
        &mut self,
        labels: Option<Pairs>,
        samples: &[Sample],
        exemplars: Vec<Option<Exemplar>>,
        histograms: usize,
    ) {
        self.histograms += histograms;
        let Some(labels) = labels else {
            self.malformed += 1;
            self.malformed_exemplars += exemplars.len();
            return;
        };
        let timed = samples
            .iter()
            .filter_map(|sample| Some((DateTime::from_timestamp_millis(sample.timestamp)?, sample.value)));
        let timed: Vec<_> = timed.collect();
        self.malformed += samples.len() - timed.len();
        let count = exemplars.len();
        let exemplars: Vec<_> = exemplars.into_iter().flatten().collect();
        self.malformed_exemplars += count - exemplars.len();
        if !samples.is_empty() || !exemplars.is_empty() {
            self.series.push(SentSeries { labels, samples: timed, exemplars });
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
                exemplars: vec![SentExemplar {
                    labels: vec![label("trace_id", "a")],
                    value: 1.5,
                    timestamp: 1_999,
                }],
                histograms: Vec::new(),
            }],
        };
        let second = Request {
            symbols: ["", "__name__", "up", "job", "a", "trace_id"].map(str::to_owned).to_vec(),
            timeseries: vec![SymbolSeries {
                labels_refs: vec![1, 2, 3, 4],
                samples,
                exemplars: vec![SymbolExemplar { labels_refs: vec![5, 4], value: 1.5, timestamp: 1_999 }],
                histograms: Vec::new(),
            }],
        };
        assert_eq!(Sent::from(first), Sent::from(second));
    }

    #[test]
    fn a_symbol_that_is_missing_costs_its_series_only() {
        let exemplar = |labels_refs| SymbolExemplar { labels_refs, value: 1.0, timestamp: 0 };
        let series = |labels_refs| SymbolSeries {
            labels_refs,
            samples: vec![Sample { value: 1.0, timestamp: 0 }],
            exemplars: vec![exemplar(vec![0, 1]), exemplar(vec![0, 7])],
            histograms: Vec::new(),
        };
        let request = Request {
            symbols: vec!["__name__".into(), "up".into()],
            timeseries: vec![series(vec![0, 1]), series(vec![0, 9]), series(vec![0])],
        };
        let sent = Sent::from(request);
        assert_eq!((sent.series.len(), sent.malformed), (1, 2));
        assert_eq!((sent.series[0].exemplars.len(), sent.malformed_exemplars), (1, 5));
    }
}
