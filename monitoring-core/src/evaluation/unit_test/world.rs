//! The series of a test, and those that rules add to them.

use chrono::{DateTime, Utc};

use super::file::TestGroup;
use crate::alerting::TextSources;
use crate::evaluation::rule::Asked;
use crate::model::{Labels, Series};
use crate::promql::{
    Columns, LabelSet, Memory, NAME, Query, QueryLimits, QueryResult, written_series, written_values,
};

/// What there is at some time of a test.
pub(super) struct World<'t> {
    pub memory: Memory,
    /// Samples of the input that are still to come, the last first: time, series, value.
    ahead: Vec<(i64, LabelSet, f64)>,
    limits: &'t QueryLimits,
    sources: TextSources,
}

impl<'t> World<'t> {
    /// # Errors
    ///
    /// What is wrong with which series.
    pub(super) fn new(
        test: &TestGroup,
        evaluated_every: i64,
        limits: &'t QueryLimits,
    ) -> Result<Self, String> {
        let interval =
            test.interval.filter(|interval| !interval.get().is_zero()).map_or(evaluated_every, super::millis);
        let mut ahead = Vec::new();
        for input in &test.input_series {
            let wrong = |error: String| format!("{}: {error}", input.series);
            let (labels, rest) = written_series(&input.series).map_err(wrong)?;
            if !rest.trim().is_empty() {
                return Err(wrong(format!("unexpected {rest:?} behind the series")));
            }
            let values = written_values(&input.values.0).map_err(wrong)?;
            let values = values.ok_or_else(|| wrong("native histograms are not known here".to_owned()))?;
            for (n, value) in (0_i64..).zip(values) {
                let time = n.checked_mul(interval).ok_or_else(|| wrong("goes on for too long".to_owned()))?;
                ahead.extend(value.map(|value| (time, labels.clone(), value)));
            }
        }
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
    pub(super) fn come_to(&mut self, time: i64) {
        while let Some((at, labels, value)) = self.ahead.pop_if(|(at, ..)| *at <= time) {
            self.memory.add(labels, vec![(at, value)]);
        }
    }

    /// Writes a sample of a series that a rule makes.
    pub(super) fn write(&mut self, series: &Series, time: i64, value: f64) {
        self.memory.add(label_set(&series.name, &series.labels), vec![(time, value)]);
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

    fn sources(&self) -> TextSources {
        self.sources.clone()
    }
}
