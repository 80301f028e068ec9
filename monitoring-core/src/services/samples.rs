//! Samples of series that another system keeps, stored as they were sent: cumulative counters with
//! their resets, readings, staleness markers bit for bit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use chrono::{DateTime, Utc};

use crate::config::Retention;
use crate::error::Result;
use crate::model::{
    Exemplar, Invalid, Labels, Limits, MetricType, Sample, SampleValue, Series, SeriesKind, Temporality, cut,
    is_any_label_name, is_metric_name, is_reserved_metric,
};
use crate::promql::NAME;
use crate::random::random_u64;
use crate::store::exemplars::{ExemplarBucket, ExemplarStore as _};
use crate::store::metrics::{MetricStore as _, Novelty, registered};
use crate::store::{AsConnection, Connection, Context, Transaction};

/// Refusals told in one report.
const REFUSALS_MAX: usize = 20;
/// Characters of each: enough for a name, what is wrong with it and what would be right.
const REFUSAL_CHARS_MAX: usize = 500;

/// A series another system sends samples of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SentSeries {
    /// All labels, the name as `__name__` among them.
    pub labels: Vec<(String, String)>,
    /// Times and values.
    pub samples: Vec<(DateTime<Utc>, f64)>,
    /// Exemplars; they may come without samples, for a series that has some already.
    pub exemplars: Vec<Exemplar>,
}

/// What became of the series that were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentReport {
    /// Samples stored, those among them that were stored before.
    pub samples_stored: usize,
    /// Exemplars stored, likewise.
    pub exemplars_stored: usize,
    /// Exemplars that cannot be stored, or are of no known series. That is no reason to refuse a sample.
    pub exemplars_dropped: usize,
    /// Series and samples that cannot be stored, whenever they are sent again.
    pub refused: usize,
    /// Why, for the first of them.
    pub reasons: Vec<String>,
}

impl SentReport {
    fn refuse(&mut self, count: usize, reason: impl FnOnce() -> String) {
        self.refused += count;
        if self.reasons.len() < REFUSALS_MAX {
            self.reasons.push(cut(&reason(), REFUSAL_CHARS_MAX));
        }
    }

    /// Adds what became of others.
    pub fn add(&mut self, other: Self) {
        self.samples_stored += other.samples_stored;
        self.exemplars_stored += other.exemplars_stored;
        self.exemplars_dropped += other.exemplars_dropped;
        self.refused += other.refused;
        self.reasons.extend(other.reasons);
        self.reasons.truncate(REFUSALS_MAX);
    }
}

/// Stores samples of another system's series in one transaction. What makes no sense is left out
/// and reported; the rest is stored. A sample or exemplar that is sent again changes nothing.
///
/// Whoever sends may neither begin a metric that the host describes or has buckets for, nor write what is
/// kept for alerts and for the monitoring itself, and has half of the room for series
/// ([`Limits::series_max`]).
///
/// # Errors
///
/// Storage failed; nothing was stored.
pub async fn store_samples(conn: &mut impl AsConnection, sent: Vec<SentSeries>) -> Result<SentReport> {
    store(&mut conn.as_connection(), sent).await
}

async fn store(connection: &mut Connection<'_>, sent: Vec<SentSeries>) -> Result<SentReport> {
    let context = connection.context().clone();
    let mut report = SentReport::default();
    let mut exemplars = Vec::new();
    let mut check = |sent| checked(sent, &context, &mut exemplars, &mut report);
    let checked: Vec<_> = sent.into_iter().filter_map(&mut check).collect();
    let mut transaction = connection.begin().await?;
    let settings = &context.settings;
    let all = checked.iter().map(|(series, _)| series);
    let mut registered = registered(&mut transaction.store(), all, &settings.limits).await?;
    for (Series { name, .. }, _) in &checked {
        if settings.is_described(name) {
            let metric_type = settings.declared_type(name).unwrap_or(MetricType::Gauge);
            registered.reserve(name, SeriesKind { metric_type, temporality: Temporality::Delta });
        }
    }
    let (mut series, mut samples) = (BTreeMap::new(), Vec::new());
    for (one, of_it) in checked {
        match registered.admit_sent(&one) {
            Ok(()) => {
                samples.extend(of_it);
                series.insert(one.id, one);
            }
            Err(refusal) => report.refuse(of_it.len(), || format!("{} {refusal}", one.name)),
        }
    }
    if !samples.is_empty() {
        let series: Vec<_> = series.into_values().collect();
        let now = context.settings.clock.now();
        transaction.store().record(&series, &samples, Novelty::MaybeRepeated, writer(), now).await?;
    }
    store_exemplars(&mut transaction, exemplars, &mut report).await?;
    transaction.commit().await?;
    report.samples_stored = samples.len();
    Ok(report)
}

