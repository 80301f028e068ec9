//! Where the engine reads series from.

use super::error::QueryResult;
use super::labels::LabelSet;
use super::limits::Budget;
use super::matcher::Matcher;

/// A failure to read, of whatever kind the source has.
pub(crate) type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// From when to when samples are needed, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Not included.
    pub after: i64,
    /// Included.
    pub until: i64,
}

/// Samples read at once, more or less: a few megabytes.
const SAMPLES_PER_BATCH: i64 = 500_000;
/// Series read at once, however few samples that makes.
const SERIES_PER_BATCH_MAX: i64 = 2_048;

impl Reach {
    /// How many series to read at once, if each has a sample every fifteen seconds.
    pub(crate) fn series_per_batch(self) -> usize {
        let samples = (self.until.saturating_sub(self.after) / 15_000).clamp(1, SAMPLES_PER_BATCH);
        usize::try_from((SAMPLES_PER_BATCH / samples).min(SERIES_PER_BATCH_MAX)).unwrap_or(1)
    }
}

/// A series the source knows.
#[derive(Clone, Debug)]
pub(crate) struct Found<K> {
    /// With the name.
    pub labels: LabelSet,
    /// What the source finds its samples by.
    pub key: K,
}

/// The samples of one series, in order of time, each instant once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Samples {
    /// Milliseconds since 1970, rising.
    pub times: Vec<i64>,
    /// Readings; of a delta series, the running total after each increment. Staleness markers
    /// included, bit for bit.
    pub values: Vec<f64>,
    /// Present if it is a delta series.
    pub delta: Option<Delta>,
}

/// What makes a delta series exact.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Delta {
    /// What each sample added.
    pub increments: Vec<f64>,
    /// The running total before the first sample; `None` if there was nothing before.
    pub before: Option<f64>,
}

/// What of a delta series is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The increments. Running totals may begin anywhere.
    Increments,
    /// Running totals, right from the first sample ever.
    Totals,
}

/// Series and their samples. The engine knows nothing of where they come from.
pub(crate) trait SeriesSource: Sync {
    /// What a series' samples are found by.
    type Key: Clone + Send + Sync;

    /// The series that fulfil all matchers and may have samples within `reach`, at most `max` and
    /// one more.
    fn find(
        &self,
        matchers: &[Matcher],
        reach: Reach,
        max: usize,
    ) -> impl Future<Output = Result<Vec<Found<Self::Key>>, SourceError>> + Send;

    /// The samples of each of these series within `reach`, in the same order. What has to be held to find
    /// them is taken from the budget, and given back; they themselves are the caller's to account for.
    fn samples(
        &self,
        series: &[Found<Self::Key>],
        reach: Reach,
        wanted: Wanted,
        budget: &mut Budget,
    ) -> impl Future<Output = QueryResult<Vec<Samples>>> + Send;
}
