//! Metrics: observations in, samples out.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::texts::tidy;
use crate::error::Result;
use crate::ingest::Recorder;
use crate::model::{
    CreateMetricRequest, Event, Invalid, Metric, MetricFilter, MetricMetadata, MetricType, Observation, Page,
    Registered, Sample, SampleValue, Series, SeriesId, SeriesKind, Slice, Temporality,
    event_count_overflow_series, event_count_series, is_own_metric, is_reserved_metric, metric_count_series,
};
use crate::random::random_u64;
use crate::retention;
use crate::store::metrics::{MetricStore as _, Novelty, metric, registered};
use crate::store::{AsConnection, Connection, Context};

/// Stores one observation.
///
/// ```no_run
/// # async fn example(conn: &mut sqlx::SqliteConnection) -> monitoring_core::Result<()> {
/// use monitoring_core::{CreateMetricRequest, MetricType, services};
///
/// services::create_metric(conn, CreateMetricRequest {
///     name: "orders_total".to_string(),
///     metric_type: MetricType::Counter,
///     value: 1.0,
///     labels: [("currency".to_string(), "EUR".to_string())].into(),
///     timestamp: None,
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Nothing was stored: the request breaks a limit, the name belongs to a metric of another type,
/// the metric has as many series as it may have, or storage failed. Only
/// [`Error::Unconfirmed`](crate::Error::Unconfirmed) leaves that open.
pub async fn create_metric(conn: &mut impl AsConnection, request: CreateMetricRequest) -> Result<Metric> {
    let mut metrics = create(&mut conn.as_connection(), vec![request], Fields::Bare).await?;
    Ok(metrics.pop().expect("one request makes one metric"))
}

/// Stores many observations in one transaction: all, or none.
///
/// # Errors
///
/// As [`create_metric`]; each field's name begins with the index of its request, as in
/// `[3].value`.
pub async fn create_metrics(
    conn: &mut impl AsConnection,
    requests: Vec<CreateMetricRequest>,
) -> Result<Vec<Metric>> {
    create(&mut conn.as_connection(), requests, Fields::Indexed).await
}

/// Hands observations to the pipeline's writer and returns once they are committed. Concurrent
/// callers share a transaction, which makes this the cheaper way where nothing else has to happen
/// in the same transaction.
///
/// # Errors
///
/// Nothing was stored: as [`create_metrics`], a name is kept (`ALERTS` and all that begins with
/// `monitoring_`) or declared by the host as another type, or the pipeline has too much to do or is shut down. Only
/// [`Error::Unconfirmed`](crate::Error::Unconfirmed) leaves that open, as for
/// [`submit_events`](super::submit_events); done again, an observation may count twice.
/// What only the database knows, a name's type and the number of series, is up to the writer.
pub async fn submit_metrics(recorder: &Recorder, requests: Vec<CreateMetricRequest>) -> Result<Vec<Metric>> {
    let context = recorder.context();
    let observations = check(context, requests, Fields::Indexed, is_reserved_metric)?;
    let mut registered = Registered::nothing(&context.settings.limits);
    for Observation { series: Series { name, .. }, .. } in &observations {
        if let Some(metric_type) = context.settings.declared_type(name) {
            registered.reserve(name, SeriesKind { metric_type, temporality: Temporality::Delta });
        }
    }
    admit(registered, &observations, Fields::Indexed)?;
    let metrics = observations.iter().map(shown).collect();
    recorder.commit(Vec::new(), observations).await?;
    Ok(metrics)
}

/// Samples, newest first.
///
/// # Errors
///
/// Storage failed.
pub async fn query_metrics(
    conn: &mut impl AsConnection,
    filter: &MetricFilter,
    page: &Page,
) -> Result<Slice<Metric>> {
    let mut connection = conn.as_connection();
    let now = connection.context().settings.clock.now();
    Ok(connection.store().samples(filter, page, now).await?)
}

