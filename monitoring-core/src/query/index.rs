//! Which series there are, by name and label: a copy in memory of what is registered.
//!
//! Like the index of a search engine: for each label and value the sorted numbers of the families
//! that have it. A family is a stored series as PromQL sees it; the buckets of a histogram are one
//! family and become series of their own when they are found.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::part::{Part, bound, families};
use crate::model::{MetricType, Series, SeriesId, SeriesKind};
use crate::promql::{Found, LabelSet, NAME, matching_cells};
use crate::store::series::RegisteredSeries;

/// The label that tells the buckets of a family apart.
pub(super) const BOUND: &str = "le";

/// Series kept in memory: more than may come into being. Where there are more all the same, for limits were
/// raised or replicas added some at once, the newest are left out.
const SERIES_MAX: usize = 1_000_000;
/// Bytes of the labels of these, likewise; they take about twice as many.
const LABEL_BYTES_MAX: usize = 512 * 1024 * 1024;

/// What the samples of a found series are read by.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub series: Arc<Series>,
    pub part: Part,
    /// Milliseconds since 1970.
    pub registered_at: i64,
}

/// All series that are known.
#[derive(Debug)]
pub(super) struct Index {
    series_max: usize,
    label_bytes_max: usize,
    label_bytes: usize,
    /// Whether there are series it has no room for.
    lacks_some: bool,
    families: Vec<Family>,
    /// What each is known as, and since when.
    known: HashMap<SeriesId, (SeriesKind, i64)>,
    /// The type of each metric, by the name it is stored under.
    metrics: BTreeMap<String, MetricType>,
    /// By label and value, the numbers of families, rising.
    postings: HashMap<Arc<str>, BTreeMap<Arc<str>, Vec<u32>>>,
}

/// Which series a list is about.
#[derive(Debug)]
pub(super) enum Listed {
    All,
    These(HashSet<SeriesId>),
}

impl Listed {
    pub(super) fn has(&self, id: &SeriesId) -> bool {
        match self {
            Self::All => true,
            Self::These(ids) => ids.contains(id),
        }
    }
}

/// How many series there are, and of what. Lists begin with the greatest number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeriesFigures {
    /// Series, each bucket of a histogram on its own.
    pub series: usize,
    /// Different pairs of a label and a value.
    pub label_pairs: usize,
    /// Series of each metric.
    pub series_by_metric: Vec<(String, usize)>,
    /// Values of each label.
    pub values_by_label: Vec<(String, usize)>,
    /// Series with each pair of a label and a value, written `label=value`.
    pub series_by_label_pair: Vec<(String, usize)>,
}

#[derive(Debug)]
pub(super) struct Family {
    labels: LabelSet,
    key: Key,
}

impl Default for Index {
    fn default() -> Self {
        Self::with_room_for(SERIES_MAX, LABEL_BYTES_MAX)
    }
}

impl Index {
    /// Nothing known yet.
    pub(super) fn with_room_for(series_max: usize, label_bytes_max: usize) -> Self {
        Self {
            series_max,
            label_bytes_max,
            label_bytes: 0,
            lacks_some: false,
            families: Vec::new(),
            known: HashMap::new(),
            metrics: BTreeMap::new(),
            postings: HashMap::new(),
        }
    }

    /// Adds a series, unless it is known or there is no room.
    pub(super) fn add(&mut self, registered: RegisteredSeries) {
        if self.known.contains_key(&registered.series.id) {
            return;
        }
        if self.is_full() {
            self.lacks_some = true;
            return;
        }
        self.insert(Arc::new(registered.series), registered.registered_at.timestamp_millis());
    }

