//! What queries yield and say over series in memory.

use super::{LabelSet, Memory, NAME, Query, QueryAnswer, QueryLimits, QueryValue};

const MINUTE: i64 = 60_000;

/// Ten minutes of `up` and `requests_total`, rising once a minute, in four series each; a histogram whose
/// buckets do not add up, and one with a bound that is none.
fn memory() -> Memory {
    let mut memory = Memory::default();
    let mut add = |labels: &[(&str, &str)], value: &dyn Fn(i64) -> f64| {
        let samples: Vec<_> = (0..=10).map(|n| (n * MINUTE, value(n))).collect();
        memory.add(labels.iter().copied().collect::<LabelSet>(), samples);
    };
    for (job, n) in [("a", "1"), ("a", "2"), ("b", "3"), ("b", "4")] {
        add(&[(NAME, "up"), ("job", job), ("n", n)], &|n| n as f64);
        add(&[(NAME, "requests_total"), ("job", job), ("n", n)], &|n| n as f64);
    }
    for (le, count) in [("1", 5.0), ("2", 3.0), ("+Inf", 5.0)] {
        add(&[(NAME, "h_bucket"), ("le", le)], &|_| count);
    }
    add(&[(NAME, "bad_bucket"), ("le", "x")], &|_| 1.0);
    memory
}

/// The answer at the tenth minute.
async fn now(query: &str, limits: &QueryLimits) -> QueryAnswer {
    let query = Query::instant(query, 10 * MINUTE, limits).unwrap();
    query.answer(&memory(), limits).await.unwrap()
}

/// The answer in each of the last five minutes.
async fn lately(query: &str) -> QueryAnswer {
    let limits = QueryLimits::default();
    let query = Query::range(query, 6 * MINUTE, 10 * MINUTE, MINUTE, &limits).unwrap();
    query.answer(&memory(), &limits).await.unwrap()
}

/// The label `n` of each series, in order.
fn series(answer: &QueryAnswer) -> Vec<String> {
    let (QueryValue::Vector(series) | QueryValue::Matrix(series)) = &answer.value else {
        panic!("{answer:?}");
    };
    let mut series: Vec<_> = series.iter().map(|series| series.labels.value("n").to_owned()).collect();
    series.sort_unstable();
    series
}

#[tokio::test]
async fn answers_warn_in_the_words_of_prometheus() {
    for (query, warning) in [
        ("quantile(2, up)", "quantile value should be between 0 and 1, got 2"),
        ("quantile_over_time(-0.5, up[5m])", "quantile value should be between 0 and 1, got -0.5"),
        ("histogram_quantile(NaN, h_bucket)", "quantile value should be between 0 and 1, got NaN"),
        ("limit_ratio(1.5, up)", "ratio value should be between -1 and 1, got 1.5, capping to 1"),
        ("limit_ratio(-2, up)", "ratio value should be between -1 and 1, got -2, capping to -1"),
        (
            "histogram_quantile(0.5, bad_bucket)",
            r#"bucket label "le" is missing or has a malformed value of "x" for metric name "bad_bucket""#,
        ),
    ] {
        let answer = now(query, &QueryLimits::default()).await;
        assert_eq!(answer.warnings(), [format!("PromQL warning: {warning}")], "{query}");
    }
    assert_eq!(now("quantile(1, up)", &QueryLimits::default()).await.warnings(), [""; 0]);
}

#[tokio::test]
async fn answers_hint_in_the_words_of_prometheus() {
    let no_counter = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"up\"";
    let not_monotonic = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name \"h_bucket\"";
    for (query, info) in [
        ("rate(up[5m])", Some(no_counter)),
        ("increase(up[5m])", Some(no_counter)),
        ("histogram_quantile(0.5, h_bucket)", Some(not_monotonic)),
        ("irate(up[5m])", None),
        ("delta(up[5m])", None),
        ("rate(requests_total[5m])", None),
        // Of one sample there is no rate to doubt.
        ("rate(up[1m])", None),
    ] {
        let infos: Vec<_> = info.iter().map(|info| format!("PromQL info: {info}")).collect();
        let answer = now(query, &QueryLimits::default()).await;
        assert_eq!((answer.infos(), answer.warnings()), (infos, Vec::new()), "{query}");
    }
}

