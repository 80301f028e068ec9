//! Which series may come into being: a metric has one type, and a bounded number of series.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::{Invalid, MetricType, Series, SeriesId, Temporality, is_ingest_metric};

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
}

/// What a metric's name is used for already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameUse {
    pub kind: SeriesKind,
    /// Series there are, counted no further than needed to see that the limit is reached.
    pub series: usize,
}

/// What is registered, as far as it concerns the series at hand: decides which of them may be
/// added. It learns from what it admits, so one batch is held to the same rules as many.
#[derive(Debug)]
pub(crate) struct Registered {
    series: HashMap<SeriesId, SeriesKind>,
    names: HashMap<String, NameUse>,
    series_per_metric_max: usize,
}

impl Registered {
    /// `names` must cover every name of which a series not in `series` will be asked about; a name
    /// it lacks counts as unused.
    pub(crate) fn new(
        series: HashMap<SeriesId, SeriesKind>,
        names: HashMap<String, NameUse>,
        series_per_metric_max: usize,
    ) -> Self {
        Self { series, names, series_per_metric_max }
    }

    /// Learns of more series, and of what names are used for: of all that were `asked` about, those
    /// in `names` and no others are used. What was admitted meanwhile but never stored is forgotten.
    pub(crate) fn learn(
        &mut self,
        series: HashMap<SeriesId, SeriesKind>,
        asked: &HashSet<String>,
        names: HashMap<String, NameUse>,
    ) {
        self.series.extend(series);
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

    /// Agrees to store samples of the series, or says why not.
    pub(crate) fn admit(&mut self, series: &Series) -> Result<(), Refusal> {
        if let Some(kind) = self.series.get(&series.id) {
            return Refusal::unless_same(*kind, series.kind());
        }
        if !self.names.contains_key(&series.name) {
            self.names.insert(series.name.clone(), NameUse { kind: series.kind(), series: 0 });
        }
        let max = self.series_per_metric_max;
        if let Some(usage) = self.names.get_mut(&series.name) {
            Refusal::unless_same(usage.kind, series.kind())?;
            if usage.series >= max && !is_ingest_metric(&series.name) {
                return Err(Refusal::SeriesLimit { max });
            }
            usage.series += 1;
        }
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

    /// The same in terms of a request about the metric `name`.
    pub(crate) fn into_invalid(self, name: &str) -> Invalid {
        let field = match self {
            Self::OtherType(_) => "metric_type",
            Self::OtherTemporality(_) => "name",
            Self::SeriesLimit { .. } => "labels",
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(label: &str, metric_type: MetricType) -> Series {
        let labels = [("a", label)].into_iter().collect();
        Series::new("m".to_owned(), labels, metric_type, Temporality::Delta, Vec::new())
    }

    fn nothing_registered(max: usize) -> Registered {
        Registered::new(HashMap::new(), HashMap::new(), max)
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
        let mut registered = Registered::new([(known.id, known.kind())].into(), names, 1);
        assert_eq!(registered.admit(&known), Ok(()));
        assert!(registered.admit(&series("2", MetricType::Gauge)).is_err());
    }

    #[test]
    fn the_refusal_names_the_type_there_is() {
        let invalid = Refusal::OtherType(MetricType::Gauge).into_invalid("m");
        assert_eq!(invalid.to_string(), "metric_type: m is a gauge already; a metric has one type");
    }
}
