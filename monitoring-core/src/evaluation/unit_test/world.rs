//! The series of a test, and those that rules add to them.

use chrono::{DateTime, Utc};

use super::file::TestGroup;
use crate::alerting::TextSources;
use crate::evaluation::rule::Asked;
use crate::model::{Labels, Series};
use crate::promql::{
    Columns, LabelSet, Memory, NAME, Query, QueryLimits, QueryResult, written_series, written_values,
};

/// Samples that are let in before others have a turn.
const SAMPLES_AT_ONCE: usize = 10_000;

impl TestGroup {
    /// Milliseconds between two values of a series.
    fn interval(&self, evaluated_every: i64) -> i64 {
        let interval = self.interval.filter(|interval| !interval.get().is_zero());
        interval.map_or(evaluated_every, super::millis)
    }

    /// How many values all series have until the test ends, as far as they can be read.
    pub(super) fn values(&self, evaluated_every: i64) -> usize {
        let wanted = until(self.end().0, self.interval(evaluated_every));
        let values = self.input_series.iter().filter_map(|input| written_values(&input.values.0).ok()?);
        values.map(|values| values.len().min(wanted)).sum()
    }
}

/// How many values a series may have up to this time.
fn until(end: i64, interval: i64) -> usize {
    usize::try_from(end / interval + 1).unwrap_or(usize::MAX)
}

/// What there is at some time of a test.
pub(super) struct World<'t> {
    pub memory: Memory,
    /// Samples of the input that are still to come, the last first: time, series, value.
    ahead: Vec<(i64, LabelSet, f64)>,
    limits: &'t QueryLimits,
    sources: TextSources,
}

impl<'t> World<'t> {
    /// What there is at the beginning of a test that ends `end` milliseconds later.
    ///
    /// # Errors
    ///
    /// What is wrong with which series.
    pub(super) fn new(
        test: &TestGroup,
        evaluated_every: i64,
        end: i64,
        limits: &'t QueryLimits,
    ) -> Result<Self, String> {
        let (start, interval) = (test.start_timestamp.0, test.interval(evaluated_every));
        let mut ahead = Vec::new();
        for input in &test.input_series {
            let wrong = |error: String| format!("{}: {error}", input.series);
            let (labels, rest) = written_series(&input.series).map_err(wrong)?;
            if !rest.trim().is_empty() {
                return Err(wrong(format!("unexpected {rest:?} behind the series")));
            }
            let values = written_values(&input.values.0).map_err(wrong)?;
            let values = values.ok_or_else(|| wrong("native histograms are not known here".to_owned()))?;
            for (n, value) in (0_i64..).zip(values.iter().take(until(end, interval))) {
                ahead.extend(value.map(|value| (start + n * interval, labels.clone(), value)));
            }
        }
        // Taken from the end: of one time, in the order of the file.
        ahead.reverse();
        ahead.sort_by_key(|(time, ..)| std::cmp::Reverse(*time));
        let external_labels =
            test.external_labels.iter().map(|(name, text)| (name.as_str(), text.0.as_str()));
        let sources = TextSources {
            external_labels: external_labels.collect(),
            external_url: test.external_url.clone().unwrap_or_default(),
            ..TextSources::default()
        };
        Ok(Self { memory: Memory::default(), ahead, limits, sources })
    }

    /// Lets in what the input has up to this time.
    pub(super) async fn come_to(&mut self, time: i64) {
        let mut let_in = 0;
        while let Some((at, labels, value)) = self.ahead.pop_if(|(at, ..)| *at <= time) {
            self.memory.add(labels, [(at, value)]);
            let_in += 1;
            if let_in % SAMPLES_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Writes a sample of a series that a rule makes.
    pub(super) fn write(&mut self, series: &Series, time: i64, value: f64) {
        self.memory.add(label_set(&series.name, &series.labels), [(time, value)]);
    }
}

fn label_set(name: &str, labels: &Labels) -> LabelSet {
    std::iter::once((NAME, name)).chain(labels.iter()).collect()
}

impl Asked for World<'_> {
    async fn columns_at(&self, query: &str, time: DateTime<Utc>) -> QueryResult<Columns> {
        let query = Query::instant(query, time.timestamp_millis(), self.limits)?;
        query.columns(&self.memory, self.limits).await
    }

    fn sources(&self, now: DateTime<Utc>) -> TextSources {
        TextSources { now, ..self.sources.clone() }
    }
}