/// Stores those of known series: a series is not there for its exemplars alone.
async fn store_exemplars(
    transaction: &mut Transaction<'_>,
    mut exemplars: Vec<(ExemplarBucket, Exemplar)>,
    report: &mut SentReport,
) -> Result<()> {
    if exemplars.is_empty() {
        return Ok(());
    }
    let sent = exemplars.len();
    let ids: BTreeSet<_> = exemplars.iter().map(|(of, _)| of.series_id).collect();
    let known = transaction.store().known_series(&ids.into_iter().collect::<Vec<_>>()).await?;
    exemplars.retain(|(of, _)| known.contains_key(&of.series_id));
    transaction.store().insert_exemplars(&exemplars).await?;
    report.exemplars_stored = exemplars.len();
    report.exemplars_dropped += sent - exemplars.len();
    Ok(())
}

/// Whoever sends to this process shares one writer of totals: transactions are short.
fn writer() -> i64 {
    static WRITER: LazyLock<i64> = LazyLock::new(|| (random_u64() | 1).cast_signed());
    *WRITER
}

/// How many samples would be stored, and what is refused.
#[cfg(any(test, fuzzing))]
pub(crate) fn check_only(sent: Vec<SentSeries>, context: &Context) -> (usize, SentReport) {
    let (mut report, mut exemplars) = (SentReport::default(), Vec::new());
    let check = |sent| checked(sent, context, &mut exemplars, &mut report);
    let samples = sent.into_iter().filter_map(check).map(|(_, samples)| samples.len()).sum();
    (samples, report)
}

/// The series and those of its samples that can be kept. What can be kept of its exemplars is added to
/// the others.
fn checked(
    sent: SentSeries,
    context: &Context,
    exemplars: &mut Vec<(ExemplarBucket, Exemplar)>,
    report: &mut SentReport,
) -> Option<(Series, Vec<Sample>)> {
    let settings = &context.settings;
    let count = sent.samples.len().max(1);
    let series = match series(sent.labels, &settings.limits) {
        Ok(series) => series,
        Err(invalid) => {
            report.exemplars_dropped += sent.exemplars.len();
            report.refuse(count, || invalid.to_string());
            return None;
        }
    };
    let now = settings.clock.now();
    for exemplar in sent.exemplars {
        match checked_exemplar(exemplar, context, now) {
            Some(one) => exemplars.push((ExemplarBucket::of(series.id, one.value, &series.bounds), one)),
            None => report.exemplars_dropped += 1,
        }
    }
    let mut samples = Vec::with_capacity(sent.samples.len());
    for (timestamp, value) in sent.samples {
        match Retention::check(settings.retention.metrics, timestamp, now) {
            Ok(()) => samples.push(sample(&series, timestamp, value)),
            Err(invalid) => report.refuse(1, || format!("a sample of {}: {invalid}", series.name)),
        }
    }
    (!samples.is_empty()).then_some((series, samples))
}

/// The exemplar without secrets, if it can be kept.
fn checked_exemplar(exemplar: Exemplar, context: &Context, now: DateTime<Utc>) -> Option<Exemplar> {
    let exemplar = Exemplar { labels: context.redactor.exemplar(exemplar.labels), ..exemplar };
    let is_of_time = Retention::check(context.settings.retention.metrics, exemplar.timestamp, now).is_ok();
    (is_of_time && exemplar.is_possible()).then_some(exemplar)
}