/// Says what a metric is about (its `HELP` text) and in what it is measured, such as `seconds`;
/// both may be empty. It replaces what was said before. `MonitoringBuilder::describe` says it at
/// the start.
///
/// # Errors
///
/// The name or the unit cannot be that of a metric, the text is too long, or storage failed.
pub async fn describe_metric(conn: &mut impl AsConnection, name: &str, help: &str, unit: &str) -> Result<()> {
    let metadata = MetricMetadata { name: name.into(), help: help.into(), unit: unit.into() };
    metadata.check()?;
    let mut connection = conn.as_connection();
    let help = tidy(&connection.context().redactor, help);
    Ok(connection.store().describe_metric(&MetricMetadata { help, ..metadata }).await?)
}

/// Records one request to an endpoint: its duration in the histogram `http_request_duration_ms`,
/// and one more in the counter `http_requests_total`, both by method, path and status.
///
/// `path` should be the route's template, such as `/users/{id}`: every path is a series of its own.
///
/// # Errors
///
/// As [`create_metric`].
pub async fn track_endpoint_performance<C: AsConnection>(
    method: &str,
    path: &str,
    status: u16,
    duration_ms: f64,
    conn: &mut C,
) -> Result<()> {
    let request = |name: &str, metric_type, value| CreateMetricRequest {
        name: name.to_owned(),
        metric_type,
        value,
        labels: HashMap::from([
            ("method".to_owned(), method.to_owned()),
            ("path".to_owned(), path.to_owned()),
            ("status".to_owned(), status.to_string()),
        ]),
        timestamp: None,
    };
    let requests = vec![
        request("http_request_duration_ms", MetricType::Histogram, duration_ms),
        request("http_requests_total", MetricType::Counter, 1.0),
    ];
    create(&mut conn.as_connection(), requests, Fields::Bare).await.map(drop)
}

/// Merges the totals that observations on single connections left behind, one row a call, into one
/// row a series, and returns how many there were. The pipeline does it by itself; where none runs
/// it should be called every few minutes, outside any transaction. Totals stay exact whatever is
/// recorded meanwhile.
///
/// # Errors
///
/// Storage failed; what was merged before stays merged.
pub async fn fold_metric_totals(conn: &mut impl AsConnection) -> Result<u64> {
    Ok(retention::fold_totals(&mut conn.as_connection()).await?)
}

/// Counts stored events, in the transaction they are stored in. When too many sources are told
/// apart already, further ones are counted together: an event is never refused for its source.
pub(crate) async fn count_events(connection: &mut Connection<'_>, events: &[Event]) -> Result<()> {
    let limits = &connection.context().settings.limits;
    let series: Vec<_> = events.iter().map(event_count_series).collect();
    let mut registered = registered(&mut connection.store(), series.iter(), limits).await?;
    let mut recording = Recording::default();
    for (event, series) in events.iter().zip(series) {
        let series = match registered.admit(&series) {
            Ok(()) => series,
            Err(_) => event_count_overflow_series(event),
        };
        recording.count(series, event.timestamp);
    }
    recording.record(connection).await
}

async fn create(
    connection: &mut Connection<'_>,
    requests: Vec<CreateMetricRequest>,
    fields: Fields,
) -> Result<Vec<Metric>> {
    let context = connection.context();
    let observations = check(context, requests, fields, is_own_metric)?;
    let mut transaction = connection.begin().await?;
    let series = observations.iter().map(|observation| &observation.series);
    let registered = registered(&mut transaction.store(), series, &context.settings.limits).await?;
    admit(registered, &observations, fields)?;
    let mut recording = Recording::default();
    observations.iter().for_each(|observation| recording.observe(observation));
    recording.record(&mut transaction.connection()).await?;
    transaction.commit().await?;
    Ok(observations.iter().map(shown).collect())
}

/// How errors name the fields of a request.
#[derive(Clone, Copy)]
enum Fields {
    /// `value`: there is one request.
    Bare,
    /// `[3].value`: there are many.
    Indexed,
}