    /// Those of a list of registered series that are known as something else: each of them was
    /// removed and is back.
    pub(super) fn outdated(&self, listed: &[RegisteredSeries]) -> HashSet<SeriesId> {
        let of = |one: &RegisteredSeries| (one.series.kind(), one.registered_at.timestamp_millis());
        let known = |one: &&RegisteredSeries| self.known.get(&one.series.id);
        let mut outdated: HashSet<_> =
            listed.iter().filter(|one| known(one).is_some()).map(|one| one.series.id).collect();
        // One that two writers registered is listed twice, and known as the first of them.
        for same in listed.iter().filter(|one| known(one) == Some(&of(one))) {
            outdated.remove(&same.series.id);
        }
        outdated
    }

    /// Forgets series. All others are numbered anew, so it takes as long as it took to learn them;
    /// where none of these is known, nothing is done.
    pub(super) fn remove(&mut self, gone: &HashSet<SeriesId>) {
        if !gone.iter().any(|id| self.known.contains_key(id)) {
            return;
        }
        let lacks_some = self.lacks_some;
        for Family { key, .. } in self.clear() {
            if !gone.contains(&key.series.id) && !self.known.contains_key(&key.series.id) {
                self.insert(key.series, key.registered_at);
            }
        }
        self.lacks_some = lacks_some;
    }

    /// Forgets everything; returns what that was.
    pub(super) fn clear(&mut self) -> Vec<Family> {
        std::mem::replace(self, Self::with_room_for(self.series_max, self.label_bytes_max)).families
    }

    fn insert(&mut self, series: Arc<Series>, registered_at: i64) {
        self.label_bytes += series.label_bytes();
        self.known.insert(series.id, (series.kind(), registered_at));
        self.metrics.entry(series.name.clone()).or_insert(series.metric_type);
        for (labels, part) in families(&series) {
            let number = u32::try_from(self.families.len()).unwrap_or(u32::MAX);
            for label in labels.iter() {
                let values = self.postings.entry(label.name.clone()).or_default();
                values.entry(label.value.clone()).or_default().push(number);
            }
            self.families.push(Family { labels, key: Key { series: series.clone(), part, registered_at } });
        }
    }

    /// How many are known to be registered before a time.
    pub(super) fn registered_before(&self, before: DateTime<Utc>) -> usize {
        let before = before.timestamp_millis();
        self.known.values().filter(|(_, registered_at)| *registered_at < before).count()
    }

    /// Whether the series is known.
    pub(super) fn knows(&self, id: SeriesId) -> bool {
        self.known.contains_key(&id)
    }

