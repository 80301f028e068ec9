//! Metrics: observations, the series they belong to, and the samples series are made of.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Exemplar, Invalid, Labels, Limits, MetricType, SeriesId, Temporality, bucket_of, check_chars,
    is_label_name, is_metric_name, truncate,
};

/// One observation to be stored: an increment, a reading or a measurement, by type.
///
/// ```
/// use monitoring_core::{CreateMetricRequest, MetricType};
///
/// let one_more = CreateMetricRequest {
///     name: "http_requests_total".to_string(),
///     metric_type: MetricType::Counter,
///     value: 1.0,
///     labels: [("method".to_string(), "GET".to_string())].into(),
///     timestamp: None,
/// };
/// # let _ = one_more;
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateMetricRequest {
    /// Name after Prometheus conventions, such as `http_requests_total`.
    pub name: String,
    /// How to read the value.
    pub metric_type: MetricType,
    /// The increment, reading or measurement.
    pub value: f64,
    /// Dimensions. Few values each: every combination is a series of its own.
    #[serde(default)]
    pub labels: HashMap<String, String>,
    /// When it was observed; now if absent.
    #[serde(default)]
    pub timestamp: Option<DateTime<Utc>>,
}

impl CreateMetricRequest {
    /// A rough size in memory, for bounding queues in bytes.
    pub(crate) fn approximate_bytes(&self) -> usize {
        let labels = self.labels.iter().map(|(name, value)| 64 + name.len() + value.len());
        size_of::<Self>() + self.name.len() + labels.sum::<usize>()
    }

    /// Checks the request and makes the observation of it. `bounds` are a histogram's upper
    /// bucket bounds; `None` takes [`default_bounds`].
    pub(crate) fn into_observation(
        self,
        now: DateTime<Utc>,
        bounds: Option<Vec<f64>>,
        limits: &Limits,
    ) -> Result<Observation, Invalid> {
        let mut invalid = Invalid::default();
        check_name(&self.name, limits, &mut invalid);
        check_labels(&self.labels, self.metric_type, limits, &mut invalid);
        check_value(self.metric_type, self.value, &mut invalid);
        let bounds = match self.metric_type {
            MetricType::Histogram => bounds.unwrap_or_else(|| default_bounds(&self.name).to_vec()),
            _ => Vec::new(),
        };
        check_bounds(&bounds, limits, &mut invalid);
        invalid.or(())?;
        let timestamp = truncate(self.timestamp.unwrap_or(now));
        let series = Series::new(self.name, self.labels.into(), self.metric_type, Temporality::Delta, bounds);
        Ok(Observation { series, value: self.value, timestamp, exemplar: None })
    }
}

fn check_name(name: &str, limits: &Limits, invalid: &mut Invalid) {
    if !is_metric_name(name) {
        invalid.push("name", "must match [a-zA-Z_:][a-zA-Z0-9_:]*");
    }
    check_chars("name", name, limits.metric_name_chars_max, invalid);
}

fn check_labels(labels: &HashMap<String, String>, kind: MetricType, limits: &Limits, invalid: &mut Invalid) {
    if labels.len() > limits.labels_max {
        invalid.push("labels", format!("must have at most {} entries", limits.labels_max));
    }
    for (name, value) in labels {
        let field = format!("labels.{}", super::cut(name, 100));
        if kind.reserves(name) {
            invalid.push(&field, format!("is reserved in a {kind}"));
        } else if !is_label_name(name) {
            invalid.push(&field, "the name must match [a-zA-Z_][a-zA-Z0-9_]* and not start with __");
        }
        check_chars(&field, name, limits.metric_name_chars_max, invalid);
        check_chars(&field, value, limits.label_value_chars_max, invalid);
        if value.contains('\0') {
            invalid.push(&field, "must not contain NUL");
        }
    }
}

fn check_value(kind: MetricType, value: f64, invalid: &mut Invalid) {
    if kind.takes(value) {
        return;
    }
    if kind == MetricType::Counter {
        invalid.push("value", "a counter's value is an increment: a finite number, zero or more");
    } else {
        invalid.push("value", format!("a {kind}'s value is one measurement: a finite number"));
    }
}

pub(crate) fn check_bounds(bounds: &[f64], limits: &Limits, invalid: &mut Invalid) {
    if bounds.len() > limits.buckets_max {
        invalid.push("buckets", format!("must have at most {} bounds", limits.buckets_max));
    }
    let rising = bounds.windows(2).all(|pair| pair[0] < pair[1]);
    if !rising || bounds.iter().any(|bound| !bound.is_finite()) {
        invalid.push("buckets", "must be finite and strictly rising; +Inf is implied");
    }
}

