//! What a query may take, at sizes just beyond the bounds.

use std::time::Duration;

use crate::promql::{LabelSet, Memory, NAME, Query, QueryAnswer, QueryError, QueryLimits, QueryResult};

const TOO_MANY: &str = "query processing would load too many samples into memory in query execution";

/// What a query yields at `steps` seconds from 0 on.
async fn answer(query: &str, steps: i64, limits: &QueryLimits) -> QueryResult<QueryAnswer> {
    let query = Query::range(query, 0, 1_000 * (steps - 1), 1_000, limits)?;
    query.answer(&Memory::default(), limits).await
}

fn limited(samples_max: usize) -> QueryLimits {
    QueryLimits { samples_max, ..QueryLimits::default() }
}

async fn refusal(query: &str, steps: i64, samples_max: usize) -> String {
    answer(query, steps, &limited(samples_max)).await.expect_err(query).to_string()
}

#[tokio::test]
async fn labels_that_are_made_are_bounded_in_size() {
    let joined = |depth| {
        let join = |inner: String, _| format!(r#"label_join({inner}, "a", ""{})"#, r#", "a""#.repeat(8));
        let one = r#"label_replace(vector(1), "a", "xxxxxxxxxxxxxxxx", "", "")"#.to_owned();
        (0..depth).fold(one, join)
    };
    assert!(answer(&joined(3), 1, &limited(9)).await.is_ok(), "8 KiB");
    let refused = refusal(&joined(4), 1, 9).await;
    assert_eq!(refused, "label_join() makes a label value of 65536 bytes, it may have 8192");
    let replaced = format!(r#"label_replace({}, "a", "$1$1", "a", "(.*)")"#, joined(3));
    let refused = refusal(&replaced, 1, 9).await;
    assert_eq!(refused, "label_replace() makes a label value of 16384 bytes, it may have 8192");
}

#[test]
fn labels_that_are_made_are_bounded_together() {
    let mut budget = crate::promql::limits::Budget::new(&QueryLimits::default());
    let text = "x".repeat(1024 * 1024);
    assert!((0..64).all(|_| budget.take_label(&text).is_ok()));
    assert!(budget.take_label("x").is_err());
}

#[tokio::test]
async fn scalars_are_held_like_rows() {
    let nested = |depth| (0..depth).fold("time()".to_owned(), |inner, _| format!("time() + ({inner})"));
    assert!(answer(&nested(8), 100, &limited(900)).await.is_ok());
    assert_eq!(refusal(&nested(9), 100, 900).await, TOO_MANY);
    assert_eq!(
        refusal(&format!("sum_over_time(vector({})[100s:100ms])", nested(9)), 1, 5_000).await,
        TOO_MANY
    );
    for query in
        ["1", "time()", "pi()", "hour()", "vector(1)", "scalar(vector(1))", "absent(x)", "-vector(1)"]
    {
        assert_eq!(refusal(query, 100, 99).await, TOO_MANY, "{query}");
    }
}

#[tokio::test]
async fn what_is_let_go_of_is_given_back_and_no_more() {
    // As many as this have to fit on the stack of a test, too.
    let flat = vec!["time()"; 300].join(" + ");
    assert!(answer(&flat, 100, &limited(200)).await.is_ok());
    // None of these holds more than 800, and what follows 1,600.
    let subqueries = vec!["max_over_time(vector(1)[400s:1s])"; 20].join(" + ");
    assert!(answer(&subqueries, 1, &limited(1_000)).await.is_ok());
    let query = format!(r#"{subqueries} + max_over_time(count_values("v", vector(time()))[40s:1s])"#);
    assert_eq!(refusal(&query, 1, 1_000).await, TOO_MANY);
}

#[tokio::test]
async fn values_are_counted_in_rows_that_were_taken() {
    let query = r#"count_values("v", vector(time()))"#;
    assert!(answer(query, 30, &limited(930)).await.is_ok());
    assert_eq!(refusal(query, 30, 929).await, TOO_MANY);
}

#[tokio::test]
async fn pairs_are_taken_before_they_are_joined() {
    let query = r#"count_values("v", vector(time())) + on() group_left count_values("w", vector(time()))"#;
    // Both sides and what they yield, and all pairs of one row.
    assert!(answer(query, 30, &limited(4 * 900)).await.is_ok());
    assert_eq!(refusal(query, 30, 3 * 900).await, TOO_MANY);
}

/// With no time at all, a query ends at the first look at the clock.
#[tokio::test]
async fn the_clock_is_looked_at_within_a_series() {
    let limits = QueryLimits { timeout: Duration::ZERO, ..QueryLimits::default() };
    for query in
        ["quantile_over_time(0.5, sin(vector(time()))[100s:100ms])", "last_over_time(vector(1)[100s:100ms])"]
    {
        assert!(answer(query, 10, &limits).await.is_ok(), "it takes no time");
        assert!(matches!(answer(query, 500, &limits).await, Err(QueryError::Timeout)), "{query}");
    }
}

#[tokio::test]
async fn the_clock_is_looked_at_between_labels() {
    let mut memory = Memory::default();
    for n in 0..50 {
        let value = format!("{n}{}", "x".repeat(100));
        memory.add([(NAME, "x"), ("a", value.as_str())].into_iter().collect::<LabelSet>(), vec![(0, 1.0)]);
    }
    let limits = QueryLimits { timeout: Duration::ZERO, ..QueryLimits::default() };
    let replaced = r#"label_replace(x, "b", "$1", "a", "(.*)x")"#;
    for (query, is_over) in [("x", false), (replaced, true)] {
        let answer = Query::instant(query, 0, &limits).unwrap().answer(&memory, &limits).await;
        assert_eq!(matches!(answer, Err(QueryError::Timeout)), is_over, "{query}");
    }
}