    /// Whether there is room for more series: each takes about a kilobyte.
    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= self.series_max || self.label_bytes >= self.label_bytes_max
    }

    /// How many series it knows, if there are others it had no room for.
    pub(super) fn cut_at(&self) -> Option<usize> {
        self.lacks_some.then_some(self.known.len())
    }

    /// Metrics and their types by name: the one asked for, or up to `max`.
    pub(super) fn metrics(&self, name: Option<&str>, max: usize) -> Vec<(String, MetricType)> {
        let is_wanted = |metric: &(&String, &MetricType)| name.is_none_or(|name| metric.0 == name);
        let metrics = self.metrics.iter().filter(is_wanted).take(max);
        metrics.map(|(name, metric_type)| (name.clone(), *metric_type)).collect()
    }

    /// How many there are, with up to `max` entries in each list.
    pub(super) fn figures(&self, max: usize) -> SeriesFigures {
        let shown = |list: &Vec<u32>| list.iter().map(|n| self.families[*n as usize].size()).sum();
        let by_label = |name: &str| -> Vec<(String, usize)> {
            let values = self.postings.get(name).into_iter().flatten();
            values.map(|(value, list)| (value.to_string(), shown(list))).collect()
        };
        let pairs = self.postings.iter().flat_map(|(name, values)| {
            values.iter().map(move |(value, list)| (format!("{name}={value}"), shown(list)))
        });
        let values = self.postings.iter().map(|(name, values)| (name.to_string(), values.len()));
        SeriesFigures {
            series: self.families.iter().map(Family::size).sum(),
            label_pairs: self.postings.values().map(BTreeMap::len).sum(),
            series_by_metric: greatest(by_label(NAME), max),
            values_by_label: greatest(values.collect(), max),
            series_by_label_pair: greatest(pairs.collect(), max),
        }
    }

    /// The values of a label among the series to be listed, up to `max`.
    pub(super) fn values(&self, label: &str, listed: &Listed, max: usize) -> Vec<String> {
        let is_listed = |number: &u32| listed.has(&self.families[*number as usize].key.series.id);
        let all = self.postings.get(label).into_iter().flatten();
        let listed = all.filter(|(_, numbers)| numbers.iter().any(is_listed));
        listed.take(max).map(|(value, _)| value.to_string()).collect()
    }

    /// The values of a label that come after another one, each with the number of families that have
    /// it: as many as take so many cells to match, and one at least, unless there is none.
    pub(super) fn values_after(
        &self,
        label: &str,
        after: Option<&str>,
        cells_max: usize,
    ) -> Vec<(Arc<str>, usize)> {
        let Some(values) = self.postings.get(label) else { return Vec::new() };
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut cells = 0;
        let is_due = |(value, _): &(&Arc<str>, &Vec<u32>)| {
            let is_due = cells < cells_max;
            cells += matching_cells(value);
            is_due
        };
        let portion = values.range::<str, _>((after, Bound::Unbounded)).take_while(is_due);
        portion.map(|(value, numbers)| (value.clone(), numbers.len())).collect()
    }

    /// How many values a label has.
    pub(super) fn count_values(&self, label: &str) -> usize {
        self.postings.get(label).map_or(0, BTreeMap::len)
    }

    /// How many families have a label of this value.
    pub(super) fn families_with(&self, label: &str, value: &str) -> usize {
        self.postings.get(label).and_then(|values| values.get(value)).map_or(0, Vec::len)
    }

    /// Families that fulfil a condition, up to `max`: of those with one of some values of a label, or
    /// of all. The buckets of a histogram are one.
    pub(super) fn families(
        &self,
        having: Option<(&str, &[Arc<str>])>,
        fits: impl Fn(&LabelSet) -> bool,
        max: usize,
    ) -> Vec<Found<Key>> {
        let found = |family: &Family| Found { labels: family.labels.clone(), key: family.key.clone() };
        let Some((label, values)) = having else {
            let families = self.families.iter().filter(|family| fits(&family.labels));
            return families.take(max).map(found).collect();
        };
        let values = values.iter().filter_map(|value| self.postings.get(label)?.get(value));
        let mut numbers: Vec<u32> = values.flatten().copied().collect();
        numbers.sort_unstable();
        let families = numbers.into_iter().map(|number| &self.families[number as usize]);
        families.filter(|family| fits(&family.labels)).take(max).map(found).collect()
    }

    /// The families of each metric that are kept, in the order of names.
    pub(super) fn by_metric(&self, keep: impl Fn(&str, Part) -> bool) -> Vec<Vec<Found<Key>>> {
        let metrics = self.postings.get(NAME).into_iter().flatten();
        let families = |(name, numbers): (&Arc<str>, &Vec<u32>)| {
            let families = numbers.iter().map(|number| &self.families[*number as usize]);
            let kept = families.filter(|family| keep(name, family.key.part));
            kept.map(|family| Found { labels: family.labels.clone(), key: family.key.clone() })
                .collect::<Vec<_>>()
        };
        metrics.map(families).filter(|series| !series.is_empty()).collect()
    }
}

impl Family {
    /// As how many series it is shown.
    fn size(&self) -> usize {
        if let Part::Bucket(last) = self.key.part { last + 1 } else { 1 }
    }
}