/// Upper bucket bounds for a histogram nobody configured, chosen by the unit its name ends with:
/// seconds after the OpenTelemetry HTTP conventions, the same in milliseconds, powers of four
/// in bytes, and else a 1–2.5–5 ladder from 0.005 to 10,000.
#[must_use]
pub fn default_bounds(name: &str) -> &'static [f64] {
    const SECONDS: &[f64] =
        &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    const MILLISECONDS: &[f64] =
        &[5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1e3, 2.5e3, 5e3, 7.5e3, 1e4];
    const BYTES: &[f64] =
        &[256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];
    const LADDER: &[f64] = &[
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3,
        2.5e3, 5e3, 1e4,
    ];
    match name {
        _ if name.ends_with("_seconds") => SECONDS,
        _ if name.ends_with("_ms") || name.ends_with("_milliseconds") => MILLISECONDS,
        _ if name.ends_with("_bytes") => BYTES,
        _ => LADDER,
    }
}

/// A checked observation and the series it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The series.
    pub series: Series,
    /// The increment, reading or measurement.
    pub value: f64,
    /// When it was observed.
    pub timestamp: DateTime<Utc>,
    /// Labels that say where it came from, if it may serve as an exemplar.
    pub exemplar: Option<Labels>,
}

impl Observation {
    /// A rough size in memory, for bounding queues in bytes.
    pub(crate) fn approximate_bytes(&self) -> usize {
        let exemplar = if self.exemplar.is_some() { Exemplar::BYTES } else { 0 };
        size_of::<Self>() - size_of::<Series>() + self.series.approximate_bytes() + exemplar
    }

    /// The exemplar it is, if it may serve as one.
    pub(crate) fn exemplar(&self) -> Option<Exemplar> {
        let Self { value, timestamp, ref exemplar, .. } = *self;
        exemplar.clone().map(|labels| Exemplar { labels, value, timestamp })
    }

    /// The sample this observation alone amounts to.
    #[must_use]
    pub fn sample_value(&self) -> SampleValue {
        if self.series.metric_type.is_distribution() {
            let mut distribution = Distribution::new(self.series.bounds.len());
            distribution.observe(self.value, &self.series.bounds);
            SampleValue::Distribution(distribution)
        } else {
            SampleValue::Number(self.value)
        }
    }
}

/// A metric's name with one set of labels: what samples refer to.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Follows from name, labels and bounds.
    pub id: SeriesId,
    /// The metric's name.
    pub name: String,
    /// The labels.
    pub labels: Labels,
    /// How to read its values.
    pub metric_type: MetricType,
    /// What its stored values mean.
    pub temporality: Temporality,
    /// Upper bucket bounds of a histogram, rising, without `+Inf`; else empty.
    pub bounds: Vec<f64>,
}

impl Series {
    /// The series of this name and these labels.
    #[must_use]
    pub fn new(
        name: String,
        labels: Labels,
        metric_type: MetricType,
        temporality: Temporality,
        bounds: Vec<f64>,
    ) -> Self {
        let id = series_id(&name, &labels, &bounds);
        Self { id, name, labels, metric_type, temporality, bounds }
    }

    /// The series with labels cut to the limits, and whether any was; `None` if it is fit as it is.
    pub(crate) fn fitted(&self, limits: &Limits) -> Option<(Self, bool)> {
        let (labels, was_cut) = self.labels.fitted(self.metric_type, limits)?;
        Some((self.with_labels(labels), was_cut))
    }

    /// The series that has these labels instead.
    pub(crate) fn with_labels(&self, labels: Labels) -> Self {
        Self::new(self.name.clone(), labels, self.metric_type, self.temporality, self.bounds.clone())
    }

    /// A rough size in memory, for bounding what holds many.
    pub(crate) fn approximate_bytes(&self) -> usize {
        let labels = self.labels.iter().map(|(name, value)| 64 + name.len() + value.len());
        size_of::<Self>() + self.name.len() + labels.sum::<usize>() + 8 * self.bounds.len()
    }
}

