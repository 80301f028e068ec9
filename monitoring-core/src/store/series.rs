//! What a store promises the query engine: all series there are, and the samples of some.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::model::{SampleValue, Series, SeriesId};

super::store_trait! {
    /// Reading by series.
    SeriesStore {
        /// Series registered at or after `since`, in the order of time and id: up to `limit` of them
        /// behind `after`. One that several writers registered at once may come more than once.
        fn series_registered(since: DateTime<Utc>, after: Option<&(DateTime<Utc>, SeriesId)>, limit: u32)
            -> Vec<RegisteredSeries>;

        /// The samples of these series from `from` on and before `before`, by series and time.
        fn samples_of_series(ids: &[SeriesId], from: DateTime<Utc>, before: DateTime<Utc>) -> Vec<SeriesSample>;

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

/// A sample, as far as queries need it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeriesSample {
    pub series_id: SeriesId,
    pub timestamp: DateTime<Utc>,
    pub value: SampleValue,
}
