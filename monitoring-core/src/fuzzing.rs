//! The ways in for the fuzz targets: what strangers send, without a database behind it.
//!
//! It is there where `cargo fuzz` sets `--cfg fuzzing` and in this crate's own tests. A feature would
//! be simpler to name, but a host could switch it on, and any crate beside it for all others.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::DateTime;

use crate::clock::Clock;
use crate::config::Settings;
use crate::promql::{
    LabelSet, Memory, NAME, Query, QueryError, QueryLimits, QueryResult, QueryValue, STALE, format_query,
    parse_query,
};
use crate::services::{SentReport, SentSeries, check_samples_only};
use crate::store::Context;

/// When queries are asked, in milliseconds since 1970.
const NOW: i64 = 3_600_000;

/// A query's text on all its ways: it is laid out, shown as a tree, and evaluated at an instant and
/// over a range.
///
/// # Errors
///
/// As for any caller; the fuzz target wants only that there is an answer of either kind.
///
/// # Panics
///
/// If a query that is laid out for reading is none any longer.
pub fn query(text: &str) -> QueryResult<Vec<QueryValue>> {
    let tree = parse_query(text);
    let laid_out = format_query(text)?;
    assert!(tree.is_ok(), "it can be laid out, but not shown");
    assert!(parse_query(&laid_out).is_ok(), "it was laid out as what is no query: {laid_out}");
    let limits = limits();
    let instant = answer(Query::instant(text, NOW, &limits)?)?;
    match Query::range(text, NOW - 600_000, NOW, 47_000, &limits) {
        Ok(query) => Ok(vec![instant, answer(query)?]),
        Err(QueryError::BadData(_)) => Ok(vec![instant]), // of a type that has no steps
        Err(error) => Err(error),
    }
}

/// As much as a request may cost here: a fuzzer has many to make.
fn limits() -> QueryLimits {
    QueryLimits { samples_max: 200_000, timeout: Duration::from_secs(60), ..QueryLimits::default() }
}

fn answer(query: Query) -> QueryResult<QueryValue> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
    runtime.block_on(query.answer(&*SERIES, &limits())).map(|answer| answer.value)
}

static SERIES: LazyLock<Memory> = LazyLock::new(series);

/// A few series of each kind: counters that begin anew, readings with gaps and with what is no
/// number, a histogram.
fn series() -> Memory {
    let mut memory = Memory::default();
    let mut add = |labels: &[(&str, &str)], value: &dyn Fn(i64) -> f64| {
        let samples: Vec<_> =
            (0..120).filter(|n| n % 17 != 3).map(|n| (NOW - n * 15_000, value(n))).collect();
        memory.add(labels.iter().copied().collect::<LabelSet>(), samples);
    };
    for (job, size) in [("a", 40), ("b", 25)] {
        add(&[(NAME, "c_total"), ("job", job), ("l", "1")], &|n| ((200 - n) % size) as f64);
        add(&[(NAME, "c_total"), ("job", job), ("l", "2")], &|n| (200 - n) as f64 * 0.1);
        add(&[(NAME, "g"), ("job", job)], &|n| match n {
            n if n % 11 == 0 => STALE,
            n if n % size == 5 => f64::NAN,
            n if n % size == 6 => f64::INFINITY,
            n => (n as f64).sin() * size as f64,
        });
        for (le, share) in [("0.1", 1.0), ("1", 2.5), ("+Inf", 3.0)] {
            add(&[(NAME, "h_bucket"), ("job", job), ("le", le)], &|n| (200 - n) as f64 * share);
        }
    }
    memory
}

/// What would be stored of series that were sent: how many samples, and what is refused.
#[must_use]
pub fn stored(sent: Vec<SentSeries>) -> (usize, SentReport) {
    let clock = Clock::fixed(DateTime::from_timestamp_millis(NOW).expect("a time of this calendar"));
    let context = Context::new(Settings { clock, ..Settings::default() }).expect("the defaults are fine");
    check_samples_only(sent, &context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_queries_with_answers() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/promql");
        for entry in std::fs::read_dir(folder).expect("the folder of seeds can be read") {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("a seed can be read");
            query(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }

    #[test]
    fn what_is_sent_is_checked_as_for_any_sender() {
        let labels = [(NAME, "up"), ("job", "a")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let now = DateTime::from_timestamp_millis(NOW).unwrap();
        let sent = vec![
            SentSeries { labels: labels.to_vec(), samples: vec![(now, 1.0)], ..SentSeries::default() },
            SentSeries { samples: vec![(now, 1.0)], ..SentSeries::default() },
        ];
        let (stored, report) = stored(sent);
        assert_eq!((stored, report.refused), (1, 1));
    }
}
