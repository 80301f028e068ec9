//! The pipeline measures itself, and what it writes about itself makes it write nothing more.
//!
//! Counts are kept here and turned into observations once per metrics interval, and only if the
//! host has sent something meanwhile: an idle service writes no rows. The first time, counters that
//! stand at zero are told too, so that they are there to be watched before there is a loss.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::aggregate::Aggregator;
use super::writer::Outcome;
use super::{Queue, ShedReason};
use crate::model::{
    Event, EventType, Labels, Level, MetricType, Sample, Series, Temporality, default_bounds,
    event_count_overflow_series, event_count_series, metric_count_series,
};

/// Durations of writes kept between two reports.
const DURATIONS_MAX: usize = 1_024;
/// Combinations of type, level and source counted apart; more are counted together.
const SERIES_MAX: usize = 5_000;

/// Counts since the last report.
#[derive(Debug, Default)]
pub(super) struct SelfMetrics {
    queued: u64,
    written_events: u64,
    written_observations: u64,
    write_seconds: Vec<f64>,
    /// Whether the counters have been told of.
    told: bool,
    shed_before: [u64; ShedReason::ALL.len()],
    truncated_before: u64,
    event_series: HashMap<(EventType, Option<Level>, String), Series>,
}

impl SelfMetrics {
    /// Counts a record taken in.
    pub(super) fn queued(&mut self) {
        self.queued += 1;
    }

    /// Counts what a job stored, unless it was about ourselves.
    pub(super) fn stored(&mut self, outcome: &Outcome, aggregator: &mut Aggregator, now: DateTime<Utc>) {
        let mut about_others = !outcome.stored_events.is_empty();
        for (series, Sample { observations, .. }) in &outcome.stored_samples {
            if let Some(count) = metric_count_series(series) {
                about_others = true;
                self.written_observations += observations;
                aggregator.observe(&count, *observations as f64, now);
            }
        }
        self.written_events += outcome.stored_events.len() as u64;
        // A batch has many events of few kinds: counted here first, each kind is told once.
        let mut kinds: HashMap<_, (&Event, u64)> = HashMap::new();
        for event in &outcome.stored_events {
            let kind = (event.event_type, event.level, event.source.as_str());
            kinds.entry(kind).or_insert((event, 0)).1 += 1;
        }
        for (event, count) in kinds.into_values() {
            aggregator.observe(self.event_series(event), count as f64, now);
        }
        if about_others && self.write_seconds.len() < DURATIONS_MAX {
            self.write_seconds.push(outcome.duration.as_secs_f64());
        }
    }

    /// The series that counts events like this one. The number of sources told apart is bounded.
    fn event_series(&mut self, event: &Event) -> &Series {
        let key = (event.event_type, event.level, event.source.clone());
        if self.event_series.len() >= SERIES_MAX && !self.event_series.contains_key(&key) {
            let key = (event.event_type, event.level, String::new());
            return self.event_series.entry(key).or_insert_with(|| event_count_overflow_series(event));
        }
        self.event_series.entry(key).or_insert_with(|| event_count_series(event))
    }

    /// Adds what happened since the last report to the aggregator.
    pub(super) fn report(
        &mut self,
        queue: &Queue,
        bytes: usize,
        aggregator: &mut Aggregator,
        now: DateTime<Utc>,
    ) {
        let is_first = !self.told && self.has_something(queue);
        self.told |= is_first;
        let mut add = |name: &str, label: Option<(&str, &str)>, value: u64| {
            if value > 0 || is_first {
                aggregator.observe(&counter(name, label), value as f64, now);
            }
        };
        for (reason, before) in ShedReason::ALL.into_iter().zip(&mut self.shed_before) {
            let shed = queue.counters.shed_total(reason);
            add("monitoring_ingest_shed_total", Some(("reason", reason.as_str())), shed - *before);
            *before = shed;
        }
        let truncated = queue.counters.truncated_total();
        add("monitoring_ingest_truncated_total", None, truncated - self.truncated_before);
        self.truncated_before = truncated;
        let queued = std::mem::take(&mut self.queued);
        add("monitoring_ingest_queued_total", None, queued);
        let events = std::mem::take(&mut self.written_events);
        add("monitoring_ingest_written_total", Some(("kind", "event")), events);
        let observations = std::mem::take(&mut self.written_observations);
        add("monitoring_ingest_written_total", Some(("kind", "observation")), observations);
        if !self.write_seconds.is_empty() {
            self.report_gauges(bytes, aggregator, now);
        }
    }

    /// Whether there was anything to count since the process started.
    fn has_something(&self, queue: &Queue) -> bool {
        let counted = self.queued + self.written_events + self.written_observations;
        counted + queue.counters.shed_in_all() + queue.counters.truncated_total() > 0
    }

    fn report_gauges(&mut self, bytes: usize, aggregator: &mut Aggregator, now: DateTime<Utc>) {
        const NAME: &str = "monitoring_ingest_write_duration_seconds";
        let bounds = default_bounds(NAME).to_vec();
        let durations =
            Series::new(NAME.to_owned(), Labels::new(), MetricType::Histogram, Temporality::Delta, bounds);
        for seconds in self.write_seconds.drain(..) {
            aggregator.observe(&durations, seconds, now);
        }
        let name = "monitoring_ingest_queue_bytes".to_owned();
        let gauge = Series::new(name, Labels::new(), MetricType::Gauge, Temporality::Delta, Vec::new());
        aggregator.observe(&gauge, bytes as f64, now);
    }
}

fn counter(name: &str, label: Option<(&str, &str)>) -> Series {
    let labels = label.into_iter().collect();
    Series::new(name.to_owned(), labels, MetricType::Counter, Temporality::Delta, Vec::new())
}
