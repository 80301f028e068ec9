//! What people were told is compared with what became of the alerts.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use monitoring_core::{Fingerprint, Message, NotificationKind, ToldAlert};
use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};

use super::reckoning::Courses;
use super::story::Course;
use crate::support::listener::Listener;

/// By when after its time an evaluation is stored, so that whoever looks finds it.
const STORED: i64 = 3_000;
/// Whoever looked so often while an alert fired must have told of it.
const LOOKS: usize = 2;

/// What a message says to a receiver.
type Says = fn(&Message) -> Value;

/// A receiver, and how a message to it says which alerts it is about.
const RECEIVERS: [(&str, Says); 2] = [("team", by_webhook), ("pager", by_pager)];

/// Insists that every alert was told as it had to be: that it fires, that it is over, under one key.
pub(super) async fn reckon(url: &str, listener: &Listener, courses: &Courses) {
    let decided = decided(url).await;
    let looks: Vec<_> = decided
        .iter()
        .filter(|message| message.receiver == "beat")
        .map(|message| millis(message.at))
        .collect();
    for (receiver, shown) in RECEIVERS {
        let messages: Vec<_> = decided.iter().filter(|message| message.receiver == receiver).collect();
        check_keys(receiver, &messages);
        check_told(receiver, &messages, courses, &looks);
        check_delivered(receiver, &messages, shown, listener);
    }
    let pages = decided.iter().filter(|message| message.receiver == "pager");
    check_once(&pages.collect::<Vec<_>>());
}

fn millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// All messages in the order they were decided. Each was taken by its receiver in the end.
async fn decided(url: &str) -> Vec<Message> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows: Vec<(String, String, Json<Message>)> =
        sqlx::query_as("SELECT receiver, status, message FROM monitoring.notifications ORDER BY sequence")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let taken = |(receiver, status, Json(message)): (String, String, Json<Message>)| {
        assert!(status == "sent" || receiver == "beat", "{receiver}: {status}");
        message
    };
    rows.into_iter().map(taken).collect()
}

/// No alert is told under two keys.
fn check_keys(receiver: &str, messages: &[&Message]) {
    let mut keys: BTreeMap<Fingerprint, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for message in messages {
        for alert in &message.alerts {
            keys.entry(alert.fingerprint).or_default().insert((&message.dedup_key, &message.group_key));
        }
    }
    for (fingerprint, keys) in keys {
        assert_eq!(keys.len(), 1, "{receiver}: {fingerprint}: {keys:?}");
    }
}

/// Every firing that somebody had time to see was told, and so was its end; and nothing else was. A page in
/// the hands of a replica that died may be over before anybody else has it: then what is told next of that
/// alert is how it is by then. Few pages are.
fn check_told(receiver: &str, messages: &[&Message], courses: &Courses, looks: &[i64]) {
    let mut told: BTreeMap<Fingerprint, Vec<(i64, &ToldAlert)>> = BTreeMap::new();
    for (message, alert) in
        messages.iter().flat_map(|message| message.alerts.iter().map(move |alert| (message, alert)))
    {
        told.entry(alert.fingerprint).or_default().push((millis(message.at), alert));
    }
    let (mut seen, mut unseen, mut late) = (0, 0, 0);
    for (fingerprint, course) in courses {
        let told = told.remove(fingerprint).unwrap_or_default();
        for (at, alert) in &told {
            assert!(is_true(alert, *at, course), "{receiver} was told of {alert:?}: {course:?}");
        }
        for episode @ (fired, resolved) in &course.episodes {
            let looked = looks.iter().filter(|look| (fired + STORED..*resolved).contains(*look)).count();
            let is_told = is_told(&told, *episode);
            let is_late = !is_told && looked >= LOOKS && is_told_late(&told, *episode);
            assert!(
                is_told || is_late || looked < LOOKS,
                "{receiver}: {fingerprint} fired at {fired} until {resolved}, and nobody was told"
            );
            *match (is_told, is_late) {
                (true, _) => &mut seen,
                (_, true) => &mut late,
                _ => &mut unseen,
            } += 1;
        }
        let last = told.last();
        assert!(
            last.is_none_or(|(_, last)| !last.is_firing()),
            "{receiver}: {fingerprint} was never told to end"
        );
    }
    assert!(told.is_empty(), "{receiver} was told of alerts there never were: {told:?}");
    println!(
        "{receiver}: {seen} firings were told in {} messages, {unseen} while nobody could, {late} late",
        messages.len()
    );
    assert!(seen > unseen, "most of them can be told");
    assert!(10 * late <= seen, "few are told late");
}

/// Whether what was told next of the alert is that this firing is over, or that it fires again.
fn is_told_late(told: &[(i64, &ToldAlert)], (fired, resolved): (i64, i64)) -> bool {
    let next = told.iter().find(|(at, _)| *at >= resolved);
    next.is_some_and(|(_, alert)| alert.is_firing() || millis(alert.starts_at) == fired)
}

