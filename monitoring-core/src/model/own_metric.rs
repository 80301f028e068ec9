//! The metrics this library keeps about itself, and what they say to whoever reads them.

use super::{Event, Labels, MetricType, Series, Temporality};

/// Events stored, by type, level and source.
pub(crate) const EVENTS_TOTAL: &str = "monitoring_events_total";
/// The share of events that are errors or worse, by source.
pub(crate) const ERROR_RATIO: &str = "monitoring_error_ratio";
/// Observations stored, by type of metric; observations of our own metrics are not counted.
pub(crate) const METRICS_TOTAL: &str = "monitoring_metrics_total";
/// Messages to receivers, by receiver and by what became of them.
pub(crate) const NOTIFICATIONS_TOTAL: &str = "monitoring_notifications_total";

/// 1 for each alert that is pending or firing.
pub(crate) const ALERTS: &str = "ALERTS";
/// When each of them became active, in seconds since 1970.
pub(crate) const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

/// Stands for all sources past the number that is told apart.
const OTHER_SOURCE: &str = "other";

/// The names kept for this library, with what they tell and in what unit.
const OWN: &[(&str, &str, &str)] = &[
    ("monitoring_active_alerts", "Number of currently active alerts", ""),
    (ERROR_RATIO, "Share of the events of the last five minutes that are errors or worse, by source", ""),
    (EVENTS_TOTAL, "Total number of events by type, level and source", ""),
    ("monitoring_events_last_hour", "Number of events in the last hour", ""),
    ("monitoring_ingest_queue_bytes", "Bytes of telemetry waiting in memory to be written", "bytes"),
    ("monitoring_ingest_queued_total", "Records taken from producers", ""),
    ("monitoring_ingest_shed_total", "Records not stored as they were sent, by reason", ""),
    ("monitoring_ingest_truncated_total", "Records stored, but cut to the limits", ""),
    ("monitoring_ingest_write_duration_seconds", "Duration of writes to the database in seconds", "seconds"),
    ("monitoring_ingest_written_total", "Records written to the database, by kind", ""),
    ("monitoring_metrics_last_hour", "Number of metric observations in the last hour", ""),
    (METRICS_TOTAL, "Total number of metric observations by type of metric", ""),
    (
        NOTIFICATIONS_TOTAL,
        "Tries to send a notification, by receiver and by whether it was sent, is retried or is dead",
        "",
    ),
    ("monitoring_open_incidents", "Number of incidents that are neither resolved nor closed", ""),
    ("monitoring_total_events", "Total number of events in the system", ""),
    ("monitoring_total_metrics", "Total number of metric observations in the system", ""),
];

/// The same of metrics whose names are conventions, unless somebody describes them otherwise.
const CONVENTIONAL: &[(&str, &str, &str)] = &[
    ("http_request_duration_ms", "Duration of HTTP requests in milliseconds", "ms"),
    ("http_requests_total", "Total number of HTTP requests", ""),
    ("http_server_active_requests", "Number of HTTP requests being served", ""),
    ("http_server_request_body_size_bytes", "Size of HTTP request bodies in bytes", "bytes"),
    ("http_server_request_duration_seconds", "Duration of HTTP requests in seconds", "seconds"),
    ("http_server_response_body_size_bytes", "Size of HTTP response bodies in bytes", "bytes"),
];

/// The help text and the unit of a metric nobody described; empty if they are not known here.
pub(crate) fn default_metadata(name: &str) -> (&'static str, &'static str) {
    let mut known = OWN.iter().chain(CONVENTIONAL);
    known.find(|(known, ..)| *known == name).map_or(("", ""), |(_, help, unit)| (help, unit))
}

/// Whether the name is kept for this library.
pub(crate) fn is_own_metric(name: &str) -> bool {
    OWN.iter().any(|(own, ..)| *own == name)
}

/// Whether the name is kept from whoever sends: for what this library says of itself, now or later, and of
/// alerts.
pub(crate) fn is_reserved_metric(name: &str) -> bool {
    name.starts_with("monitoring_") || [ALERTS, ALERTS_FOR_STATE].contains(&name)
}

/// Whether it may have more series than a metric of the host's: what the pipeline keeps about itself, which is
/// little, and what alerts write, which rules must be able to read however many pods came and went.
pub(crate) fn is_unlimited_metric(name: &str) -> bool {
    let is_of_ingest = name.starts_with("monitoring_ingest_") && is_own_metric(name);
    is_of_ingest || [ALERTS, ALERTS_FOR_STATE].contains(&name)
}

/// The series an event is counted in: one more of its type, level and source.
pub(crate) fn event_count_series(event: &Event) -> Series {
    counted_by_source(event, &event.source)
}

/// The series an event is counted in when too many sources are told apart already.
pub(crate) fn event_count_overflow_series(event: &Event) -> Series {
    counted_by_source(event, OTHER_SOURCE)
}

fn counted_by_source(event: &Event, source: &str) -> Series {
    let level = event.level.map_or("", |level| level.as_str());
    let labels = [("event_type", event.event_type.as_str()), ("level", level), ("source", source)];
    counter(EVENTS_TOTAL, labels.into_iter().collect())
}

/// The series an observation is counted in, or `None` for one of our own metrics: counting what
/// we count would never end.
pub(crate) fn metric_count_series(observed: &Series) -> Option<Series> {
    let of_type = || [("metric_type", observed.metric_type.as_str())].into_iter().collect();
    (!is_own_metric(&observed.name)).then(|| counter(METRICS_TOTAL, of_type()))
}

fn counter(name: &str, labels: Labels) -> Series {
    Series::new(name.to_owned(), labels, MetricType::Counter, Temporality::Delta, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CreateEventRequest, EventType, Limits};

    fn event(level: Option<&str>) -> Event {
        let request = CreateEventRequest {
            event_type: EventType::Log,
            source: "shop".to_owned(),
            message: None,
            level: level.map(str::to_owned),
            tags: Default::default(),
            payload: Default::default(),
            timestamp: None,
        };
        request.into_event(chrono::DateTime::UNIX_EPOCH, None, &Limits::default()).unwrap()
    }

    #[test]
    fn an_event_without_level_is_counted_without_that_label() {
        let labels = |level| event_count_series(&event(level)).labels.to_string();
        assert_eq!(labels(Some("warn")), r#"{event_type="log", level="warn", source="shop"}"#);
        assert_eq!(labels(None), r#"{event_type="log", source="shop"}"#);
    }

    #[test]
    fn observations_of_our_own_are_not_counted() {
        assert_eq!(metric_count_series(&event_count_series(&event(None))), None);
    }
}
