//! Events and requests, made for tests.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::input::{Axis, Seen};
use super::requests::Requests;
use crate::model::{EventId, Period};

pub(super) fn start() -> DateTime<Utc> {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

/// An hour in buckets; the incident begins with its 45th minute.
pub(super) fn axis() -> Axis {
    Axis::of(Period { start: start(), end: start() + TimeDelta::minutes(60) })
}

pub(super) fn first() -> usize {
    axis().bucket_of(start() + TimeDelta::minutes(45)).unwrap()
}

pub(super) fn seen(second: i64, event: Value) -> Seen {
    let timestamp = start() + TimeDelta::seconds(second);
    let mut whole = json!({
        "id": EventId::at(timestamp), "event_type": "log", "source": "shop", "message": "m", "level": "info",
        "tags": {}, "payload": {}, "timestamp": timestamp, "created_at": timestamp,
    });
    whole.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
    Seen::whole(serde_json::from_value(whole).unwrap())
}

/// Two requests a second for an hour, each with the tags `tags` gives it and failing if `fails` says
/// so; both are given the number of the request and whether the incident has begun.
pub(super) fn requests(tags: impl Fn(u64, bool) -> Value, fails: impl Fn(u64, bool) -> bool) -> Requests {
    let events: Vec<Seen> = (0..7_200)
        .map(|n| {
            let (second, is_late) = ((n / 2) as i64, n / 2 >= 45 * 60);
            let level = if fails(n, is_late) { "error" } else { "info" };
            seen(second, json!({"tags": tags(n, is_late), "level": level, "trace_id": format!("t{n}")}))
        })
        .collect();
    Requests::of(&events, &axis(), first())
}

/// One of so many in a thousand, by a number and without a pattern.
pub(super) fn one_in(n: u64, salt: u64, thousandths: u64) -> bool {
    mixed(n, salt) % 1_000 < thousandths
}

pub(super) fn mixed(n: u64, salt: u64) -> u64 {
    super::statistics::Sequence::new(n.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ salt).next()
}
