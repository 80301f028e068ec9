//! Who sends what: tags whose share of all requests changed, and values that were not there before.

use std::collections::{BTreeMap, BTreeSet};

use super::bubble_up::usable_items;
use super::requests::Requests;
use super::statistics::{Table, ratio};
use super::weighted::Count;

/// The least change of a share.
const SHARE_MIN: f64 = 0.12;
/// How many times its share before.
const RATIO_MIN: f64 = 1.8;
const P_MAX: f64 = 1e-6;
const SHOWN_MAX: usize = 4;

/// A tag whose share changed.
#[derive(Clone, Debug)]
pub(super) struct Shifted {
    pub items: Vec<u32>,
    pub share_before: f64,
    pub share_after: f64,
    /// Requests a bucket, before and after.
    pub rate_before: f64,
    pub rate_after: f64,
    /// Which part of all additional requests it accounts for.
    pub growth: f64,
    pub p_value: f64,
    /// The bucket it appears in, or grows in.
    pub bucket: usize,
    pub is_new: bool,
    /// Requests that have it, from the onset on.
    pub requests: BTreeSet<usize>,
}

/// Shares of traffic that grew from `first` on, the largest growth first; those that grew together on
/// the same requests are one.
pub(super) fn shifted_traffic(requests: &Requests, buckets: usize, first: usize) -> (Vec<Shifted>, u64) {
    if first == 0 || first >= buckets {
        return (Vec::new(), 0);
    }
    let usable = usable_items(requests);
    let mut counts: BTreeMap<u32, (Count, Count)> = BTreeMap::new();
    let mut whole = (Count::default(), Count::default());
    let has_known = requests.has_known();
    for request in requests.all.iter().filter(|request| request.is_known || !has_known) {
        let add = |sum: &mut (Count, Count)| {
            let side = if request.bucket < first { &mut sum.0 } else { &mut sum.1 };
            side.add(request.weight);
        };
        add(&mut whole);
        request
            .items
            .iter()
            .filter(|item| usable[**item as usize])
            .for_each(|item| add(counts.entry(*item).or_default()));
    }
    let comparisons = counts.len() as u64;
    let (early, late) = (first as f64, (buckets - first) as f64);
    let extra = whole.1.sum / late - whole.0.sum / early;
    let mut shifted: Vec<Shifted> = Vec::new();
    for (item, (before, after)) in counts {
        let table = Table::of_groups((after, whole.1), (before, whole.0));
        let p_value = (table.p_larger() * comparisons as f64).min(1.0);
        let (share_after, share_before) = (table.share(), table.other_share());
        let grows = share_after - share_before >= SHARE_MIN && share_after >= RATIO_MIN * share_before;
        if !grows || p_value > P_MAX {
            continue;
        }
        let carriers: BTreeSet<usize> = with(requests, item, first);
        let (rate_before, rate_after) = (before.sum / early, after.sum / late);
        shifted.push(Shifted {
            items: vec![item],
            share_before,
            share_after,
            rate_before,
            rate_after,
            growth: if extra > 0.0 { ratio(rate_after - rate_before, extra).min(1.0) } else { 0.0 },
            p_value,
            bucket: appears(requests, item, first, before.sum == 0.0, buckets),
            is_new: share_before < 0.005,
            requests: carriers,
        });
    }
    shifted.sort_by(|a, b| {
        let growth = |one: &Shifted| one.share_after - one.share_before;
        growth(b).total_cmp(&growth(a)).then_with(|| a.items.cmp(&b.items))
    });
    (joined(shifted), comparisons)
}

fn with(requests: &Requests, item: u32, first: usize) -> BTreeSet<usize> {
    let all = requests.all.iter().enumerate().filter(|(_, request)| request.bucket >= first);
    all.filter(|(_, request)| request.items.binary_search(&item).is_ok()).map(|(place, _)| place).collect()
}

fn appears(requests: &Requests, item: u32, first: usize, is_new: bool, buckets: usize) -> usize {
    let has = |request: &&super::requests::Request| request.items.binary_search(&item).is_ok();
    let bucket = requests.all.iter().filter(has).map(|request| request.bucket);
    if is_new { bucket.min() } else { bucket.filter(|bucket| *bucket >= first).min() }
        .unwrap_or(first)
        .min(buckets - 1)
}

fn joined(shifted: Vec<Shifted>) -> Vec<Shifted> {
    let mut kept: Vec<Shifted> = Vec::new();
    for one in shifted {
        let is_same = |other: &Shifted| {
            let common = one.requests.intersection(&other.requests).count() as f64;
            common >= 0.85 * one.requests.len().max(other.requests.len()) as f64
        };
        match kept.iter().position(is_same) {
            Some(place) if kept[place].items.len() < SHOWN_MAX => kept[place].items.extend(one.items),
            Some(_) => {}
            None if kept.len() < SHOWN_MAX => kept.push(one),
            None => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::made::{axis, first, mixed, one_in, requests};

    #[test]
    fn who_sends_more_than_before_is_found() {
        let requests = requests(
            |n, late| match late && one_in(n, 4, 500) {
                true => json!({"tenant": "t1", "plan": "gold"}),
                false => json!({"tenant": format!("t{}", mixed(n, 5) % 10), "plan": "gold"}),
            },
            |_, _| false,
        );
        let (shifted, _) = shifted_traffic(&requests, axis().count, first());
        assert_eq!(shifted.len(), 1);
        let item = &requests.items[shifted[0].items[0] as usize];
        assert_eq!((item.key.as_str(), item.value.as_str()), ("tenant", "t1"));
        assert!(!shifted[0].is_new && shifted[0].share_after > 0.5 && shifted[0].share_before < 0.15);
    }

    #[test]
    fn a_value_that_was_not_there_is_new_and_an_even_mix_is_nothing() {
        let version = |_, late| json!({"version": if late { "2" } else { "1" }});
        let requests_of_new = requests(version, |_, _| false);
        let (shifted, _) = shifted_traffic(&requests_of_new, axis().count, first());
        assert!(shifted.len() == 1 && shifted[0].is_new && shifted[0].bucket == first());
        let even = requests(|n, _| json!({"tenant": format!("t{}", mixed(n, 5) % 4)}), |_, _| false);
        assert!(shifted_traffic(&even, axis().count, first()).0.is_empty());
    }
}
