//! A slow, obvious evaluator, and random queries over random series, for which the engine must answer
//! the same.
//!
//! The reference is written from Prometheus's documentation: it takes one instant at a time and one
//! series at a time, walks the parser's tree anew for each, and has neither columns nor windows that
//! slide. It shares nothing with the engine but the parser. `MONITORING_PROMQL_CASES` raises the
//! number of cases.

mod aggregate;
mod evaluate;
mod functions;
mod grammar;
mod histogram;
mod operators;
mod series;
mod window;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::{Query, QueryLimits, QueryValue};
use evaluate::{Answer, Element, Reference, Worth};
use series::{Kind, Labels, NAME, Series, memory, some_series};

/// Cases of an ordinary run.
const CASES: u32 = 1_000;

/// Sums over groups may be made in another order of series, and means of means are divided elsewhere:
/// results may differ by rounding, relative to their size, or to one, where they cancel out.
const TOLERANCE: f64 = 1e-9;

/// A query and when it is asked, in milliseconds. One step is an instant query.
#[derive(Clone, Debug)]
struct Asked {
    query: String,
    start: i64,
    interval: i64,
    steps: i64,
}

impl Asked {
    fn end(&self) -> i64 {
        self.start + self.interval * (self.steps - 1)
    }
}

/// The samples of each series of an answer.
type Answered = BTreeMap<Labels, Vec<(i64, f64)>>;

#[test]
fn the_engine_answers_as_the_reference_does() {
    let cases = std::env::var("MONITORING_PROMQL_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 50_000, ..Config::default() };
    let (mut answered, mut refused) = (0, 0);
    let counts = std::cell::RefCell::new((&mut answered, &mut refused));
    let outcome = TestRunner::new(config).run(&(some_series(), asked()), |(series, asked)| {
        let is_answered = check(&series, &asked)?;
        let mut counts = counts.borrow_mut();
        *(if is_answered { &mut *counts.0 } else { &mut *counts.1 }) += 1;
        Ok(())
    });
    println!("{answered} queries were answered, {refused} refused by both");
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// What random queries have found, and what they are most likely to miss.
#[test]
fn queries_that_once_went_wrong_agree() {
    let readings = |labels: &[(&str, &str)], samples: &[(i64, f64)]| Series {
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        kind: Kind::Readings,
        samples: samples.to_vec(),
    };
    let series = [
        readings(&[(NAME, "h_bucket"), ("job", "a"), ("le", "0.5")], &[(400_000, 1.0)]),
        readings(&[(NAME, "g"), ("job", "a"), ("instance", "1")], &[(400_000, 1.0), (430_000, 3.0)]),
        readings(&[(NAME, "g"), ("job", "a"), ("instance", "2")], &[(400_000, 5.0), (430_000, 2.0)]),
        readings(&[(NAME, "e"), ("job", "a")], &[(400_000, 2.0)]),
        Series {
            kind: Kind::Increments { before: None },
            ..readings(&[(NAME, "d"), ("job", "a")], &[(10_000, 2.0), (100_000, 3.0)])
        },
    ];
    for query in [
        "histogram_quantile(3, h_bucket)",
        "stddev by (__name__) (g)",
        "g > on (job) e",
        "g < on (job) e",
        "g >= bool on (job) e",
        "timestamp(d)",
        "rate(d[3m])",
    ] {
        for steps in [1, 9] {
            let asked = Asked { query: query.to_owned(), start: 390_000, interval: 20_000, steps };
            check(&series, &asked).unwrap();
        }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let intervals = prop_oneof![Just(60_000_i64), Just(15_000), Just(301_000), 1..90_000_i64];
    let steps = prop_oneof![2 => Just(1_i64), 3 => 2..12_i64];
    (grammar::query(), 0..1_500_000_i64, intervals, steps).prop_map(|(query, start, interval, steps)| Asked {
        query,
        start,
        interval,
        steps,
    })
}

/// Whether it was answered at all: both may refuse it.
fn check(series: &[Series], asked: &Asked) -> Result<bool, TestCaseError> {
    match (by_reference(series, asked), by_engine(series, asked)) {
        (Err(_), Err(_)) => Ok(false),
        (Ok(expected), Ok(found)) if is_same(&expected, &found) => Ok(true),
        (expected, found) => {
            let why = format!("{}\nexpected {}\nfound    {}", asked.query, shown(&expected), shown(&found));
            Err(TestCaseError::fail(why))
        }
    }
}

fn shown(answer: &Answer<Answered>) -> String {
    match answer {
        Ok(answered) if answered.is_empty() => "nothing".to_owned(),
        Ok(answered) => {
            let line = |(labels, samples)| format!("{labels:?} {samples:?}");
            answered.iter().map(line).collect::<Vec<_>>().join("\n         ")
        }
        Err(error) => format!("error: {error}"),
    }
}

fn by_reference(series: &[Series], asked: &Asked) -> Answer<Answered> {
    let expression = promql_parser::parser::parse(&asked.query)?;
    let reference = Reference { series, start: asked.start, end: asked.end() };
    let mut answered = Answered::new();
    for step in 0..asked.steps {
        let time = asked.start + asked.interval * step;
        let elements = match reference.evaluate(&expression, time)? {
            Worth::Vector(elements) => elements,
            Worth::Scalar(value) => vec![Element { labels: Labels::new(), drops_name: false, value }],
            Worth::Text(_) => return Err("a text".to_owned()),
        };
        for Element { mut labels, drops_name, value } in elements {
            if drops_name {
                labels.remove(NAME);
            }
            let samples = answered.entry(labels).or_default();
            if samples.last().is_some_and(|(last, _)| *last == time) {
                return Err("two elements have the same labels in the end".to_owned());
            }
            samples.push((time, value));
        }
    }
    Ok(answered)
}

fn by_engine(series: &[Series], asked: &Asked) -> Answer<Answered> {
    let limits = QueryLimits::default();
    let query = match asked.steps {
        1 => Query::instant(&asked.query, asked.start, &limits),
        _ => Query::range(&asked.query, asked.start, asked.end(), asked.interval, &limits),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = query.and_then(|query| runtime.block_on(query.answer(&memory(series), &limits)));
    let rows = match answer.map_err(|error| error.to_string())?.value {
        QueryValue::Scalar(time, value) => return Ok([(Labels::new(), vec![(time, value)])].into()),
        QueryValue::Text(..) => return Err("a text".to_owned()),
        QueryValue::Vector(rows) | QueryValue::Matrix(rows) => rows,
    };
    let labels = |row: &crate::promql::SeriesValues| -> Labels {
        row.labels.iter().map(|label| (label.name.to_string(), label.value.to_string())).collect()
    };
    Ok(rows.into_iter().map(|row| (labels(&row), row.samples)).collect())
}

fn is_same(expected: &Answered, found: &Answered) -> bool {
    let same_sample = |((time, a), (other, b)): (&(i64, f64), &(i64, f64))| time == other && is_near(*a, *b);
    expected.len() == found.len()
        && expected.iter().zip(found).all(|((labels, samples), (other_labels, others))| {
            labels == other_labels
                && samples.len() == others.len()
                && samples.iter().zip(others).all(same_sample)
        })
}

fn is_near(a: f64, b: f64) -> bool {
    let size = a.abs().max(b.abs()).max(1.0);
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * size && size.is_finite()
}
