//! Which series may come into being: a metric has one type, and a bounded number of series, as have all
//! metrics together.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::{Invalid, Limits, MetricType, Series, SeriesId, Temporality, is_own_metric, is_unlimited_metric};

/// How the values of a series are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SeriesKind {
    pub metric_type: MetricType,
    pub temporality: Temporality,
}

impl SeriesKind {
    /// True where samples are summed; else the newest is what counts.
    pub(crate) const fn adds_up(self) -> bool {
        matches!(self.temporality, Temporality::Delta) && !matches!(self.metric_type, MetricType::Gauge)
    }
}

impl Series {
    /// How its values are to be read.
    pub(crate) const fn kind(&self) -> SeriesKind {
        SeriesKind { metric_type: self.metric_type, temporality: self.temporality }
    }

    /// What its labels take, about as they are stored.
    pub(crate) fn label_bytes(&self) -> usize {
        /// Quotes, a colon and a comma.
        const MARKS: usize = 6;
        self.labels.iter().map(|(name, value)| name.len() + value.len() + MARKS).sum()
    }
}

/// What a metric's name is used for already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameUse {
    pub kind: SeriesKind,
    /// Series there are, counted no further than needed to see that the limit is reached.
    pub series: usize,
}

/// How many series there are, and what their labels take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeriesCount {
    pub series: usize,
    pub label_bytes: usize,
}

/// Whose series it would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Host,
    /// Of somebody who sends.
    Sender,
}

/// What is registered, as far as it concerns the series at hand: decides which of them may be
/// added. It learns from what it admits, so one batch is held to the same rules as many.
#[derive(Debug)]
pub(crate) struct Registered {
    series: HashMap<SeriesId, SeriesKind>,
    names: HashMap<String, NameUse>,
    /// Of all metrics.
    there: SeriesCount,
    per_metric_max: usize,
    /// What the host may bring all metrics to.
    max: SeriesCount,
}

impl Registered {
    /// Nothing is registered yet, or it is learned of later.
    pub(crate) fn nothing(limits: &Limits) -> Self {
        Self::new(HashMap::new(), HashMap::new(), SeriesCount::default(), limits)
    }

    /// `names` must cover every name of which a series not in `series` will be asked about; a name
    /// it lacks counts as unused. `there` is asked for if any of them is not of a metric of our own.
    pub(crate) fn new(
        series: HashMap<SeriesId, SeriesKind>,
        names: HashMap<String, NameUse>,
        there: SeriesCount,
        limits: &Limits,
    ) -> Self {
        let max = SeriesCount { series: limits.series_max, label_bytes: limits.series_label_bytes_max };
        Self { series, names, there, per_metric_max: limits.series_per_metric_max, max }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        (self.series, self.names, self.there) = Default::default();
    }

    /// Series of one metric name.
    pub(crate) fn per_metric_max(&self) -> usize {
        self.per_metric_max
    }

    /// Series of all metrics.
    pub(crate) fn series_max(&self) -> usize {
        self.max.series
    }

    /// Learns of more series, and of what names are used for: of all that were `asked` about, those
    /// in `names` and no others are used. What was admitted meanwhile but never stored is forgotten.
    pub(crate) fn learn(
        &mut self,
        series: HashMap<SeriesId, SeriesKind>,
        asked: &HashSet<String>,
        names: HashMap<String, NameUse>,
        there: Option<SeriesCount>,
    ) {
        self.series.extend(series);
        self.there = there.unwrap_or(self.there);
        for name in asked {
            self.names.remove(name);
        }
        self.names.extend(names);
    }

    /// Whether the series is registered or admitted.
    pub(crate) fn knows(&self, id: SeriesId) -> bool {
        self.series.contains_key(&id)
    }

    /// What the series is registered or admitted as.
    pub(crate) fn kind_of(&self, id: SeriesId) -> Option<&SeriesKind> {
        self.series.get(&id)
    }

    /// Takes back what was admitted but not stored.
    pub(crate) fn forget(&mut self, id: SeriesId) {
        self.series.remove(&id);
    }

    /// How many series it knows.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Keeps a name that nobody uses for series of this kind.
    pub(crate) fn reserve(&mut self, name: &str, kind: SeriesKind) {
        self.names.entry(name.to_owned()).or_insert(NameUse { kind, series: 0 });
    }

    /// Agrees to store samples of the series, or says why not.
    pub(crate) fn admit(&mut self, series: &Series) -> Result<(), Refusal> {
        self.admit_to(Share::Host, series)
    }

