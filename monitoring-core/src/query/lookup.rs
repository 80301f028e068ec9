//! Finding series in the index without keeping it, or the thread, from others.
//!
//! Conditions are decided first: which values of their labels they are about. Values come in portions,
//! and while they are matched the index is free. What is left to be done with the index itself is to
//! collect the families that have the fewest of these values. Where these are few anyway, the other
//! conditions are only looked at for them.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::index::{BOUND, Index, Key, shown};
use crate::promql::{CELLS_PER_BREATH, Condition, Found, LabelSet, Matcher, matching_cells};

/// To look for a value among many takes as long as to handle so many cells.
const CELLS_PER_SEARCH: usize = 100;
/// To make the labels of a series takes as long as to handle so many cells.
const CELLS_PER_SERIES: usize = 100;

/// Families of series that fulfil all conditions, but for those on the bounds of buckets.
pub(super) struct Families<'m> {
    families: Vec<Found<Key>>,
    on_bounds: Vec<&'m Matcher>,
}

/// Looks up the series that fulfil all conditions: at least as many families as that are up to `max`
/// series and one more, if there are more.
pub(super) async fn look_up<'m>(index: &RwLock<Index>, matchers: &'m [Matcher], max: usize) -> Families<'m> {
    let (on_bounds, on_labels): (Vec<_>, Vec<_>) = matchers.iter().partition(|matcher| matcher.name == BOUND);
    let (mut decided, mut open) = (Vec::new(), Vec::new());
    for matcher in on_labels {
        match Decided::at_once(matcher, index) {
            Some(known) => decided.push(known),
            None => open.push(matcher),
        }
    }
    let fewest = decided.iter().filter(|one| one.is_wanted).map(|one| one.families).min();
    let mut left = Vec::new();
    for matcher in open {
        // Of few families, the values they have are fewer than all there are.
        if fewest.is_some_and(|fewest| fewest <= read(index).count_values(&matcher.name)) {
            left.push(matcher);
        } else {
            decided.push(Decided::of(matcher, index).await);
        }
    }
    let (quick, slow): (Vec<_>, Vec<_>) = decided.iter().partition(|decided| decided.values.len() < 2);
    let is_all = slow.is_empty() && left.is_empty() && on_bounds.is_empty();
    let max = if is_all { max.saturating_add(1) } else { usize::MAX };
    let narrowest = decided.iter().filter(|decided| decided.is_wanted).min_by_key(|decided| decided.families);
    let narrowest = narrowest.map(|decided| (decided.label, &decided.values[..]));
    let fits = |labels: &LabelSet| quick.iter().all(|decided| decided.accepts(labels));
    let mut families = read(index).families(narrowest, fits, max);
    if !slow.is_empty() || !left.is_empty() {
        families = fulfilling(families, &slow, &left).await;
    }
    Families { families, on_bounds }
}

