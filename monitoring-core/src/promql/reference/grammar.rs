//! Random queries over the names and labels of the random series.
//!
//! They are made as text, by rules that mirror the language, so that what fails can be read, and
//! shrinks towards its own parts.

use proptest::prelude::*;
use proptest::sample::select;

type Text = BoxedStrategy<String>;

/// A query of any kind that has a value at every instant.
pub(super) fn query() -> impl Strategy<Value = String> {
    prop_oneof![12 => vector(3), 1 => scalar(2)]
}

fn words(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    select(words)
}

fn number() -> Text {
    let numbers = &["0", "1", "2", "3", "-1", "0.5", "10", "1e2", "Inf", "NaN"];
    words(numbers).prop_map(str::to_owned).boxed()
}

fn duration() -> impl Strategy<Value = &'static str> + Clone {
    words(&["1m", "13s", "30s", "1m7s", "5m", "2m37s500ms", "11m", "1ms"])
}

/// Where a selector looks.
fn moved() -> impl Strategy<Value = &'static str> + Clone {
    prop_oneof![
        6 => Just(""),
        3 => words(&[" offset 1m7s", " offset 15s", " offset -45s", " offset 6m"]),
        2 => words(&[" @ 300", " @ start()", " @ end()", " @ 421.5 offset 30s", " @ end() offset -1m"]),
    ]
}

fn matched() -> impl Strategy<Value = &'static str> + Clone {
    let names = &["c", "g", "d", "e", "h_bucket"];
    let others = &[
        r#"c{job="a"}"#,
        r#"g{instance=""}"#,
        r#"d{instance!=""}"#,
        r#"e{job!="b",instance=~"1|2"}"#,
        r#"{__name__=~"c|d"}"#,
        r#"{job="a",__name__!="g"}"#,
        r#"{__name__=~"g|e",instance!~"2"}"#,
        "nothing",
    ];
    prop_oneof![3 => words(names), 2 => words(others)]
}

fn selector() -> Text {
    (matched(), moved()).prop_map(|(matched, moved)| format!("{matched}{moved}")).boxed()
}

/// A range of a selector, or of an expression that is evaluated on the way.
fn range(depth: u32) -> Text {
    let samples = (matched(), duration(), moved());
    let samples = samples.prop_map(|(matched, length, moved)| format!("{matched}[{length}]{moved}"));
    if depth == 0 {
        return samples.boxed();
    }
    // A subquery is evaluated between its windows too, and so are the errors of what it is of: so it
    // is of what cannot fail.
    let steps = words(&["1m", "17s", "30s", "3m", ""]);
    let lengths = words(&["2m", "5m", "10m7s"]);
    let subquery = (safe_vector(depth - 1), lengths, steps, moved());
    let subquery = subquery.prop_map(|(of, length, step, moved)| format!("({of})[{length}:{step}]{moved}"));
    prop_oneof![3 => samples, 1 => subquery].boxed()
}

fn range_call(depth: u32) -> Text {
    let plain = &[
        "rate",
        "rate",
        "increase",
        "increase",
        "irate",
        "idelta",
        "delta",
        "deriv",
        "resets",
        "changes",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "sum_over_time",
        "count_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "last_over_time",
        "present_over_time",
        "absent_over_time",
    ];
    let plain = (words(plain), range(depth)).prop_map(|(name, range)| format!("{name}({range})"));
    let quantile =
        (number(), range(depth)).prop_map(|(q, range)| format!("quantile_over_time({q}, {range})"));
    let ahead = (range(depth), words(&["60", "-30", "3600"]));
    let ahead = ahead.prop_map(|(range, seconds)| format!("predict_linear({range}, {seconds})"));
    let factors = words(&["0.3", "0.5", "0.9"]);
    let smoothed = (range(depth), factors.clone(), factors);
    let smoothed = smoothed.prop_map(|(range, smoothing, trend)| {
        format!("double_exponential_smoothing({range}, {smoothing}, {trend})")
    });
    prop_oneof![12 => plain, 1 => quantile, 1 => ahead, 1 => smoothed].boxed()
}

fn grouping() -> impl Strategy<Value = &'static str> + Clone {
    words(&[
        "",
        " by (job)",
        " by (instance)",
        " by (job, instance)",
        " by (__name__)",
        " by (le)",
        " without (instance)",
        " without (le, job)",
        " without ()",
    ])
}

fn aggregation(of: &Text) -> Text {
    let ops = &["sum", "sum", "avg", "count", "min", "max", "group", "stddev", "stdvar"];
    let plain = (words(ops), grouping(), of.clone());
    let plain = plain.prop_map(|(op, grouping, of)| format!("{op}{grouping} ({of})"));
    let ranked =
        (words(&["topk", "bottomk"]), grouping(), words(&["1", "2", "3", "0", "-1", "2.7"]), of.clone());
    let ranked = ranked.prop_map(|(op, grouping, k, of)| format!("{op}{grouping} ({k}, {of})"));
    let quantile = (grouping(), number(), of.clone());
    let quantile = quantile.prop_map(|(grouping, q, of)| format!("quantile{grouping} ({q}, {of})"));
    let counted = (grouping(), of.clone());
    let counted = counted.prop_map(|(grouping, of)| format!("count_values{grouping} (\"v\", {of})"));
    prop_oneof![6 => plain, 2 => ranked, 1 => quantile, 1 => counted].boxed()
}

