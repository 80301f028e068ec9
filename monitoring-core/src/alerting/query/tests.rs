use proptest::prelude::*;

use super::*;

fn refusal(query: &str) -> String {
    let invalid = check_query(query).expect_err(query);
    assert_eq!(invalid.errors()[0].field, "query");
    invalid.errors()[0].message.clone()
}

#[test]
fn good_queries_are_taken() {
    for query in [
        "cpu_usage > 80",
        "up == 0",
        "sum by (job) (rate(http_requests_total{status=~\"5..\"}[5m])) > 0.1",
        "histogram_quantile(0.9, sum(rate(x_bucket[10m])) by (le))",
        "vector(1)",
        "1",
        "max_over_time(rate(x[1m])[10m:1m]) unless on(a) y offset 1w",
        "# a comment with (((\nup",
    ] {
        assert!(check_query(query).is_ok(), "{query}: {:?}", check_query(query));
    }
}

#[test]
fn a_broken_query_is_refused_with_the_position() {
    for (query, place) in [
        ("cpu_usage >", "line 1, column 12: unexpected end of input"),
        ("cpu_usage > > 80", "line 1, column 13: unexpected <op:>>"),
        ("rate(x[5m]) by (job)", "line 1, column 13: unexpected <by>"),
        ("up{job=\"a\"", "line 1, column 11: unexpected end of input inside braces"),
        ("sum(up", "line 1, column 7: unclosed left parenthesis"),
        ("up)", "line 1, column 3: unexpected right parenthesis ')'"),
        ("up +\n  nope(x)", "line 2, column 3: unknown function with name 'nope'"),
        ("ünder > 1", "line 1, column 1: unexpected character: 'ü'"),
        ("a{b=\"ü\"} ? 1", "line 1, column 10: unexpected character: '?'"),
        ("up{job=\"a}", "line 1, column 8: unterminated quoted string \""),
    ] {
        let message = refusal(query);
        assert!(message.ends_with(place), "{query}: {message}");
        assert!(message.starts_with("parse error at "), "{message}");
    }
}

#[test]
fn a_wrong_type_is_located_where_the_argument_begins() {
    let message = refusal("1 + rate(up) * 2");
    assert!(message.contains("line 1, column 10"), "{message}");
    assert!(message.contains("expected type matrix"), "{message}");
}

#[test]
fn a_bad_regular_expression_is_located_at_its_label() {
    let message = refusal("up{a=~\"fine\", b=~\"(\", c=~\"fine\"}");
    assert!(message.contains("line 1, column 15"), "{message}");
}

#[test]
fn what_a_rule_cannot_watch_is_refused() {
    assert!(refusal("up[5m]").contains("instant vector"));
    assert!(refusal("\"text\"").contains("instant vector"));
    assert!(refusal(" \n").contains("empty"));
}

#[test]
fn a_query_cannot_be_too_long() {
    assert!(refusal(&"x".repeat(10_001)).contains("10000"));
    assert!(check_query(&"x".repeat(10_000)).is_ok());
}

#[test]
fn deep_queries_are_refused_before_they_reach_the_parser() {
    assert!(refusal(&"(".repeat(9_999)).contains("nested"));
    assert!(refusal(&format!("{}1{}", "(".repeat(101), ")".repeat(101))).contains("nested"));
    assert!(refusal(&format!("{}1", "-".repeat(9_999))).contains("operators"));
    assert!(refusal(&format!("1{}", "+1".repeat(4_000))).contains("operators"));
    assert!(refusal(&format!("1{}", " and x".repeat(600))).contains("operators"));
}

#[test]
fn what_is_just_within_the_bounds_fits_a_small_stack() {
    let deep = format!("{}1{}", "(".repeat(100), ")".repeat(100));
    let long = format!("1{}", "+1".repeat(300));
    let signs = format!("{}1", "-".repeat(300));
    let powers = format!("1{}", "^1".repeat(300));
    let small = std::thread::Builder::new().stack_size(1024 * 1024);
    let run = move || [deep, long, signs, powers].iter().all(|query| check_query(query).is_ok());
    assert!(small.spawn(run).unwrap().join().unwrap());
}

#[test]
fn durations_the_parser_would_panic_on_are_refused() {
    for query in ["rate(x[1e300])", "x offset 1e300", "x offset -1e300", "x offset inf", "x offset NaN > 1"] {
        assert!(refusal(query).contains("duration"), "{query}");
    }
    assert!(check_query("rate(x[300]) > 0").is_ok());
}

#[test]
fn a_long_broken_query_is_refused_quickly() {
    let query = format!("x{} )", " or x{a=~\".{900}\"}".repeat(200));
    let started = crate::ingest::Ticks::now();
    refusal(&query);
    assert!(crate::ingest::Ticks::now().since(started).as_secs() < 20);
}

/// Pieces of queries, in any order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "x",
        "sum",
        "rate",
        "by",
        "on",
        "group_left",
        "offset",
        "@",
        "start()",
        "bool",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "5m",
        "1e300",
        "0x1f",
        "inf",
        "nan",
        "-",
        "+",
        "^",
        "==",
        "=~",
        "=",
        ",",
        ":",
        "\"a\"",
        "'(",
        "`",
        "#",
        "\n",
        " ",
        "and",
        "fill",
        "ö",
        "1",
        "99999999999999999999y",
        "\\",
        "08",
    ]);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #[test]
    fn no_text_makes_the_check_panic(text in any::<String>()) {
        let _ = check_query(&text);
    }

    #[test]
    fn no_soup_of_tokens_makes_the_check_panic(text in soup()) {
        let _ = check_query(&text);
    }

    #[test]
    fn a_good_query_cut_short_is_refused_or_good(cut in 0_usize..80) {
        let query = "sum by (a) (rate(x{b=\"c\", d!~\"e\"}[5m:1m] offset -3h)) / on(a) group_left y > bool 2";
        let query = &query[..cut];
        if let Err(invalid) = check_query(query) {
            let message = &invalid.errors()[0].message;
            prop_assert!(message.contains("column") || message.contains("empty"), "{query}: {message}");
        }
    }
}