#[tokio::test]
async fn to_sort_a_range_is_in_vain() {
    let warning =
        "PromQL warning: sort is ineffective for range queries since results are always ordered by labels";
    for sorts in ["sort(up)", "sort_desc(up)", r#"sort_by_label(up, "n")"#, r#"sort_by_label_desc(up, "n")"#]
    {
        assert_eq!(lately(&format!("1 + {sorts}")).await.warnings(), [warning], "{sorts}");
        assert_eq!(now(sorts, &QueryLimits::default()).await.warnings(), [""; 0], "{sorts}");
    }
}

#[tokio::test]
async fn as_many_series_are_taken_as_were_asked_for() {
    for (query, count) in [
        ("limitk(0, up)", 0),
        ("limitk(-1, up)", 0),
        ("limitk(2, up)", 2),
        ("limitk(9, up)", 4),
        ("limitk by (job) (1, up)", 2),
        ("limit_ratio(0, up)", 0),
        ("limit_ratio(1, up)", 4),
        ("limit_ratio(-1, up)", 4),
    ] {
        let (taken, over_time) = (now(query, &QueryLimits::default()).await, lately(query).await);
        assert_eq!((series(&taken).len(), series(&taken)), (count, series(&over_time)), "{query}");
        let QueryValue::Vector(taken) = taken.value else { panic!("{query}") };
        assert!(taken.iter().all(|series| series.samples == [(10 * MINUTE, 10.0)]), "{query}: as they are");
    }
    let mut all = series(&lately("limit_ratio(0.3, up)").await);
    all.extend(series(&lately("limit_ratio(-0.7, up)").await));
    all.sort_unstable();
    assert_eq!(all, ["1", "2", "3", "4"]);
    let one_of_each = series(&now("limitk by (job) (1, up)", &QueryLimits::default()).await);
    assert!(["1", "2"].contains(&&*one_of_each[0]) && ["3", "4"].contains(&&*one_of_each[1]));
}

#[tokio::test]
async fn the_look_back_is_that_of_the_limits() {
    let lookback = std::time::Duration::from_secs(60);
    let limits = QueryLimits { lookback, ..QueryLimits::default() };
    // The last sample is half a minute old, or a whole one.
    for (offset, count) in [("-30s", 4), ("-59999ms", 4), ("-1m", 0)] {
        assert_eq!(series(&now(&format!("up offset {offset}"), &limits).await).len(), count, "{offset}");
    }
    assert_eq!(series(&now("up offset -1m", &QueryLimits::default()).await).len(), 4);
}

#[tokio::test]
async fn samples_are_counted_at_each_step_that_sees_them() {
    for (query, at_once, over_time) in [
        ("1 + time()", 0, 0),
        ("up", 4, 20),
        ("sum(up) + count(requests_total)", 8, 40),
        ("up @ 300", 4, 20),
        ("rate(up[2m])", 8, 40),
        ("absent_over_time(up[2m])", 8, 40),
        // Three in each window, not what it takes to have them.
        ("max_over_time(sum(up)[2m:40s])", 3, 15),
        ("timestamp(up)", 4, 20),
    ] {
        let at_once_seen = now(query, &QueryLimits::default()).await.stats.samples_seen;
        let over_time_seen = lately(query).await.stats.samples_seen;
        assert_eq!((at_once_seen, over_time_seen), (at_once, over_time), "{query}");
    }
    assert_eq!(now("up[2m]", &QueryLimits::default()).await.stats.samples_seen, 8);
    let held = lately("up").await.stats.samples_held_max;
    assert!(held >= 20, "{held} for the columns of four series at five steps");
    assert_eq!(now("1", &QueryLimits::default()).await.stats.samples_held_max, 1);
}
