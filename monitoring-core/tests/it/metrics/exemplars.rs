//! From a metric to the trace behind it: what is kept, shown, and removed again.

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::services::{self, ProcessExposition, SentReport, SentSeries, SeriesDeletion};
use monitoring_core::{
    Clock, CreateMetricRequest, Exemplar, ExpositionFormat, Labels, MetricType, Monitoring, QueryExemplars,
    Retention,
};
use serde_json::Value;

use super::fixture::{at, builder, counter, gauge, histogram, request, scrape_text, start, start_time};
use crate::monitoring::handlers::Tasks;
use crate::support::database::{Database, on_each_database};

on_each_database! {
    each_bucket_shows_its_own,
    a_counter_and_a_gauge_have_theirs,
    of_many_in_a_row_the_newest_is_stored,
    times_are_included_at_both_ends,
    openmetrics_shows_the_newest_of_each_bucket,
    histograms_of_two_layouts_share_theirs,
    what_is_too_long_costs_the_exemplar_only,
    a_reading_that_is_no_number_has_none,
    what_was_recorded_before_the_start_is_one_too,
    sent_ones_are_stored_once,
    sent_ones_that_cannot_be_stored_are_counted,
    one_that_follows_its_samples_is_stored,
    exemplars_hold_no_secrets,
    deleted_samples_take_theirs_along,
    many_are_deleted_in_several_transactions,
    the_newest_stay_and_the_old_leave,
    of_very_many_the_newest_are_answered,
}

fn after(millis: i64) -> DateTime<Utc> {
    start_time() + TimeDelta::milliseconds(millis)
}

fn trace(id: &str) -> Labels {
    [("trace_id", id)].into_iter().collect()
}

/// Records observations with their traces, each its number of milliseconds after the start.
async fn record(monitoring: &Monitoring, observations: &[(i64, CreateMetricRequest, &str)]) {
    for (millis, request, id) in observations {
        monitoring.recorder().metric_with_exemplar(at(after(*millis), request.clone()), trace(id));
    }
    monitoring.recorder().flush().await.unwrap();
}

async fn found(monitoring: &Monitoring, query: &str, span: (i64, i64)) -> QueryExemplars {
    let (start, end) = (after(span.0), after(span.1));
    monitoring.promql().exemplars(query, start, end).await.unwrap().expect("it selects something")
}

/// Each series with its exemplars, in the order of labels and time.
async fn shown(monitoring: &Monitoring, query: &str) -> Vec<String> {
    let found = found(monitoring, query, (-86_400_000, 86_400_000)).await;
    assert!(found.is_complete);
    let line = |exemplar: &Exemplar| format!("{} {}", exemplar.labels, exemplar.value);
    let series = found.series.iter().map(|series| {
        let exemplars: Vec<_> = series.exemplars.iter().map(line).collect();
        format!("{}: {}", series.labels, exemplars.join(", "))
    });
    series.collect()
}

fn sent(labels: &[(&str, &str)], samples: &[i64], exemplars: Vec<(i64, Labels)>) -> SentSeries {
    SentSeries {
        labels: labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        samples: samples.iter().map(|millis| (after(*millis), 1.0)).collect(),
        exemplars: exemplars
            .into_iter()
            .map(|(millis, labels)| Exemplar { labels, value: millis as f64, timestamp: after(millis) })
            .collect(),
    }
}

async fn send(monitoring: &Monitoring, series: Vec<SentSeries>) -> SentReport {
    let mut conn = monitoring.acquire().await.unwrap();
    services::store_samples(&mut conn, series).await.unwrap()
}

async fn stored(database: &Database) -> i64 {
    database.number(format!("SELECT count(*) FROM {}", database.table("metric_exemplars"))).await
}

