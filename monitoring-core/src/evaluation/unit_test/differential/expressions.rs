//! Random queries of rules, as text. No rounding decides: samples are eighths, whose sums are exact, and means
//! are not asked for.
//!
//! Samples and evaluations lie at multiples of five seconds. Windows end one or four seconds beside
//! these, wherever `offset` moves them, and so do instant selectors that may look at a gap.

use proptest::prelude::*;
use proptest::sample::select;

type Text = BoxedStrategy<String>;

const WINDOWS: [&str; 6] = ["36s", "39s", "1m1s", "2m14s", "4m1s", "6m4s"];

fn words(words: &[&'static str]) -> impl Strategy<Value = &'static str> + Clone + use<> {
    select(words.to_vec())
}

fn matched(name: &'static str) -> Text {
    let matchers = words(&[
        "",
        "",
        "{job=\"a\"}",
        "{job!=\"a\"}",
        "{instance=\"\"}",
        "{instance=~\"1|q.*\"}",
        "{job=~\"[ab]\",instance!=\"1\"}",
    ]);
    matchers.prop_map(move |matchers| format!("{name}{matchers}")).boxed()
}

/// A selector of what there is at an instant.
fn instant(name: &'static str, has_long_gaps: bool) -> Text {
    let offsets =
        if has_long_gaps { words(&[" offset 7s", " offset 53s"]) } else { words(&["", " offset 7s"]) };
    (matched(name), offsets).prop_map(|(matched, offset)| format!("{matched}{offset}")).boxed()
}

fn range(name: &'static str) -> Text {
    let offsets = words(&["", "", " offset 7s", " offset 53s"]);
    let parts = (matched(name), select(WINDOWS.to_vec()), offsets);
    parts.prop_map(|(matched, window, offset)| format!("{matched}[{window}]{offset}")).boxed()
}

/// What is compared: a vector with a value now and then.
fn quantity(has_long_gaps: bool) -> Text {
    let gauge = instant("g", has_long_gaps);
    // Neither `rate` nor `increase`: since version 3 they reach back less far to where a counter began.
    let counters = (words(&["irate", "resets", "changes", "delta", "idelta"]), range("c"));
    let counters = counters.prop_map(|(function, range)| format!("{function}({range})"));
    let over_time = words(&[
        "count_over_time",
        "max_over_time",
        "min_over_time",
        "sum_over_time",
        "last_over_time",
        "present_over_time",
        "changes",
    ]);
    let over_time = (over_time, range("g")).prop_map(|(function, range)| format!("{function}({range})"));
    let aggregated = (
        words(&["sum", "count", "max", "min", "group"]),
        words(&["", " by (job)", " by (job, instance)", " without (instance)"]),
        gauge.clone(),
    );
    let aggregated = aggregated.prop_map(|(op, by, of)| format!("{op}{by} ({of})"));
    let subquery = (gauge.clone(), words(&["2m14s:30s", "5m1s:45s"]));
    let subquery = subquery.prop_map(|(of, range)| format!("max_over_time(({of} > 0.37)[{range}])"));
    let recorded = words(&["r1", "r2{origin=\"recorded\"}", "{__name__=~\"r.*\",job=\"a\"}"]);
    prop_oneof![
        6 => gauge,
        4 => counters,
        3 => over_time,
        3 => aggregated,
        1 => subquery,
        2 => recorded.prop_map(str::to_owned),
    ]
    .boxed()
}

/// What a rule records. Sums of few eighths are exact in any order.
pub(super) fn recorded_query(has_long_gaps: bool) -> Text {
    let of = instant("g", has_long_gaps);
    let by = words(&[" by (job)", "", " by (job, instance)"]);
    (words(&["sum", "max", "count"]), by, of).prop_map(|(op, by, of)| format!("{op}{by} ({of})")).boxed()
}

/// What an alerting rule asks for.
pub(super) fn alert_query(has_long_gaps: bool) -> Text {
    let thresholds = words(&["0", "0.37", "1", "1.62", "-0.5", "3"]);
    let compared = (quantity(has_long_gaps), words(&[">", ">", "<", ">=", "==", "!="]), thresholds);
    let compared = compared.prop_map(|(of, op, threshold)| format!("{of} {op} {threshold}")).boxed();
    let absent = instant("g", has_long_gaps).prop_map(|of| format!("absent({of})"));
    let long_absent = range("g").prop_map(|range| format!("absent_over_time({range})"));
    let sets = (compared.clone(), words(&["and", "or", "unless"]), matching(), compared.clone());
    let sets = sets.prop_map(|(left, op, matching, right)| format!("({left}) {op}{matching} ({right})"));
    // Several to one are told apart: 2.x lets pass what version 3 refuses, two of them that do not exceed it.
    let of_each = instant("g", has_long_gaps).prop_map(|of| format!("max by (job) ({of})"));
    let sides = prop_oneof![
        (instant("g", has_long_gaps), words(&["on (job, instance)", "on (job) group_left"])),
        (of_each, words(&["on (job)", "ignoring (instance)"])),
    ];
    let joined = (sides, instant("c", has_long_gaps))
        .prop_map(|((left, matching), right)| format!("{left} > {matching} {right}"));
    let fixed = words(&[
        "vector(time() % 180 > bool 60) > 0",
        "time() % 240 > bool 100",
        "ALERTS{alertname=\"A1\",alertstate=\"firing\"}",
        "count by (alertname) (ALERTS{alertname=~\"A[123]\"}) > 1",
        "count by (job) (ALERTS{alertstate=\"pending\"}) > 0",
        "time() - ALERTS_FOR_STATE{alertname=\"A1\"} > 75",
    ]);
    prop_oneof![
        10 => compared,
        2 => absent,
        1 => long_absent,
        3 => sets,
        1 => joined,
        2 => fixed.prop_map(str::to_owned),
    ]
    .boxed()
}

fn matching() -> impl Strategy<Value = &'static str> + Clone {
    words(&["", " on (job)", " ignoring (instance)", " on (job, instance)"])
}