impl Fields {
    fn report(self, invalid: &mut Invalid, index: usize, wrong: Invalid) {
        match self {
            Self::Bare => invalid.extend(wrong),
            Self::Indexed => invalid.push_item(index, wrong),
        }
    }
}

fn check(
    context: &Context,
    requests: Vec<CreateMetricRequest>,
    fields: Fields,
    is_kept: fn(&str) -> bool,
) -> Result<Vec<Observation>, Invalid> {
    let max = context.settings.limits.batch_items_max;
    if requests.len() > max {
        return Err(Invalid::field("metrics", format!("must have at most {max} items")));
    }
    let mut invalid = Invalid::default();
    let mut observations = Vec::with_capacity(requests.len());
    for (index, request) in requests.into_iter().enumerate() {
        let mut wrong = Invalid::default();
        if is_kept(&request.name) {
            wrong.push("name", "is kept for a metric of the monitoring system itself");
        }
        match context.observation(request) {
            Ok(observation) => observations.push(observation),
            Err(more) => wrong.extend(more),
        }
        fields.report(&mut invalid, index, wrong);
    }
    invalid.or(observations)
}

fn admit(mut registered: Registered, observations: &[Observation], fields: Fields) -> Result<(), Invalid> {
    let mut invalid = Invalid::default();
    for (index, Observation { series, .. }) in observations.iter().enumerate() {
        if let Err(refusal) = registered.admit(series) {
            fields.report(&mut invalid, index, refusal.into_invalid(&series.name));
        }
    }
    invalid.or(())
}

/// An observation as a query would show it.
fn shown(observation: &Observation) -> Metric {
    metric(&observation.series, &observation.sample_value(), observation.timestamp)
}

/// What one call adds to series.
#[derive(Default)]
struct Recording {
    series: BTreeMap<SeriesId, Series>,
    samples: Vec<Sample>,
    /// Increments of counters of our own, one sample a series and second: by series and second,
    /// the newest time counted and the count.
    counts: BTreeMap<(SeriesId, i64), (DateTime<Utc>, u64)>,
}

impl Recording {
    /// Adds the observation's sample, and counts it.
    fn observe(&mut self, observation: &Observation) {
        let Observation { series, timestamp, .. } = observation;
        self.sample(series.id, *timestamp, observation.sample_value(), 1);
        self.series.entry(series.id).or_insert_with(|| series.clone());
        if let Some(counter) = metric_count_series(series) {
            self.count(counter, *timestamp);
        }
    }

    /// Adds one to a counter of our own.
    fn count(&mut self, counter: Series, timestamp: DateTime<Utc>) {
        let (newest, count) =
            self.counts.entry((counter.id, timestamp.timestamp())).or_insert((timestamp, 0));
        *newest = timestamp.max(*newest);
        *count += 1;
        self.series.entry(counter.id).or_insert(counter);
    }

    fn sample(
        &mut self,
        series_id: SeriesId,
        timestamp: DateTime<Utc>,
        value: SampleValue,
        observations: u64,
    ) {
        let origin = random_u64().cast_signed();
        let exemplars = Vec::new();
        self.samples.push(Sample { series_id, timestamp, origin, value, observations, exemplars });
    }

    /// Stores it under a writer id nobody else has, and without a look at what is packed, so it waits for
    /// no other transaction and none for it, however long the host keeps this one open.
    async fn record(mut self, connection: &mut Connection<'_>) -> Result<()> {
        for ((series_id, _), (newest, count)) in std::mem::take(&mut self.counts) {
            self.sample(series_id, newest, SampleValue::Number(count as f64), count);
        }
        if self.samples.is_empty() {
            return Ok(());
        }
        let now = connection.context().settings.clock.now();
        let series: Vec<_> = self.series.into_values().collect();
        let writer = (random_u64() | 1).cast_signed(); // never that of the folded totals
        Ok(connection.store().record(&series, &self.samples, Novelty::New, writer, now).await?)
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
