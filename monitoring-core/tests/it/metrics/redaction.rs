//! Labels and descriptions hold no secrets, whichever way they came in.

use monitoring_core::{
    Decode, Decoded, Deferred, Labels, MetricType, Monitoring, Recorder, Redaction, Series, Temporality,
    Ticks, services,
};

use super::fixture::{builder, counter, scrape_text, start, start_time};
use crate::support::database::{Database, on_each_database};
use monitoring_core::ExpositionFormat;

on_each_database! {
    no_way_in_stores_a_secret_label,
    secrets_do_not_tell_series_apart,
    a_description_holds_no_secret,
    what_came_before_the_start_is_held_to_the_rules_of_the_start,
}

/// The key tells of the first, its form of the second.
const SECRETS: [&str; 2] = ["hunter2", "AKIAIOSFODNN7EXAMPLE"];

fn labels() -> [(&'static str, &'static str); 3] {
    [("db_password", SECRETS[0]), ("key", SECRETS[1]), ("has_token", "true")]
}

/// Counts each record in a series with secret labels.
struct Clicks(Series);

impl Decode for Clicks {
    fn decode(&mut self, record: &Deferred, decoded: &mut Decoded<'_>) {
        decoded.observe(&self.0, 1.0, decoded.time(record.end));
    }
}

fn clicks(name: &str, secret: &str) -> Clicks {
    let labels: Labels = [("token", secret)].into_iter().collect();
    Clicks(Series::new(name.to_owned(), labels, MetricType::Counter, Temporality::Delta, Vec::new()))
}

/// Rows that show `text`, in the two tables with texts of metrics.
async fn rows_with(database: &Database, text: &str) -> i64 {
    let series = database.table("metric_series");
    let about = database.table("metric_metadata");
    let like = format!("LIKE '%{text}%'");
    let series = format!("SELECT count(*) FROM {series} WHERE CAST(labels AS TEXT) {like}");
    let about = format!("SELECT count(*) FROM {about} WHERE help {like}");
    database.number(series).await + database.number(about).await
}

async fn no_way_in_stores_a_secret_label(database: &Database) {
    let monitoring = start(database).await;
    let mut conn = monitoring.acquire().await.unwrap();
    let shown = services::create_metric(&mut conn, counter("a_total", &labels(), 1.0)).await.unwrap();
    assert_eq!(shown.labels.value("db_password"), Some("[redacted]"), "the answer says what is stored");
    assert_eq!(shown.labels.value("has_token"), Some("true"), "which gives nothing away");
    services::create_metrics(&mut conn, vec![counter("b_total", &labels(), 1.0)]).await.unwrap();
    drop(conn);
    let recorder = monitoring.recorder();
    services::submit_metrics(recorder, vec![counter("c_total", &labels(), 1.0)]).await.unwrap();
    recorder.metric(counter("d_total", &labels(), 1.0));
    recorder.lane(clicks("e_total", SECRETS[0])).push(&mut Deferred::at(Ticks::now(), None));
    recorder.flush().await.unwrap();

    for secret in SECRETS {
        assert_eq!(rows_with(database, secret).await, 0, "{secret}");
    }
    let series = database.table("metric_series");
    let redacted =
        format!("SELECT count(DISTINCT name) FROM {series} WHERE CAST(labels AS TEXT) LIKE '%[redacted]%'");
    assert_eq!(database.number(redacted).await, 5, "each is there without its secret");
}

async fn secrets_do_not_tell_series_apart(database: &Database) {
    let monitoring = start(database).await;
    for secret in ["s1", "s2", "s3"] {
        let mut conn = monitoring.acquire().await.unwrap();
        services::create_metric(&mut conn, counter("a_total", &[("token", secret)], 1.0)).await.unwrap();
        let lane = monitoring.recorder().lane(clicks("a_total", secret));
        for _ in 0..2 {
            lane.push(&mut Deferred::at(Ticks::now(), None));
        }
    }
    monitoring.recorder().flush().await.unwrap();
    let series = database.table("metric_series");
    let ids = format!("SELECT count(DISTINCT id) FROM {series} WHERE name = 'a_total'");
    assert_eq!(database.number(ids).await, 1);
    let text = scrape_text(&monitoring, ExpositionFormat::Prometheus).await;
    assert!(text.contains("a_total{token=\"[redacted]\"} 9\n"), "{text}");
}

async fn a_description_holds_no_secret(database: &Database) {
    let monitoring = start(database).await;
    let mut conn = monitoring.acquire().await.unwrap();
    services::describe_metric(&mut conn, "a_total", "see db: password=hunter2", "").await.unwrap();
    assert_eq!(rows_with(database, SECRETS[0]).await, 0);
}

async fn what_came_before_the_start_is_held_to_the_rules_of_the_start(database: &Database) {
    let recorder = Recorder::detached();
    let mut event = crate::support::fixture::request("early");
    event.tags.insert("iban".to_owned(), "DE02".into());
    event.tags.insert("password".to_owned(), SECRETS[0].into());
    event.message = Some(format!("password={}", SECRETS[0]));
    event.timestamp = Some(start_time());
    recorder.event(event);
    let mut seen = counter("early_total", &[("iban", "DE02"), ("token", SECRETS[0])], 1.0);
    seen.timestamp = Some(start_time());
    recorder.metric(seen);
    let printed = format!("{recorder:#?}");
    assert!(!printed.contains("DE02") && !printed.contains(SECRETS[0]), "{printed}");
    let mut redaction = Redaction::default();
    redaction.keys.push("iban".to_owned());
    let started = builder(database).recorder(recorder).redaction(redaction).start().await;
    let monitoring: Monitoring = started.unwrap();
    monitoring.recorder().flush().await.unwrap();
    let events = database.table("events");
    let all = format!("SELECT count(*) FROM {events} WHERE source = 'early'");
    assert_eq!(database.number(all.clone()).await, 1);
    for secret in ["DE02", SECRETS[0]] {
        let said = format!("{all} AND (CAST(tags AS TEXT) LIKE '%{secret}%' OR message LIKE '%{secret}%')");
        assert_eq!(database.number(said).await, 0, "{secret}");
        assert_eq!(rows_with(database, secret).await, 0, "{secret}");
    }
}
