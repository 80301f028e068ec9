//! What an analysis is made of: everything it looks at, read beforehand.

use chrono::{DateTime, Utc};

use crate::model::{AlertTransition, Event, Incident, Period, to_micros};
pub(crate) use crate::query::{SeriesHistory, SeriesNature};

/// An event and how many like it it stands for: more than one where events were sampled.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub event: Event,
    /// As a message; 0 if it was only read as part of a request.
    pub weight: f64,
    /// For how many like it its request stands; 0 if of the request not all is known.
    pub request_weight: f64,
}

impl Seen {
    /// One of which all like it were seen.
    #[cfg(test)]
    pub(crate) fn whole(event: Event) -> Self {
        Self { event, weight: 1.0, request_weight: 1.0 }
    }
}

/// Another incident.
#[derive(Clone, Debug)]
pub(crate) struct OtherIncident {
    pub incident: Incident,
    /// What it looked like, where it was analyzed.
    pub signature: Vec<String>,
}

/// Everything an analysis looks at.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// All that is looked at, reference and incident.
    pub span: Period,
    /// When the incident was opened.
    pub opened_at: DateTime<Utc>,
    pub events: Vec<Seen>,
    pub series: Vec<SeriesHistory>,
    /// Incidents around it and before it.
    pub incidents: Vec<OtherIncident>,
    /// Alerts of other rules that began to fire in the span.
    pub firings: Vec<AlertTransition>,
}

/// Time in equal buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    start: i64,
    width: i64,
    pub count: usize,
}

impl Axis {
    /// Buckets an axis has at most; fewer where they would be shorter than [`Self::WIDTH_MIN`].
    const COUNT_MAX: i64 = 150;
    /// Microseconds.
    const WIDTH_MIN: i64 = 1_000_000;
    const NICE_SECONDS: [i64; 9] = [1, 2, 5, 10, 15, 30, 60, 120, 300];

    pub(super) fn of(span: Period) -> Self {
        let (start, end) = (to_micros(span.start), to_micros(span.end));
        let length = (end - start).max(Self::WIDTH_MIN);
        let least = length / Self::COUNT_MAX;
        let nice = Self::NICE_SECONDS.iter().map(|seconds| seconds * 1_000_000).find(|nice| *nice >= least);
        let width = nice.unwrap_or(least);
        // A last bucket that has only begun would look like a loss of traffic.
        Self { start, width, count: usize::try_from(length / width).unwrap_or(1).max(1) }
    }

    /// The bucket of a time in microseconds, if it has one.
    pub(super) fn bucket(&self, micros: i64) -> Option<usize> {
        let bucket = usize::try_from((micros - self.start).div_euclid(self.width)).ok()?;
        (bucket < self.count).then_some(bucket)
    }

    pub(super) fn bucket_of(&self, time: DateTime<Utc>) -> Option<usize> {
        self.bucket(to_micros(time))
    }

    pub(super) fn time(&self, bucket: usize) -> DateTime<Utc> {
        let micros = self.start + self.width * i64::try_from(bucket).unwrap_or(0);
        crate::model::from_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
    }

    pub(super) fn end(&self) -> DateTime<Utc> {
        self.time(self.count)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.width as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn buckets_have_a_round_width_and_are_not_too_many() {
        let start: DateTime<Utc> = "2026-06-15T12:00:00Z".parse().unwrap();
        for (seconds, width) in [(240, 2.0), (3_900, 30.0), (7_200, 60.0), (100_000, 666.666_666)] {
            let axis = Axis::of(Period { start, end: start + TimeDelta::seconds(seconds) });
            assert_eq!(axis.seconds(), width, "{seconds}");
            assert!(axis.count <= 150, "{}", axis.count);
            assert_eq!(axis.bucket_of(axis.time(7)), Some(7));
            assert_eq!(axis.bucket_of(axis.end()), None);
            assert_eq!(axis.bucket_of(start - TimeDelta::seconds(1)), None);
        }
    }
}
