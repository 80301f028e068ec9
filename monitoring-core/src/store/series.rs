//! What a store promises the query engine: all series there are, and the samples of some.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::SampleColumns;
use crate::model::{SampleValue, Series, SeriesId};

super::store_trait! {
    /// Reading by series.
    SeriesStore {
        /// When series were registered at or after `since`, and their ids, in that order: up to `limit` of
        /// them behind `after`. One that several writers registered may come more than once.
        fn registrations(since: DateTime<Utc>, after: Option<&(DateTime<Utc>, SeriesId)>, limit: u32)
            -> Vec<(DateTime<Utc>, SeriesId)>;

        /// Those of these series that are there. One that several writers registered may come more than once.
        fn present_series(ids: &[SeriesId]) -> Vec<RegisteredSeries>;

        /// What tells whether there is anything new: how often series were registered at or after
        /// `since`, and how many removals there were.
        fn series_news(since: DateTime<Utc>) -> SeriesNews;

        /// How many series there are that were registered before `before`.
        fn series_before(before: DateTime<Utc>) -> u64;

        /// The samples of these series from `from` on and before `before`, those of one instant in
        /// the order of their origins. Asked for as numbers, distributions are what they sum up to.
        fn samples_of_series(ids: &[SeriesId], shape: Shape, from: DateTime<Utc>, before: DateTime<Utc>)
            -> HashMap<SeriesId, SampleColumns>;

        /// When the newest sample from `from` on and before `before` was taken, of those of the
        /// series that have one.
        fn newest_samples(ids: &[SeriesId], from: DateTime<Utc>, before: DateTime<Utc>)
            -> Vec<(SeriesId, DateTime<Utc>)>;

        /// What the samples of these series amount to, including those that are gone.
        fn totals_of_series(series: &[Series]) -> HashMap<SeriesId, SampleValue>;
    }
}

/// A series, and since when it is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RegisteredSeries {
    pub series: Series,
    pub registered_at: DateTime<Utc>,
}

/// What changes whenever a series is registered or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeriesNews {
    /// How often series were registered, by whichever writer.
    pub registered: i64,
    /// How many removals have begun, ever.
    pub removals: i64,
}

/// What is wanted of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One number each.
    Numbers,
    /// All of a distribution.
    Distributions,
}

/// Of each series the later of two times.
pub(super) fn later(
    times: impl IntoIterator<Item = (SeriesId, DateTime<Utc>)>,
) -> Vec<(SeriesId, DateTime<Utc>)> {
    let mut newest = HashMap::<SeriesId, DateTime<Utc>>::new();
    for (id, time) in times {
        newest.entry(id).and_modify(|newest| *newest = time.max(*newest)).or_insert(time);
    }
    newest.into_iter().collect()
}