/// Whether the alert was like that. If it is pending again, or gone, before somebody looks, its end is then.
fn is_true(alert: &ToldAlert, said_at: i64, course: &Course) -> bool {
    let (starts_at, ends_at) = (millis(alert.starts_at), alert.ends_at.map(millis));
    let is_end =
        |ends_at: i64, resolved: i64| ends_at == resolved || ends_at == said_at && resolved <= ends_at;
    let is_it = |(fired, resolved): &(i64, i64)| {
        *fired == starts_at && ends_at.is_none_or(|ends_at| is_end(ends_at, *resolved))
    };
    course.episodes.iter().any(is_it)
}

/// Whether a firing was told, or what was told of the one before still stands because nobody looked in
/// between.
fn is_told(told: &[(i64, &ToldAlert)], (fired, resolved): (i64, i64)) -> bool {
    let before_end: Vec<_> = told.iter().filter(|(at, _)| *at < resolved + STORED).collect();
    let is_this = |alert: &ToldAlert| alert.is_firing() && millis(alert.starts_at) == fired;
    let stands =
        before_end.iter().rev().find(|(at, _)| *at < resolved).is_some_and(|(_, last)| last.is_firing());
    stands || before_end.iter().any(|(_, alert)| is_this(alert))
}

/// A receiver with a key for each alert is told in turn that it fires and that it does not.
fn check_once(messages: &[&Message]) {
    let mut kinds: BTreeMap<&str, Vec<NotificationKind>> = BTreeMap::new();
    for message in messages {
        kinds.entry(&message.dedup_key).or_default().push(message.kind);
    }
    let mut replaced = 0;
    for (key, mut kinds) in kinds {
        let decided = kinds.len();
        // An end that waited in vain is replaced by how things are, should it fire again by then.
        kinds.dedup_by(|next, before| {
            (*next, *before) == (NotificationKind::Firing, NotificationKind::Firing)
        });
        replaced += decided - kinds.len();
        let expected =
            [NotificationKind::Firing, NotificationKind::Resolved].into_iter().cycle().take(kinds.len());
        assert_eq!(kinds, expected.collect::<Vec<_>>(), "{key}");
        assert_eq!(kinds.last(), Some(&NotificationKind::Resolved), "{key}");
    }
    assert!(10 * replaced <= messages.len(), "few ends are: {replaced} of {}", messages.len());
}

/// What was decided has arrived, in its order for each key; some of it more than once. What else arrived was
/// replaced: whoever had sent it died before it was written down, and there was more to say by then.
fn check_delivered(receiver: &str, messages: &[&Message], shown: Says, listener: &Listener) {
    let mut expected: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for message in messages {
        let (key, content) = keyed(&shown(message));
        expected.entry(key).or_default().push(content);
    }
    let mut arrived: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let (mut count, path) = (0, format!("POST /{receiver} "));
    for heard in listener.heard().iter().filter(|heard| heard.head.starts_with(&path)) {
        let (key, content) = keyed(&essence(&heard.json()));
        let of_key = arrived.entry(key).or_default();
        count += 1;
        if of_key.last() != Some(&content) {
            of_key.push(content);
        }
    }
    // Two messages in a row that say the same are one message twice, here as there.
    expected.values_mut().for_each(Vec::dedup);
    assert_eq!(arrived.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{receiver}");
    let mut replaced = 0;
    for (key, heard) in &arrived {
        let decided = &expected[key];
        assert!(is_within(decided, heard), "{receiver} was to hear {decided:#?}, and heard {heard:#?}");
        replaced += heard.len() - decided.len();
    }
    let decided = messages.len();
    println!("{receiver}: {count} arrived, of {decided} that were decided; {replaced} were replaced");
    assert!(replaced <= decided / 4, "most of what is sent is written down");
}

/// Whether some values are among others, in the same order.
fn is_within(some: &[Value], all: &[Value]) -> bool {
    let mut rest = all.iter();
    some.iter().all(|one| rest.any(|other| other == one))
}

fn keyed(shown: &Value) -> (String, Value) {
    (shown["key"].as_str().unwrap().to_owned(), shown["says"].clone())
}

fn by_webhook(message: &Message) -> Value {
    let alert = |alert: &ToldAlert| json!([alert.fingerprint, alert.starts_at, alert.ends_at]);
    json!({"key": message.group_key, "says": message.alerts.iter().map(alert).collect::<Vec<_>>()})
}

fn by_pager(message: &Message) -> Value {
    let starts_at = message.alerts.first().map(|alert| alert.starts_at);
    let says = match message.kind {
        NotificationKind::Firing => json!(["trigger", starts_at]),
        _ => json!(["resolve"]),
    };
    json!({"key": message.dedup_key, "says": says})
}

/// What a body that arrived says, in the same form.
fn essence(body: &Value) -> Value {
    match &body["event_action"] {
        Value::Null => {
            let alert = |alert: &Value| {
                let ends_at = if alert["status"] == "firing" { &Value::Null } else { &alert["endsAt"] };
                json!([alert["fingerprint"], alert["startsAt"], ends_at])
            };
            let alerts: Vec<_> = body["alerts"].as_array().unwrap().iter().map(alert).collect();
            json!({"key": body["groupKey"], "says": alerts})
        }
        action if action == "trigger" => {
            json!({"key": body["dedup_key"], "says": ["trigger", body["payload"]["timestamp"]]})
        }
        action => json!({"key": body["dedup_key"], "says": [action]}),
    }
}
