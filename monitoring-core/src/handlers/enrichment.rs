//! What an event says about itself between the lines: which request it belongs to, which kind of
//! service it comes from, how bad it is. What the sender said explicitly stays.

use std::collections::HashMap;

use serde_json::Value;

use crate::model::{CreateEventRequest, Level};

/// Fills in what is missing.
pub(super) fn enrich(request: &mut CreateEventRequest<String>) {
    add_correlation_ids(&mut request.tags, &request.payload);
    request.tags.entry("service_kind".to_owned()).or_insert_with(|| service_kind(&request.source).into());
    if request.level.is_none() {
        let level = level(&request.event_type, request.message.as_deref(), request);
        request.level = Some(level.to_string());
    }
}

/// Copies ids from the payload, where many senders put them, to the tags, where they are searched.
fn add_correlation_ids(tags: &mut HashMap<String, Value>, payload: &HashMap<String, Value>) {
    for key in ["request_id", "trace_id", "span_id"] {
        if let Some(id @ Value::String(_)) = payload.get(key) {
            tags.entry(key.to_owned()).or_insert_with(|| id.clone());
        }
    }
    let traceparent = [&*tags, payload].into_iter().find_map(|map| map.get("traceparent")?.as_str());
    if let Some((trace_id, span_id)) = traceparent.and_then(trace_context) {
        let ids = [("trace_id", trace_id.to_owned()), ("span_id", span_id.to_owned())];
        for (key, id) in ids {
            tags.entry(key.to_owned()).or_insert(Value::String(id));
        }
    }
}

/// Trace and parent id of a W3C `traceparent` (<https://www.w3.org/TR/trace-context/>).
fn trace_context(traceparent: &str) -> Option<(&str, &str)> {
    let mut parts = traceparent.split('-');
    let (version, trace_id, span_id) = (parts.next()?, parts.next()?, parts.next()?);
    let is_id = |id: &str, length: usize| {
        id.len() == length
            && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            && id.bytes().any(|b| b != b'0')
    };
    let known = version.len() == 2 && version != "ff" && parts.next().is_some();
    (known && is_id(trace_id, 32) && is_id(span_id, 16)).then_some((trace_id, span_id))
}

/// The kind of service, by the words of its name; the first that tells wins.
fn service_kind(source: &str) -> &'static str {
    const KINDS: [(&str, &[&str]); 9] = [
        ("gateway", &["gateway", "ingress", "proxy", "router", "edge", "loadbalancer"]),
        ("auth", &["auth", "authentication", "login", "identity", "sso", "oauth", "session"]),
        ("payment", &["payment", "payments", "billing", "checkout", "invoice", "stripe"]),
        ("database", &["database", "db", "postgres", "postgresql", "mysql", "sqlite", "sql"]),
        ("cache", &["cache", "redis", "memcached"]),
        ("queue", &["queue", "kafka", "rabbitmq", "nats", "broker"]),
        ("worker", &["worker", "workers", "job", "jobs", "task", "tasks", "scheduler", "cron", "batch"]),
        ("notification", &["notification", "notifications", "mail", "email", "sms", "push"]),
        ("web", &["web", "frontend", "ui", "api", "http", "server"]),
    ];
    let source = source.to_ascii_lowercase();
    let words: Vec<_> = words(&source).collect();
    KINDS
        .into_iter()
        .find(|(_, names)| words.iter().any(|word| names.contains(word)))
        .map_or("service", |(kind, _)| kind)
}

/// How bad it is, by HTTP status, by words of the message, by type; the worst that any says.
fn level(event_type: &str, message: Option<&str>, request: &CreateEventRequest<String>) -> Level {
    const WORDS: [(Level, &[&str]); 3] = [
        (Level::Critical, &["critical", "fatal", "panic", "panicked", "emergency", "outage", "corrupted"]),
        (
            Level::Error,
            &[
                "error",
                "errors",
                "fail",
                "failed",
                "fails",
                "failure",
                "failures",
                "exception",
                "refused",
                "exhausted",
                "unavailable",
                "crash",
                "crashed",
                "denied",
                "aborted",
            ],
        ),
        (
            Level::Warn,
            &[
                "warn",
                "warning",
                "slow",
                "degraded",
                "retry",
                "retrying",
                "retries",
                "timeout",
                "timeouts",
                "deprecated",
                "throttled",
                "high",
            ],
        ),
    ];
    let message = message.unwrap_or_default().to_ascii_lowercase();
    let words: Vec<_> = words(&message).collect();
    let by_words = WORDS
        .into_iter()
        .find(|(_, signs)| words.iter().any(|word| signs.contains(word)))
        .map_or(Level::Info, |(level, _)| level);
    let by_type = if event_type == "alert" { Level::Warn } else { Level::Info };
    by_words.max(by_type).max(status_level(request))
}

fn status_level(request: &CreateEventRequest<String>) -> Level {
    let status = |map: &HashMap<String, Value>| match map.get("status")? {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    match status(&request.tags).or_else(|| status(&request.payload)) {
        Some(500..=599) => Level::Error,
        Some(400..=499) => Level::Warn,
        _ => Level::Info,
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn enriched(body: Value) -> CreateEventRequest<String> {
        let mut request = serde_json::from_value(body).unwrap();
        enrich(&mut request);
        request
    }

    #[test]
    fn the_kind_of_service_follows_from_its_name() {
        let kinds = [
            ("api-gateway", "gateway"),
            ("email_worker", "worker"),
            ("database-service", "database"),
            ("auth-service", "auth"),
            ("payment-service", "payment"),
            ("web-server", "web"),
            ("inventory", "service"),
        ];
        for (source, kind) in kinds {
            assert_eq!(service_kind(source), kind, "{source}");
        }
    }

    #[test]
    fn the_level_follows_from_the_content() {
        let level =
            |message: &str| enriched(json!({"event_type": "log", "source": "s", "message": message})).level;
        assert_eq!(level("High error rate detected").as_deref(), Some("error"));
        assert_eq!(level("thread panicked").as_deref(), Some("critical"));
        assert_eq!(level("retrying in 3 s").as_deref(), Some("warn"));
        assert_eq!(level("terrorised by mirrors").as_deref(), Some("info"));
        let alert = enriched(json!({"event_type": "alert", "source": "s"}));
        assert_eq!(alert.level.as_deref(), Some("warn"));
        let response = enriched(json!({"event_type": "log", "source": "s", "tags": {"status": "503"}}));
        assert_eq!(response.level.as_deref(), Some("error"));
    }

    #[test]
    fn what_the_sender_said_stays() {
        let request = enriched(json!({
            "event_type": "log", "source": "auth", "message": "failed", "level": "debug",
            "tags": {"request_id": "tag", "service_kind": "mine"},
            "payload": {"request_id": "payload", "trace_id": "t"},
        }));
        assert_eq!(request.level.as_deref(), Some("debug"));
        assert_eq!(request.tags["request_id"], "tag");
        assert_eq!(request.tags["service_kind"], "mine");
        assert_eq!(request.tags["trace_id"], "t");
    }

    #[test]
    fn a_traceparent_gives_trace_and_span() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let request =
            enriched(json!({"event_type": "log", "source": "s", "payload": {"traceparent": traceparent}}));
        assert_eq!(request.tags["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(request.tags["span_id"], "00f067aa0ba902b7");
        assert_eq!(trace_context("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(trace_context("00-zz-00f067aa0ba902b7-01"), None);
    }
}