fn sample(series: &Series, timestamp: DateTime<Utc>, value: f64) -> Sample {
    // Origin zero: series and time alone say which sample it is.
    Sample {
        series_id: series.id,
        timestamp,
        origin: 0,
        value: SampleValue::Number(value),
        observations: 1,
        exemplars: Vec::new(),
    }
}

fn series(labels: Vec<(String, String)>, limits: &Limits) -> std::result::Result<Series, Invalid> {
    let mut invalid = Invalid::default();
    let mut known = Labels::new();
    let mut series_name = String::new();
    if labels.len() > limits.labels_max + 1 {
        return Err(Invalid::field("labels", format!("must have at most {} entries", limits.labels_max)));
    }
    for (name, value) in labels {
        let shown = cut(&name, limits.metric_name_chars_max);
        if value.contains('\0') || value.chars().count() > limits.label_value_chars_max {
            let max = limits.label_value_chars_max;
            invalid.push(
                format!("labels.{shown}"),
                format!("must have at most {max} characters, none of them NUL"),
            );
        } else if name == NAME {
            series_name = value;
        } else if !is_any_label_name(&name) {
            invalid.push(format!("labels.{shown}"), "the name must match [a-zA-Z_][a-zA-Z0-9_]*");
        } else if known.value(&name).is_some() {
            invalid.push(format!("labels.{shown}"), "is given twice");
        } else {
            known.set(name, value);
        }
    }
    if !is_metric_name(&series_name) || series_name.chars().count() > limits.metric_name_chars_max {
        invalid.push(NAME, "must match [a-zA-Z_:][a-zA-Z0-9_:]*, and not be too long");
    } else if is_reserved_metric(&series_name) {
        invalid.push(NAME, "is kept for alerts and metrics of the monitoring system itself");
    }
    invalid.or(())?;
    let metric_type = MetricType::by_convention(&series_name);
    Ok(Series::new(series_name, known, metric_type, Temporality::Cumulative, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(labels: &[(&str, &str)]) -> String {
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        series(labels, &Limits::default()).unwrap_err().to_string()
    }

    #[test]
    fn what_no_series_can_have_is_refused_by_name() {
        assert!(refusal(&[("job", "a")]).contains("__name__"));
        assert!(refusal(&[(NAME, "a-b")]).contains("__name__"));
        assert!(refusal(&[(NAME, "up"), ("a b", "x")]).contains("labels.a b"));
        assert!(refusal(&[(NAME, "up"), ("a", "x"), ("a", "y")]).contains("twice"));
        for name in ["monitoring_events_total", "monitoring_of_tomorrow", "ALERTS", "ALERTS_FOR_STATE"] {
            assert!(refusal(&[(NAME, name)]).contains("itself"), "{name}");
        }
    }

    #[test]
    fn nonsense_is_not_told_at_length() {
        let labels = vec![("-".to_owned(), String::new()); 10_000];
        let refused = series(labels, &Limits::default()).unwrap_err();
        assert_eq!(refused.to_string(), "labels: must have at most 50 entries");
        let mut report = SentReport::default();
        for _ in 0..2 * REFUSALS_MAX {
            report.refuse(1, || "é".repeat(1_000));
        }
        assert!(report.reasons.iter().all(|reason| reason.chars().count() == REFUSAL_CHARS_MAX));
        report.add(report.clone());
        assert_eq!((report.refused, report.reasons.len()), (4 * REFUSALS_MAX, REFUSALS_MAX));
    }

    #[test]
    fn labels_another_system_reserves_are_kept() {
        let labels = [(NAME, "up"), ("__address__", "db:9090")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let series = series(labels, &Limits::default()).unwrap();
        assert_eq!(series.labels.value("__address__"), Some("db:9090"));
    }
}