    /// The same for a series that somebody sends.
    pub(crate) fn admit_sent(&mut self, series: &Series) -> Result<(), Refusal> {
        self.admit_to(Share::Sender, series)
    }

    fn admit_to(&mut self, share: Share, series: &Series) -> Result<(), Refusal> {
        if let Some(kind) = self.series.get(&series.id) {
            return Refusal::unless_same(*kind, series.kind());
        }
        if !self.names.contains_key(&series.name) {
            self.names.insert(series.name.clone(), NameUse { kind: series.kind(), series: 0 });
        }
        let usage = self.names.get_mut(&series.name).expect("it is there by now");
        Refusal::unless_same(usage.kind, series.kind())?;
        let is_few = is_unlimited_metric(&series.name);
        let max = self.per_metric_max;
        if usage.series >= max && !is_few {
            return Err(Refusal::SeriesLimit { max });
        }
        let there = SeriesCount {
            series: self.there.series + 1,
            label_bytes: self.there.label_bytes + series.label_bytes(),
        };
        if !is_own_metric(&series.name) {
            Refusal::unless_within(there, share, self.max)?;
        }
        usage.series += 1;
        self.there = there;
        self.series.insert(series.id, series.kind());
        Ok(())
    }
}

/// Why a series may not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The name belongs to a metric of another type.
    OtherType(MetricType),
    /// The name belongs to a metric whose samples mean something else.
    OtherTemporality(Temporality),
    /// The metric has as many series as it may have.
    SeriesLimit { max: usize },
    /// All metrics together have as many series as whoever asks may bring them to.
    TotalLimit { max: usize },
    /// The labels of all series together take as much as whoever asks may bring them to.
    BytesLimit { max: usize },
}

impl Refusal {
    fn unless_same(there: SeriesKind, asked: SeriesKind) -> Result<(), Self> {
        if there.metric_type != asked.metric_type {
            return Err(Self::OtherType(there.metric_type));
        }
        if there.temporality != asked.temporality {
            return Err(Self::OtherTemporality(there.temporality));
        }
        Ok(())
    }

    fn unless_within(there: SeriesCount, share: Share, max: SeriesCount) -> Result<(), Self> {
        let of = |max: usize| if share == Share::Sender { max / 2 } else { max };
        let (max, max_bytes) = (of(max.series), of(max.label_bytes));
        match there {
            SeriesCount { series, .. } if series > max => Err(Self::TotalLimit { max }),
            SeriesCount { label_bytes, .. } if label_bytes > max_bytes => {
                Err(Self::BytesLimit { max: max_bytes })
            }
            _ => Ok(()),
        }
    }