fn function(of: &Text) -> Text {
    let plain = &["abs", "ceil", "floor", "sqrt", "exp", "ln", "sgn", "round", "timestamp", "absent"];
    let plain = (words(plain), of.clone()).prop_map(|(name, of)| format!("{name}({of})"));
    let bounded = (of.clone(), number(), number());
    let bounded = bounded.prop_map(|(of, min, max)| format!("clamp({of}, {min}, {max})"));
    let half = (
        words(&["clamp_min", "clamp_max", "round"]),
        of.clone(),
        words(&["0.5", "3", "-2", "Inf", "-Inf", "NaN"]),
    );
    let half = half.prop_map(|(name, of, bound)| format!("{name}({of}, {bound})"));
    prop_oneof![3 => plain, 1 => bounded, 1 => half].boxed()
}

fn histogram(depth: u32) -> Text {
    let buckets = prop_oneof![
        Just("h_bucket".to_owned()),
        duration().prop_map(|length| format!("rate(h_bucket[{length}])")),
        duration().prop_map(|length| format!("sum by (le) (increase(h_bucket[{length}]))")),
        vector(depth),
    ];
    let quantile = (number(), buckets.clone()).prop_map(|(q, of)| format!("histogram_quantile({q}, {of})"));
    let fraction = (number(), number(), buckets);
    let fraction =
        fraction.prop_map(|(lower, upper, of)| format!("histogram_fraction({lower}, {upper}, {of})"));
    prop_oneof![3 => quantile, 1 => fraction].boxed()
}

/// An operator between a vector and a scalar.
fn with_scalar(of: &Text, depth: u32) -> Text {
    let ops = words(&[
        "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=", "> bool", "== bool",
    ]);
    (of.clone(), ops, scalar(depth), any::<bool>())
        .prop_map(|(of, op, scalar, is_first)| match is_first {
            true => format!("({of}) {op} {scalar}"),
            false => format!("{scalar} {op} ({of})"),
        })
        .boxed()
}

/// An operator between vectors, which may find no match, or more than it may.
fn between_vectors(of: &Text) -> Text {
    let arithmetic = words(&["+", "-", "*", "/", "%", "atan2", "==", "!=", ">", "<=", "< bool", "!= bool"]);
    let matching = words(&[
        "",
        " on (job)",
        " on (job, instance)",
        " ignoring (instance)",
        " ignoring (le)",
        " on (job) group_left ()",
        " on (job) group_right ()",
        " on (job) group_left (instance)",
        " on (instance) group_right (job)",
        " ignoring (instance) group_left ()",
        " on ()",
    ]);
    let joined = (of.clone(), arithmetic, matching, of.clone());
    let joined = joined.prop_map(|(left, op, matching, right)| format!("({left}) {op}{matching} ({right})"));
    let sides = words(&["", "", " on (job)", " ignoring (instance)", " on ()", " on (__name__, job)"]);
    let set = (of.clone(), words(&["and", "or", "unless"]), sides, of.clone());
    let set = set.prop_map(|(left, op, matching, right)| format!("({left}) {op}{matching} ({right})"));
    let totals = (of.clone(), words(&["*", "/", ">", "<="]), of.clone());
    let totals = totals
        .prop_map(|(one, op, many)| format!("sum by (job) ({one}) {op} on (job) group_right () ({many})"));
    prop_oneof![2 => joined, 2 => set, 1 => totals].boxed()
}

fn relabelled(of: &Text) -> Text {
    let patterns = words(&[
        r#""x", "$1-", "job", "(.*)""#,
        r#""job", "", "instance", "1""#,
        r#""instance", "9", "job", "a""#,
        r#""__name__", "n", "job", "(.)""#,
    ]);
    let replaced = (of.clone(), patterns).prop_map(|(of, pattern)| format!("label_replace({of}, {pattern})"));
    let joined = of.clone().prop_map(|of| format!(r#"label_join({of}, "job", "-", "job", "instance")"#));
    prop_oneof![2 => replaced, 1 => joined].boxed()
}

fn scalar(depth: u32) -> Text {
    if depth == 0 {
        return prop_oneof![4 => number(), 1 => Just("time()".to_owned())].boxed();
    }
    let of_vector = vector(depth - 1).prop_map(|of| format!("scalar({of})"));
    let both = (scalar(depth - 1), words(&["+", "-", "*", "/", "%", ">= bool"]), scalar(depth - 1));
    let both = both.prop_map(|(left, op, right)| format!("({left} {op} {right})"));
    prop_oneof![6 => number(), 1 => of_vector, 1 => both].boxed()
}

/// A vector whose evaluation never fails.
fn safe_vector(depth: u32) -> Text {
    if depth == 0 {
        return selector();
    }
    let of = safe_vector(depth - 1);
    prop_oneof![
        3 => selector(),
        3 => range_call(depth - 1),
        2 => aggregation(&of),
        1 => function(&of),
        1 => with_scalar(&of, 0),
    ]
    .boxed()
}

fn vector(depth: u32) -> Text {
    if depth == 0 {
        return selector();
    }
    let of = vector(depth - 1);
    prop_oneof![
        2 => selector(),
        5 => range_call(depth),
        4 => aggregation(&of),
        2 => function(&of),
        2 => with_scalar(&of, depth - 1),
        3 => between_vectors(&of),
        1 => relabelled(&of),
        1 => histogram(depth - 1),
        1 => of.clone().prop_map(|of| format!("-({of})")),
        1 => scalar(depth - 1).prop_map(|scalar| format!("vector({scalar})")),
    ]
    .boxed()
}