/// Those that fulfil all conditions, be they decided or not.
async fn fulfilling(
    families: Vec<Found<Key>>,
    decided: &[&Decided<'_>],
    left: &[&Matcher],
) -> Vec<Found<Key>> {
    let (mut kept, mut cells) = (Vec::new(), 0);
    for family in families {
        let value = |matcher: &Matcher| family.labels.value(&matcher.name);
        let matching: usize = left.iter().map(|matcher| matching_cells(value(matcher))).sum();
        cells += decided.len() * CELLS_PER_SEARCH + matching;
        let fits = decided.iter().all(|decided| decided.accepts(&family.labels))
            && left.iter().all(|matcher| matcher.accepts(value(matcher)));
        if fits {
            kept.push(family);
        }
        if cells >= CELLS_PER_BREATH {
            cells = 0;
            tokio::task::yield_now().await;
        }
    }
    kept
}

impl Families<'_> {
    /// Hands over the series one after the other until they are no longer wanted. Others have the
    /// thread now and then.
    pub(super) async fn each(self, mut take: impl FnMut(Found<Key>) -> bool + Send) {
        let mut cells = 0;
        for found in self.families.iter().flat_map(shown) {
            let bound = found.labels.value(BOUND);
            cells += CELLS_PER_SERIES + self.on_bounds.len() * matching_cells(bound);
            let fits = self.on_bounds.iter().all(|matcher| matcher.accepts(bound));
            if fits && !take(found) {
                return;
            }
            if cells >= CELLS_PER_BREATH {
                cells = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Up to `max` series, and one more if there are more.
    pub(super) async fn series(self, max: usize) -> Vec<Found<Key>> {
        let mut series = Vec::new();
        self.each(|found| {
            series.push(found);
            series.len() <= max
        })
        .await;
        series
    }
}

/// A condition on a label as a list of values.
struct Decided<'m> {
    label: &'m str,
    /// In order.
    values: Vec<Arc<str>>,
    /// Whether the label must have one of these values, or must not.
    is_wanted: bool,
    /// Families with one of them.
    families: usize,
}

impl<'m> Decided<'m> {
    /// If it takes no looking through values.
    fn at_once(matcher: &'m Matcher, index: &RwLock<Index>) -> Option<Self> {
        let (Condition::Equal(value) | Condition::NotEqual(value)) = &matcher.condition else { return None };
        (!value.is_empty()).then(|| Self {
            label: &matcher.name,
            values: vec![value.as_str().into()],
            is_wanted: matches!(matcher.condition, Condition::Equal(_)),
            families: read(index).families_with(&matcher.name, value),
        })
    }

    async fn of(matcher: &'m Matcher, index: &RwLock<Index>) -> Self {
        // Without the label, a series has an empty one.
        let is_wanted = !matcher.accepts("");
        let mut decided = Self { label: &matcher.name, values: Vec::new(), is_wanted, families: 0 };
        let mut after: Option<Arc<str>> = None;
        loop {
            let portion = read(index).values_after(&matcher.name, after.as_deref(), CELLS_PER_BREATH);
            let Some((last, _)) = portion.last() else { return decided };
            after = Some(last.clone());
            for (value, families) in
                portion.into_iter().filter(|(value, _)| matcher.accepts(value) == is_wanted)
            {
                decided.values.push(value);
                decided.families += families;
            }
            tokio::task::yield_now().await;
        }
    }

    fn accepts(&self, labels: &LabelSet) -> bool {
        let value = labels.value(self.label);
        self.values.binary_search_by(|known| (**known).cmp(value)).is_ok() == self.is_wanted
    }
}

fn read(index: &RwLock<Index>) -> RwLockReadGuard<'_, Index> {
    index.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::query::Selector;
    use crate::query::index::tests::index;

    async fn found(index: &RwLock<Index>, query: &str) -> Vec<String> {
        let selector: Selector = query.parse().unwrap();
        let found = look_up(index, selector.matchers(), 100).await.series(100).await;
        found.into_iter().map(|found| found.labels.to_string()).collect()
    }

    #[tokio::test]
    async fn series_are_found_by_every_kind_of_condition() {
        let index = RwLock::new(index());
        for (query, expected) in [
            ("up", &[r#"up{job="a", zone="1"}"#, r#"up{job="b"}"#][..]),
            (r#"up{zone=""}"#, &[r#"up{job="b"}"#]),
            (r#"up{zone!=""}"#, &[r#"up{job="a", zone="1"}"#]),
            (r#"up{zone!="1"}"#, &[r#"up{job="b"}"#]),
            (r#"up{zone!~"1|2"}"#, &[r#"up{job="b"}"#]),
            (r#"{zone="1", job=~"a|c", job!~"c"}"#, &[r#"up{job="a", zone="1"}"#]),
            (r#"{job="b", zone=~".+"}"#, &[]),
            (r#"up{job=~"a|b", zone=~"1|"}"#, &[r#"up{job="a", zone="1"}"#, r#"up{job="b"}"#]),
            (r#"{__name__=~"u.", job!="b"}"#, &[r#"up{job="a", zone="1"}"#]),
            (r#"{__name__=~".+", job=~"a|b", zone=~".+"}"#, &[r#"up{job="a", zone="1"}"#]),
            (r#"{job=~"b|c"}"#, &[r#"up{job="b"}"#]),
            (r#"latency_bucket{le="+Inf"}"#, &[r#"latency_bucket{job="a", le="+Inf"}"#]),
            (r#"{job="a", le!="", le!~"1"}"#, &[r#"latency_bucket{job="a", le="+Inf"}"#]),
            ("latency", &[]),
        ] {
            assert_eq!(found(&index, query).await, expected, "{query}");
        }
        assert_eq!(found(&index, r#"{le=~".+"}"#).await.len(), 2);
    }

    #[tokio::test]
    async fn of_more_series_than_are_wanted_there_is_one_more() {
        let index = RwLock::new(index());
        for (matchers, max, expected) in [("{job=~'.+'}", 1, 2), ("{job='a'}", 2, 3), ("{job='a'}", 9, 5)] {
            let selector: Selector = matchers.parse().unwrap();
            let found = look_up(&index, selector.matchers(), max).await.series(max).await;
            assert_eq!(found.len(), expected, "{matchers}");
        }
    }

    #[tokio::test]
    async fn the_index_is_free_between_portions() {
        let index = RwLock::new(index());
        let selector: Selector = "{job=~'a'}".parse().unwrap();
        let mut finding = std::pin::pin!(look_up(&index, selector.matchers(), 9));
        assert!(finding.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(index.try_write().is_ok());
        assert_eq!(finding.await.families.len(), 4);
    }
}