    /// The same in terms of a request about the metric `name`.
    pub(crate) fn into_invalid(self, name: &str) -> Invalid {
        let field = match self {
            Self::OtherType(_) => "metric_type",
            Self::OtherTemporality(_) => "name",
            Self::SeriesLimit { .. } | Self::TotalLimit { .. } | Self::BytesLimit { .. } => "labels",
        };
        Invalid::field(field, format!("{name} {self}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherType(there) => write!(f, "is a {there} already; a metric has one type"),
            Self::OtherTemporality(Temporality::Cumulative) => {
                f.write_str("is kept as running totals from another sender; observations cannot be added")
            }
            Self::OtherTemporality(Temporality::Delta) => {
                f.write_str("is made of single observations; running totals cannot be mixed in")
            }
            Self::SeriesLimit { max } => write!(
                f,
                "has reached its limit of {max} series; a label with fewer values would keep below it"
            ),
            Self::TotalLimit { max } => write!(
                f,
                "cannot have another series: all metrics together have {max}; labels with fewer values \
                 would keep below it, and series that nobody needs can be deleted"
            ),
            Self::BytesLimit { max } => write!(
                f,
                "cannot have another series: the labels of all together take {max} bytes; shorter and fewer \
                 labels would keep below it, and series that nobody needs can be deleted"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ALERTS, ALERTS_FOR_STATE, Labels};

    fn series(label: &str, metric_type: MetricType) -> Series {
        let labels = [("a", label)].into_iter().collect();
        Series::new("m".to_owned(), labels, metric_type, Temporality::Delta, Vec::new())
    }

    fn nothing_registered(max: usize) -> Registered {
        Registered::nothing(&Limits { series_per_metric_max: max, ..Limits::default() })
    }

    #[test]
    fn one_batch_cannot_pass_the_limit() {
        let mut registered = nothing_registered(2);
        assert_eq!(registered.admit(&series("1", MetricType::Gauge)), Ok(()));
        assert_eq!(registered.admit(&series("2", MetricType::Gauge)), Ok(()));
        assert_eq!(registered.admit(&series("1", MetricType::Gauge)), Ok(()), "it is no new series");
        let refused = registered.admit(&series("3", MetricType::Gauge));
        assert_eq!(refused, Err(Refusal::SeriesLimit { max: 2 }));
    }

    #[test]
    fn one_batch_cannot_give_a_metric_two_types() {
        let mut registered = nothing_registered(9);
        assert_eq!(registered.admit(&series("1", MetricType::Gauge)), Ok(()));
        for label in ["1", "2"] {
            let refused = registered.admit(&series(label, MetricType::Counter));
            assert_eq!(refused, Err(Refusal::OtherType(MetricType::Gauge)));
        }
    }

    #[test]
    fn a_known_series_is_admitted_past_the_limit() {
        let known = series("1", MetricType::Gauge);
        let names = [("m".to_owned(), NameUse { kind: known.kind(), series: 1 })].into();
        let limits = Limits { series_per_metric_max: 1, ..Limits::default() };
        let there = SeriesCount { series: 1, label_bytes: 0 };
        let mut registered = Registered::new([(known.id, known.kind())].into(), names, there, &limits);
        assert_eq!(registered.admit(&known), Ok(()));
        assert!(registered.admit(&series("2", MetricType::Gauge)).is_err());
    }

    #[test]
    fn alerts_are_not_limited_by_metric() {
        let mut registered = nothing_registered(1);
        for name in [ALERTS, ALERTS_FOR_STATE] {
            for pod in ["a", "b", "c"] {
                let labels = [("pod", pod)].into_iter().collect();
                let series =
                    Series::new(name.into(), labels, MetricType::Gauge, Temporality::Cumulative, Vec::new());
                assert_eq!(registered.admit(&series), Ok(()));
            }
        }
    }

    fn named(name: &str) -> Series {
        Series::new(name.to_owned(), Labels::new(), MetricType::Gauge, Temporality::Delta, Vec::new())
    }

    #[test]
    fn who_sends_may_bring_all_metrics_to_half_of_what_the_host_may() {
        let limits = Limits { series_max: 4, ..Limits::default() };
        let mut registered = Registered::nothing(&limits);
        for name in ["a", "b"] {
            assert_eq!(registered.admit_sent(&named(name)), Ok(()));
        }
        assert_eq!(registered.admit_sent(&named("c")), Err(Refusal::TotalLimit { max: 2 }));
        assert_eq!(registered.admit_sent(&named("a")), Ok(()), "it is there");
        for name in ["d", "e"] {
            assert_eq!(registered.admit(&named(name)), Ok(()));
        }
        assert_eq!(registered.admit(&named("f")), Err(Refusal::TotalLimit { max: 4 }));
        assert_eq!(registered.admit(&named("monitoring_events_total")), Ok(()), "it is our own");
    }

    #[test]
    fn labels_count_by_their_bytes() {
        let limits = Limits { series_label_bytes_max: 40, ..Limits::default() };
        let mut registered = Registered::nothing(&limits);
        // Eleven bytes each.
        assert_eq!(registered.admit_sent(&series("four", MetricType::Gauge)), Ok(()));
        let refused = registered.admit_sent(&series("five", MetricType::Gauge));
        assert_eq!(refused, Err(Refusal::BytesLimit { max: 20 }));
        assert_eq!(registered.admit(&series("five", MetricType::Gauge)), Ok(()));
    }

    #[test]
    fn a_name_that_is_kept_has_its_kind_before_it_has_a_series() {
        let mut registered = nothing_registered(9);
        registered.reserve("m", series("1", MetricType::Counter).kind());
        let refused = registered.admit_sent(&series("1", MetricType::Gauge));
        assert_eq!(refused, Err(Refusal::OtherType(MetricType::Counter)));
        assert_eq!(registered.admit_sent(&series("1", MetricType::Counter)), Ok(()));
    }

    #[test]
    fn the_refusal_names_the_type_there_is() {
        let invalid = Refusal::OtherType(MetricType::Gauge).into_invalid("m");
        assert_eq!(invalid.to_string(), "metric_type: m is a gauge already; a metric has one type");
    }
}
