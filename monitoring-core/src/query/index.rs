//! Which series there are, by name and label: a copy in memory of what is registered.
//!
//! Like the index of a search engine: for each label and value the sorted numbers of the families
//! that have it. A family is a stored series as PromQL sees it; the buckets of a histogram are one
//! family and become series of their own when they are found.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::part::{Part, bound, families};
use crate::model::{MetricType, Series, SeriesId, SeriesKind};
use crate::promql::{Condition, Found, LabelSet, Matcher, NAME};
use crate::store::series::RegisteredSeries;

/// The label that tells the buckets of a family apart.
const BOUND: &str = "le";

/// Series kept in memory; queries are refused where there are more.
pub(super) const SERIES_MAX: usize = 1_000_000;

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
        Self::with_room_for(SERIES_MAX)
    }
}

impl Index {
    /// Nothing known yet.
    pub(super) fn with_room_for(series_max: usize) -> Self {
        Self {
            series_max,
            families: Vec::new(),
            known: HashMap::new(),
            metrics: BTreeMap::new(),
            postings: HashMap::new(),
        }
    }

    /// Adds a series, unless it is known.
    pub(super) fn add(&mut self, registered: RegisteredSeries) {
        if self.is_full() || self.known.contains_key(&registered.series.id) {
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
        for Family { key, .. } in self.clear() {
            if !gone.contains(&key.series.id) && !self.known.contains_key(&key.series.id) {
                self.insert(key.series, key.registered_at);
            }
        }
    }

    /// Forgets everything; returns what that was.
    pub(super) fn clear(&mut self) -> Vec<Family> {
        std::mem::replace(self, Self::with_room_for(self.series_max)).families
    }

    fn insert(&mut self, series: Arc<Series>, registered_at: i64) {
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

    /// Whether there is room for more series: each takes about a kilobyte.
    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= self.series_max
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

    /// Series that fulfil all matchers: up to `max`, and one more if there are more.
    pub(super) fn find(&self, matchers: &[Matcher], max: usize) -> Vec<Found<Key>> {
        self.matching(matchers).take(max.saturating_add(1)).collect()
    }

    /// All series that fulfil all matchers, one after the other.
    pub(super) fn matching<'i>(&'i self, matchers: &'i [Matcher]) -> impl Iterator<Item = Found<Key>> + 'i {
        let families = self.candidates(matchers).into_iter().map(|number| &self.families[number as usize]);
        let fits = |labels: &LabelSet| matchers.iter().all(|m| m.accepts(labels.value(&m.name)));
        families.flat_map(Family::shown).filter(move |found| fits(&found.labels))
    }

    /// The labels of the series that fulfil all matchers: of those to be listed, the first `max`.
    pub(super) fn label_sets(&self, matchers: &[Matcher], listed: &Listed, max: usize) -> BTreeSet<LabelSet> {
        let mut sets = BTreeSet::new();
        for found in self.matching(matchers).filter(|found| listed.has(&found.key.series.id)) {
            sets.insert(found.labels);
            if sets.len() > max {
                sets.pop_last();
            }
        }
        sets
    }

    /// The stored series that fulfil all matchers of any of the lists, or all, if there is no list;
    /// with the time since when there is a total of those that add up.
    pub(super) fn known(&self, selections: &[Vec<Matcher>]) -> HashMap<SeriesId, Option<i64>> {
        let known = |key: &Key| (key.series.id, key.series.kind().adds_up().then_some(key.registered_at));
        match selections {
            [] => self.families.iter().map(|family| known(&family.key)).collect(),
            _ => self.selected(selections).map(|found| known(&found.key)).collect(),
        }
    }

    /// Every value of a label among the series that fulfil all matchers of any of the lists; of all
    /// series, if there is no list.
    pub(super) fn values(
        &self,
        label: &str,
        selections: &[Vec<Matcher>],
        listed: &Listed,
        max: usize,
    ) -> Vec<String> {
        let mut values = BTreeSet::new();
        if selections.is_empty() && label != BOUND {
            let is_listed = |number: &u32| listed.has(&self.families[*number as usize].key.series.id);
            let all = self.postings.get(label).into_iter().flatten();
            let listed = all.filter(|(_, numbers)| numbers.iter().any(is_listed));
            return listed.take(max).map(|(value, _)| value.to_string()).collect();
        }
        for found in self.selected(selections).filter(|found| listed.has(&found.key.series.id)) {
            let value = found.labels.value(label);
            if !value.is_empty() && values.len() < max {
                values.insert(value.to_owned());
            }
        }
        values.into_iter().collect()
    }

    /// The names of all labels, as [`Index::values`].
    pub(super) fn label_names(
        &self,
        selections: &[Vec<Matcher>],
        listed: &Listed,
        max: usize,
    ) -> Vec<String> {
        let mut names = BTreeSet::new();
        for found in self.selected(selections).filter(|found| listed.has(&found.key.series.id)) {
            for label in found.labels.iter().filter(|label| !names.contains(&*label.name)).collect::<Vec<_>>()
            {
                names.insert(label.name.to_string());
            }
        }
        names.into_iter().take(max).collect()
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

    fn selected<'i>(&'i self, selections: &'i [Vec<Matcher>]) -> Box<dyn Iterator<Item = Found<Key>> + 'i> {
        if selections.is_empty() {
            return Box::new(self.families.iter().flat_map(Family::shown));
        }
        Box::new(selections.iter().flat_map(|matchers| self.matching(matchers)))
    }

    /// The families that may fulfil the matchers: those in the postings of each that says something
    /// about a label families have.
    fn candidates(&self, matchers: &[Matcher]) -> Vec<u32> {
        let telling = matchers.iter().filter(|matcher| matcher.name != BOUND && !matcher.accepts(""));
        let mut lists: Vec<_> = telling.map(|matcher| self.having(matcher)).collect();
        lists.sort_by_key(Vec::len);
        let mut lists = lists.into_iter();
        let Some(first) = lists.next() else {
            return (0..self.families.len()).filter_map(|number| u32::try_from(number).ok()).collect();
        };
        lists.fold(first, |kept, list| intersection(&kept, &list))
    }

    /// The families with a label that fulfils a matcher.
    fn having(&self, matcher: &Matcher) -> Vec<u32> {
        let Some(values) = self.postings.get(&*matcher.name) else { return Vec::new() };
        if let Condition::Equal(value) = &matcher.condition {
            return values.get(&**value).cloned().unwrap_or_default();
        }
        let lists = values.iter().filter(|(value, _)| matcher.accepts(value)).map(|(_, list)| list);
        let mut numbers: Vec<u32> = lists.flatten().copied().collect();
        numbers.sort_unstable();
        numbers
    }
}

impl Family {
    /// As how many series it is shown.
    fn size(&self) -> usize {
        if let Part::Bucket(last) = self.key.part { last + 1 } else { 1 }
    }

    /// The series it is shown as.
    fn shown(&self) -> impl Iterator<Item = Found<Key>> + '_ {
        let buckets = match self.key.part {
            Part::Bucket(last) => Some(0..=last),
            Part::Number | Part::Count | Part::Sum => None,
        };
        let itself = buckets.is_none().then(|| Found { labels: self.labels.clone(), key: self.key.clone() });
        let bucket = |n| {
            let labels = self.labels.with(BOUND, &bound(&self.key.series.bounds, n));
            Found { labels, key: Key { part: Part::Bucket(n), ..self.key.clone() } }
        };
        itself.into_iter().chain(buckets.into_iter().flatten().map(bucket))
    }
}

/// Those with the greatest numbers, the greatest first.
fn greatest(mut figures: Vec<(String, usize)>, max: usize) -> Vec<(String, usize)> {
    figures.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    figures.truncate(max);
    figures
}

/// What two rising lists have in common; the first is the shorter one.
fn intersection(short: &[u32], long: &[u32]) -> Vec<u32> {
    let mut rest = long;
    let mut common = Vec::new();
    for number in short {
        rest = &rest[rest.partition_point(|other| other < number)..];
        if rest.first() == Some(number) {
            common.push(*number);
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Temporality};
    use chrono::DateTime;

    fn index() -> Index {
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

    fn found(index: &Index, query: &str) -> Vec<String> {
        let promql_parser::parser::Expr::VectorSelector(selector) = crate::promql::parse(query).unwrap()
        else {
            panic!("{query} is no selector");
        };
        let matchers = crate::promql::matchers(&selector).unwrap();
        index.find(&matchers, 100).into_iter().map(|found| found.labels.to_string()).collect()
    }

    #[test]
    fn series_are_found_by_every_kind_of_condition() {
        let index = index();
        assert_eq!(index.known.len(), 3);
        assert_eq!(found(&index, "up"), [r#"up{job="a", zone="1"}"#, r#"up{job="b"}"#]);
        assert_eq!(found(&index, r#"up{zone=""}"#), [r#"up{job="b"}"#]);
        assert_eq!(found(&index, r#"{__name__=~"u.", job!="b"}"#), [r#"up{job="a", zone="1"}"#]);
        assert_eq!(found(&index, r#"{job=~"b|c"}"#), [r#"up{job="b"}"#]);
        assert_eq!(found(&index, r#"latency_bucket{le="+Inf"}"#), [r#"latency_bucket{job="a", le="+Inf"}"#]);
        assert_eq!(found(&index, r#"{le=~".+"}"#).len(), 2);
        assert!(found(&index, "latency").is_empty());
    }

    #[test]
    fn a_series_that_is_removed_is_forgotten_with_its_labels() {
        let mut index = index();
        let latency = index.find(&[], 100).into_iter().find(|found| found.key.series.name == "latency");
        let other = SeriesId::new(1);
        index.remove(&HashSet::from([other]));
        assert_eq!(index.known.len(), 3);
        index.remove(&HashSet::from([latency.unwrap().key.series.id, other]));
        assert_eq!(found(&index, r#"{job="a"}"#), [r#"up{job="a", zone="1"}"#]);
        assert_eq!(index.label_names(&[], &Listed::All, 10), ["__name__", "job", "zone"]);
        assert_eq!(index.metrics(None, 10), [("up".to_owned(), MetricType::Gauge)]);
    }

    #[test]
    fn names_and_values_of_labels_are_listed_in_order() {
        let index = index();
        assert_eq!(index.values("job", &[], &Listed::All, 10), ["a", "b"]);
        assert_eq!(index.values("le", &[], &Listed::All, 10), ["+Inf", "1"]);
        assert_eq!(index.label_names(&[], &Listed::All, 10), ["__name__", "job", "le", "zone"]);
    }
}
