//! What to know about an answer beside the answer: warnings and hints, in Prometheus's words.

use std::collections::BTreeSet;
use std::fmt;

/// Notes kept for one query; more would say nothing new.
const NOTES_MAX: usize = 10;

/// Something about the data that makes the answer doubtful.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Note {
    InvalidQuantile(String),
    InvalidRatio {
        given: String,
        used: String,
    },
    BadBucketLabel {
        metric: String,
        le: String,
    },
    NotACounter(String),
    ForcedMonotonic(String),
    SortedRange,
    /// So many series are known, and no more.
    SeriesLeftOut(usize),
}

impl Note {
    /// Warnings say that the answer may be wrong, hints that it may not be what was meant.
    pub(crate) const fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::InvalidQuantile(_)
                | Self::InvalidRatio { .. }
                | Self::BadBucketLabel { .. }
                | Self::SortedRange
                | Self::SeriesLeftOut(_)
        )
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_warning() { "PromQL warning: " } else { "PromQL info: " })?;
        match self {
            Self::InvalidQuantile(q) => write!(f, "quantile value should be between 0 and 1, got {q}"),
            Self::InvalidRatio { given, used } => {
                write!(f, "ratio value should be between -1 and 1, got {given}, capping to {used}")
            }
            Self::BadBucketLabel { metric, le } => write!(
                f,
                "bucket label \"le\" is missing or has a malformed value of {le:?} for metric name {metric:?}"
            ),
            Self::SortedRange => f.write_str(
                "sort is ineffective for range queries since results are always ordered by labels",
            ),
            Self::SeriesLeftOut(known) => {
                write!(
                    f,
                    "there are more series than can be kept in memory: the newest past {known} are left out"
                )
            }
            Self::NotACounter(metric) => write!(
                f,
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"
            ),
            Self::ForcedMonotonic(metric) => write!(
                f,
                "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name {metric:?}"
            ),
        }
    }
}

/// The notes on one answer, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes(BTreeSet<Note>);

impl Notes {
    pub(crate) fn add(&mut self, note: Note) {
        if self.0.len() < NOTES_MAX {
            self.0.insert(note);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Note> {
        self.0.iter()
    }
}