/// The series a family is shown as.
pub(super) fn shown(family: &Found<Key>) -> impl Iterator<Item = Found<Key>> + Send + '_ {
    let buckets = match family.key.part {
        Part::Bucket(last) => Some(0..=last),
        Part::Number | Part::Count | Part::Sum => None,
    };
    let itself = buckets.is_none().then(|| family.clone());
    let bucket = |n| {
        let labels = family.labels.with(BOUND, &bound(&family.key.series.bounds, n));
        Found { labels, key: Key { part: Part::Bucket(n), ..family.key.clone() } }
    };
    itself.into_iter().chain(buckets.into_iter().flatten().map(bucket))
}

/// Those with the greatest numbers, the greatest first.
fn greatest(mut figures: Vec<(String, usize)>, max: usize) -> Vec<(String, usize)> {
    figures.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    figures.truncate(max);
    figures
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Labels, Temporality};

    pub(in crate::query) fn index() -> Index {
        let mut index = Index::default();
        let mut add = |name: &str, labels: &[(&str, &str)], metric_type, bounds: &[f64]| {
            let labels: Labels = labels.iter().copied().collect();
            let series = Series::new(name.into(), labels, metric_type, Temporality::Delta, bounds.to_vec());
            index.add(RegisteredSeries { series, registered_at: DateTime::UNIX_EPOCH });
        };
        add("up", &[("job", "a"), ("zone", "1")], MetricType::Gauge, &[]);
        add("up", &[("job", "b")], MetricType::Gauge, &[]);
        add("latency", &[("job", "a")], MetricType::Histogram, &[1.0]);
        add("latency", &[("job", "a")], MetricType::Histogram, &[1.0]);
        index
    }

    #[test]
    fn a_series_that_is_removed_is_forgotten_with_its_labels() {
        let mut index = index();
        let families = |index: &Index| index.families(None, |_| true, 100);
        let latency = families(&index).into_iter().find(|family| family.key.series.name == "latency");
        let other = SeriesId::new(1);
        index.remove(&HashSet::from([other]));
        assert_eq!(index.known.len(), 3);
        index.remove(&HashSet::from([latency.unwrap().key.series.id, other]));
        let left: Vec<_> = families(&index).into_iter().map(|family| family.labels.to_string()).collect();
        assert_eq!(left, [r#"up{job="a", zone="1"}"#, r#"up{job="b"}"#]);
        assert_eq!(index.families_with("job", "a"), 1);
        assert_eq!(index.metrics(None, 10), [("up".to_owned(), MetricType::Gauge)]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_missed() {
        let mut index = Index::with_room_for(9, 20);
        for (name, cut_at) in [("a", None), ("b", None), ("c", Some(2)), ("a", Some(2))] {
            // Eleven bytes each.
            let labels = [("n", "four")].into_iter().collect();
            let series = Series::new(name.into(), labels, MetricType::Gauge, Temporality::Delta, Vec::new());
            index.add(RegisteredSeries { series, registered_at: DateTime::UNIX_EPOCH });
            assert_eq!(index.cut_at(), cut_at, "{name}");
        }
        let gone = index.families(None, |_| true, 9)[0].key.series.id;
        index.remove(&HashSet::from([gone]));
        assert_eq!((index.cut_at(), index.label_bytes), (Some(1), 11));
    }

    #[test]
    fn values_of_labels_come_in_order_and_in_portions() {
        let index = index();
        assert_eq!(index.values("job", &Listed::All, 10), ["a", "b"]);
        assert!(index.values("job", &Listed::These(HashSet::new()), 10).is_empty());
        let portion = |after, cells_max| {
            let portion = index.values_after("job", after, cells_max).into_iter();
            portion.map(|(value, families)| (value.to_string(), families)).collect::<Vec<_>>()
        };
        let (a, b) = (("a".to_owned(), 4), ("b".to_owned(), 1));
        assert_eq!(portion(None, usize::MAX), [a.clone(), b.clone()]);
        assert_eq!(portion(None, 1), [a]);
        assert_eq!(portion(Some("a"), 1), [b]);
        assert!(portion(Some("b"), 1).is_empty());
    }
}