/// Lengths stand before the texts, so no two different series have the same input.
fn series_id(name: &str, labels: &Labels, bounds: &[f64]) -> SeriesId {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    text(name);
    for (name, value) in labels.iter() {
        text(name);
        text(value);
    }
    for bound in bounds {
        hash.update(bound.to_le_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    SeriesId::new(i64::from_be_bytes(first))
}

/// Measurements counted in buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// How many measurements.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Measurements per bucket, each bucket on its own (not cumulated), the last one up to `+Inf`.
    pub buckets: Vec<u64>,
}

impl Distribution {
    /// Nothing measured yet, with `bounds` bounds and so one bucket more. Without bounds (a
    /// summary) there are no buckets.
    #[must_use]
    pub fn new(bounds: usize) -> Self {
        let buckets = if bounds == 0 { 0 } else { bounds + 1 };
        Self { count: 0, sum: 0.0, buckets: vec![0; buckets] }
    }

    /// Counts one measurement. A value equal to a bound belongs below it, as `le` says.
    pub fn observe(&mut self, value: f64, bounds: &[f64]) {
        self.count += 1;
        self.sum += value;
        if let Some(count) = self.buckets.get_mut(bucket_of(value, bounds)) {
            *count += 1;
        }
    }

    /// Takes out what another distribution of the same buckets measured.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.count = self.count.saturating_sub(other.count);
        self.sum -= other.sum;
        for (count, less) in self.buckets.iter_mut().zip(&other.buckets) {
            *count = count.saturating_sub(*less);
        }
    }

    /// Adds what another distribution of the same buckets measured.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        for (count, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
    }
}

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram or summary.
    Distribution(Distribution),
}

/// One stored value of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series.
    pub series_id: SeriesId,
    /// When it was observed, or the end of the interval it sums up.
    pub timestamp: DateTime<Utc>,
    /// Tells samples of one series and instant apart, so that a repeated write adds nothing and
    /// two replicas' increments both count. Zero where the sender's timestamp is the identity.
    pub origin: i64,
    /// The value.
    pub value: SampleValue,
    /// How many observations it sums up.
    pub observations: u64,
    /// Some of these on their way in, at most one of each bucket. They are stored apart.
    pub exemplars: Vec<Exemplar>,
}

/// A sample with the series it belongs to, as queries return it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Metric {
    /// The metric's name.
    pub name: String,
    /// How to read the value.
    pub metric_type: MetricType,
    /// The increment, the reading, or the sum of the measurements.
    pub value: f64,
    /// Dimensions.
    pub labels: Labels,
    /// When it was observed, or the end of the interval it sums up.
    pub timestamp: DateTime<Utc>,
    /// How many measurements a histogram's or summary's sample holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Measurements per bucket of a histogram, by upper bound; not cumulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Vec<(String, u64)>>,
}

/// Which samples to return. Everything given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MetricFilter {
    /// Only of this metric.
    pub name: Option<String>,
    /// Only of this type.
    pub metric_type: Option<MetricType>,
    /// Only of series with all of these labels.
    pub labels: Vec<(String, String)>,
    /// At or after this time.
    pub start_time: Option<DateTime<Utc>>,
    /// Before this time.
    pub end_time: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(metric_type: MetricType, value: f64) -> CreateMetricRequest {
        CreateMetricRequest {
            name: "latency_seconds".to_owned(),
            metric_type,
            value,
            labels: HashMap::new(),
            timestamp: None,
        }
    }

    fn observe(request: CreateMetricRequest) -> Result<Observation, Invalid> {
        request.into_observation(DateTime::UNIX_EPOCH, None, &Limits::default())
    }

    #[test]
    fn a_counter_never_goes_down() {
        assert!(observe(request(MetricType::Counter, -1.0)).is_err());
        assert!(observe(request(MetricType::Counter, f64::NAN)).is_err());
        assert!(observe(request(MetricType::Gauge, -1.0)).is_ok());
    }

    #[test]
    fn a_measurement_on_the_bound_counts_below_it() {
        let observation = observe(request(MetricType::Histogram, 0.01)).unwrap();
        let SampleValue::Distribution(distribution) = observation.sample_value() else {
            panic!("a histogram's sample is a distribution");
        };
        assert_eq!(distribution.buckets.iter().position(|count| *count == 1), Some(1));
    }

    #[test]
    fn a_measurement_past_every_bound_counts_in_the_last_bucket() {
        let mut distribution = Distribution::new(2);
        distribution.observe(9.0, &[1.0, 2.0]);
        assert_eq!(distribution.buckets, [0, 0, 1]);
    }

    #[test]
    fn le_is_reserved_in_histograms() {
        let mut request = request(MetricType::Histogram, 1.0);
        request.labels.insert("le".to_owned(), "1".to_owned());
        assert!(observe(request).is_err());
    }

    #[test]
    fn series_id_depends_on_where_texts_end() {
        let id = |labels: &[(&str, &str)]| {
            let labels = labels.iter().copied().collect();
            Series::new("m".into(), labels, MetricType::Gauge, Temporality::Delta, vec![]).id
        };
        assert_eq!(id(&[("a", "b"), ("c", "d")]), id(&[("c", "d"), ("a", "b")]));
        assert_ne!(id(&[("a", "bc")]), id(&[("ab", "c")]));
    }
}