async fn each_bucket_shows_its_own(database: &Database) {
    let monitoring = start(database).await;
    let wait = |value| histogram("wait_seconds", &[("shop", "a")], value);
    record(&monitoring, &[(0, wait(0.2), "a"), (1, wait(0.25), "b"), (2, wait(70.0), "c")]).await;
    record(&monitoring, &[(3_000, wait(0.3), "d"), (4_000, wait(0.2), "e")]).await;
    let expected = [
        r#"wait_seconds_bucket{le="+Inf", shop="a"}: {trace_id="c"} 70"#,
        r#"wait_seconds_bucket{le="0.25", shop="a"}: {trace_id="a"} 0.2, {trace_id="e"} 0.2"#,
        r#"wait_seconds_bucket{le="0.5", shop="a"}: {trace_id="d"} 0.3"#,
    ];
    let quantile = "histogram_quantile(0.9, sum by (le) (rate(wait_seconds_bucket[5m])))";
    assert_eq!(shown(&monitoring, quantile).await, expected);
    let two = r#"wait_seconds_bucket{le="0.5"} / on () wait_seconds_bucket{le=~"0.5|[+]Inf"}"#;
    assert_eq!(shown(&monitoring, two).await, [expected[0], expected[2]]);
    assert!(shown(&monitoring, "wait_seconds_count + wait_seconds_sum").await.is_empty());
    assert!(shown(&monitoring, r#"wait_seconds_bucket{shop="b"}"#).await.is_empty());
    let (now, promql) = (start_time(), monitoring.promql());
    assert_eq!(promql.exemplars("time() - 1", now, now).await.unwrap(), None);
    assert!(promql.exemplars("up{", now, now).await.is_err());
}

async fn a_counter_and_a_gauge_have_theirs(database: &Database) {
    let monitoring = start(database).await;
    let size = request(MetricType::Summary, "size_bytes", &[], 5.0);
    let orders = counter("orders_total", &[], 2.0);
    record(&monitoring, &[(0, orders, "a"), (0, gauge("load", &[], 0.5), "b"), (0, size, "c")]).await;
    let all = r#"{__name__=~"orders_total|load|size_bytes.*"}"#;
    let expected = [r#"load: {trace_id="b"} 0.5"#, r#"orders_total: {trace_id="a"} 2"#];
    assert_eq!(shown(&monitoring, all).await, expected);
}

async fn of_many_in_a_row_the_newest_is_stored(database: &Database) {
    let monitoring = start(database).await;
    let orders = |n: i64| at(after(n * 100), counter("orders_total", &[], n as f64));
    for n in (1..=40).rev().chain(41..=80) {
        monitoring.recorder().metric_with_exemplar(orders(n), trace(&n.to_string()));
    }
    monitoring.recorder().flush().await.unwrap();
    // One that is hardly newer than another is not made.
    let shown = shown(&monitoring, "orders_total").await;
    assert_eq!(shown, [r#"orders_total: {trace_id="80"} 80"#]);
}

async fn times_are_included_at_both_ends(database: &Database) {
    let monitoring = start(database).await;
    for millis in [1_000, 3_000, 5_000] {
        record(&monitoring, &[(millis, gauge("load", &[], millis as f64), "a")]).await;
    }
    let times = async |span| {
        let found = found(&monitoring, "load", span).await;
        let exemplars = found.series.into_iter().flat_map(|series| series.exemplars);
        exemplars.map(|exemplar| exemplar.value).collect::<Vec<_>>()
    };
    assert_eq!(times((1_000, 3_000)).await, [1_000.0, 3_000.0]);
    assert_eq!(times((1_001, 5_000)).await, [3_000.0, 5_000.0]);
    assert!(times((1_001, 2_999)).await.is_empty());
}

async fn openmetrics_shows_the_newest_of_each_bucket(database: &Database) {
    let monitoring = start(database).await;
    let wait = |value| histogram("wait_seconds", &[("shop", "a")], value);
    let quoted = "a\"b\\c\nd";
    record(&monitoring, &[(0, wait(0.2), "a"), (0, wait(70.0), quoted)]).await;
    let orders = counter("orders_total", &[], 2.0);
    record(&monitoring, &[(1_500, wait(0.25), "b"), (0, orders, "c"), (0, gauge("load", &[], 1.0), "d")])
        .await;
    let seconds = start_time().timestamp();
    let open = scrape_text(&monitoring, ExpositionFormat::OpenMetrics).await;
    let process =
        ProcessExposition::new(monitoring.recorder(), ExpositionFormat::OpenMetrics).collect::<String>();
    for text in [&open, &process] {
        for line in [
            format!(
                r#"wait_seconds_bucket{{shop="a",le="0.25"}} 2 # {{trace_id="b"}} 0.25 {}.500"#,
                seconds + 1
            ),
            r#"wait_seconds_bucket{shop="a",le="0.5"} 2"#.to_owned(),
            format!(
                r#"wait_seconds_bucket{{shop="a",le="+Inf"}} 3 # {{trace_id="a\"b\\c\nd"}} 70 {seconds}.000"#
            ),
            format!(r#"orders_total 2 # {{trace_id="c"}} 2 {seconds}.000"#),
            "load 1".to_owned(),
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
    }
    let classic = scrape_text(&monitoring, ExpositionFormat::Prometheus).await;
    assert!(!classic.contains("trace_id"), "{classic}");
}

async fn histograms_of_two_layouts_share_theirs(database: &Database) {
    let buckets = |bounds| async move {
        let clock = Clock::fixed(start_time());
        let builder = Monitoring::builder().database_url(database.url()).clock(clock);
        builder.buckets("wait_seconds", bounds).start().await.unwrap()
    };
    for (bounds, value, id) in [(vec![1.0, 2.0], 1.5, "a"), (vec![2.0, 3.0], 2.5, "b")] {
        let monitoring = buckets(bounds).await;
        record(&monitoring, &[(0, histogram("wait_seconds", &[], value), id)]).await;
    }
    let text = scrape_text(&start(database).await, ExpositionFormat::OpenMetrics).await;
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("wait_seconds_bucket")).collect();
    let seconds = start_time().timestamp();
    let expected = [
        format!(r#"wait_seconds_bucket{{le="2.0"}} 1 # {{trace_id="a"}} 1.5 {seconds}.000"#),
        format!(r#"wait_seconds_bucket{{le="+Inf"}} 2 # {{trace_id="b"}} 2.5 {seconds}.000"#),
    ];
    assert_eq!(lines, expected);
}

async fn what_is_too_long_costs_the_exemplar_only(database: &Database) {
    let monitoring = start(database).await;
    record(&monitoring, &[(0, counter("orders_total", &[], 2.0), &"ä".repeat(121))]).await;
    record(&monitoring, &[(0, counter("orders_total", &[], 3.0), &"ä".repeat(120))]).await;
    let exemplars = shown(&monitoring, "orders_total").await;
    assert_eq!(exemplars, [format!(r#"orders_total: {{trace_id="{}"}} 3"#, "ä".repeat(120))]);
    let text = scrape_text(&monitoring, ExpositionFormat::Prometheus).await;
    for line in ["orders_total 5", "monitoring_ingest_truncated_total 1"] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
}

async fn a_reading_that_is_no_number_has_none(database: &Database) {
    let monitoring = start(database).await;
    record(&monitoring, &[(0, gauge("load", &[], f64::NAN), "a")]).await;
    assert!(shown(&monitoring, "load").await.is_empty());
    let text = scrape_text(&monitoring, ExpositionFormat::Prometheus).await;
    for line in ["load NaN", r#"monitoring_ingest_shed_total{reason="refused"} 0"#] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
}

async fn what_was_recorded_before_the_start_is_one_too(database: &Database) {
    let recorder = monitoring_core::Recorder::detached();
    let early = at(start_time(), counter("orders_total", &[], 2.0));
    recorder.metric_with_exemplar(early, trace("token=hunter2"));
    let monitoring = builder(database).recorder(recorder).start().await.unwrap();
    monitoring.recorder().flush().await.unwrap();
    assert_eq!(
        shown(&monitoring, "orders_total").await,
        [r#"orders_total: {trace_id="token=[redacted]"} 2"#]
    );
}

async fn sent_ones_are_stored_once(database: &Database) {
    let monitoring = start(database).await;
    let series = || {
        let exemplars = vec![(5, trace("a")), (6, trace("b")), (6, trace("c"))];
        sent(&[("__name__", "sent_bucket"), ("le", "1")], &[0, 10], exemplars)
    };
    for _ in 0..2 {
        let report = send(&monitoring, vec![series(), series()]).await;
        assert_eq!((report.samples_stored, report.exemplars_stored, report.exemplars_dropped), (4, 6, 0));
    }
    assert_eq!(stored(database).await, 3);
    let shown = shown(&monitoring, "sent_bucket").await;
    assert_eq!(shown.len(), 1);
    assert!(shown[0].starts_with(r#"sent_bucket{le="1"}: {trace_id="a"} 5, "#), "{shown:?}");
}

async fn sent_ones_that_cannot_be_stored_are_counted(database: &Database) {
    let monitoring = start(database).await;
    let day = 86_400_000;
    let impossible = vec![
        (1, trace(&"a".repeat(121))),
        (2, Labels::new()),
        (3, trace("a\0b")),
        (4, [("trace id", "a")].into_iter().collect()),
        (2 * day, trace("ahead")),
        (-100 * day, trace("old")),
    ];
    let mut load = sent(&[("__name__", "load")], &[0], impossible);
    load.exemplars.push(Exemplar { labels: trace("nan"), value: f64::NAN, timestamp: start_time() });
    load.exemplars.push(Exemplar { labels: trace("inf"), value: f64::INFINITY, timestamp: start_time() });
    let nameless = sent(&[("job", "a")], &[0], vec![(0, trace("a"))]);
    let unknown = sent(&[("__name__", "unknown")], &[], vec![(0, trace("a"))]);
    let report = send(&monitoring, vec![load, nameless, unknown]).await;
    assert_eq!((report.samples_stored, report.refused), (1, 1));
    assert_eq!((report.exemplars_stored, report.exemplars_dropped), (1, 9));
    assert_eq!(shown(&monitoring, "load").await, [r#"load: {trace_id="inf"} inf"#]);
}

async fn one_that_follows_its_samples_is_stored(database: &Database) {
    let monitoring = start(database).await;
    let labels = [("__name__", "load")];
    send(&monitoring, vec![sent(&labels, &[0], Vec::new())]).await;
    let report = send(&monitoring, vec![sent(&labels, &[], vec![(1, trace("a"))])]).await;
    assert_eq!((report.exemplars_stored, report.exemplars_dropped, report.refused), (1, 0, 0));
    assert_eq!(shown(&monitoring, "load").await, [r#"load: {trace_id="a"} 1"#]);
}

async fn exemplars_hold_no_secrets(database: &Database) {
    let monitoring = start(database).await;
    let digits = "4111111111111111";
    let labels = || -> Labels {
        let labels = [("trace_id", digits), ("password", "hunter2"), ("note", "key=AKIAIOSFODNN7EXAMPLE")];
        labels.into_iter().collect()
    };
    monitoring.recorder().metric_with_exemplar(counter("orders_total", &[], 2.0), labels());
    monitoring.recorder().flush().await.unwrap();
    send(&monitoring, vec![sent(&[("__name__", "load")], &[0], vec![(0, labels())])]).await;
    for query in ["orders_total", "load"] {
        let shown = shown(&monitoring, query).await.join("\n");
        assert!(shown.contains(r#"password="[redacted]""#) && shown.contains(digits), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("AKIA"), "{shown}");
    }
}

async fn delete(monitoring: &Monitoring, selector: &str, span: Option<(i64, i64)>) -> u64 {
    let deletion = SeriesDeletion {
        selectors: vec![selector.to_owned()],
        start: span.map(|(start, _)| after(start)),
        end: span.map(|(_, end)| after(end)),
    };
    let mut conn = monitoring.acquire().await.unwrap();
    services::delete_series(&mut conn, &deletion, None).await.unwrap()
}

async fn deleted_samples_take_theirs_along(database: &Database) {
    let monitoring = start(database).await;
    let wait = |value| histogram("wait_seconds", &[], value);
    for (millis, id) in [(0, "a"), (60_000, "b"), (120_000, "c")] {
        record(&monitoring, &[(millis, wait(0.2), id), (millis, gauge("load", &[], 1.0), id)]).await;
    }
    delete(&monitoring, "wait_seconds_count", Some((60_000, 60_000))).await;
    let left = r#"wait_seconds_bucket{le="0.25"}: {trace_id="a"} 0.2, {trace_id="c"} 0.2"#;
    assert_eq!(shown(&monitoring, "wait_seconds_bucket").await, [left]);
    delete(&monitoring, "wait_seconds_bucket", None).await;
    assert!(shown(&monitoring, "wait_seconds_bucket").await.is_empty());
    assert_eq!(stored(database).await, 3, "those of the other series");
}

async fn many_are_deleted_in_several_transactions(database: &Database) {
    let monitoring = start(database).await;
    for name in ["a", "b"] {
        let exemplars = (0..2_500).map(|n| (n, trace("x"))).collect();
        send(&monitoring, vec![sent(&[("__name__", name)], &[0], exemplars)]).await;
    }
    assert_eq!(delete(&monitoring, r#"{__name__=~"a|b"}"#, Some((0, 2_400))).await, 2);
    assert_eq!(stored(database).await, 2 * 99);
}

async fn the_newest_stay_and_the_old_leave(database: &Database) {
    let clock = Clock::fixed(start_time());
    let retention = Retention::days(30, 30);
    let monitoring = builder(database).clock(clock.clone()).retention(retention).start().await.unwrap();
    let tasks = Tasks::of_monitoring(&monitoring).await;
    let clean = async || tasks.run("monitoring_data_retention", Value::Null).await.unwrap();
    for series in 0..3 {
        let name = format!("s{series}");
        let exemplars = (0..200 + 1_500 * series).map(|n| (n, trace("x"))).collect();
        send(&monitoring, vec![sent(&[("__name__", &name)], &[0], exemplars)]).await;
    }
    record(&monitoring, &[(0, histogram("wait_seconds", &[], 0.2), "a")]).await;
    assert_eq!(clean().await["exemplars_deleted"], 4_500);
    assert_eq!(stored(database).await, 601);
    let kept = found(&monitoring, "s2", (0, 86_400_000)).await.series.remove(0).exemplars;
    assert_eq!((kept[0].value, kept[199].value), (3_000.0, 3_199.0));

    clock.advance(std::time::Duration::from_secs(29 * 86_400));
    let day_29 = 29 * 86_400_000;
    record(&monitoring, &[(day_29, histogram("wait_seconds", &[], 0.2), "b")]).await;
    assert_eq!(clean().await["exemplars_deleted"], 0);
    clock.advance(std::time::Duration::from_secs(2 * 86_400));
    assert_eq!(clean().await["exemplars_deleted"], 601);
    assert_eq!(stored(database).await, 1);
}

async fn of_very_many_the_newest_are_answered(database: &Database) {
    let monitoring = start(database).await;
    let exemplars = |from: i64| (from..from + 5_001).map(|n| (n, trace("x"))).collect();
    let series = |name| move |from| sent(&[("__name__", name)], &[0], exemplars(from));
    send(&monitoring, vec![series("a")(0), series("b")(2_000)]).await;
    let found = found(&monitoring, r#"{__name__=~"a|b"}"#, (0, 86_400_000)).await;
    assert!(!found.is_complete);
    let oldest: Vec<_> = found.series.iter().map(|series| series.exemplars[0].value).collect();
    assert_eq!(oldest, [2.0, 2_000.0]);
    assert_eq!(found.series.iter().map(|series| series.exemplars.len()).sum::<usize>(), 10_000);
}
