//! Counts of what was sampled. Each that was seen stands for several, but several it is not: shares are of
//! what there was, and how sure one can be of them follows from what was seen.

use super::statistics::{Table, median, normal_tail, quantile, sorted};

/// A sum of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Count {
    /// How many there were.
    pub sum: f64,
    squares: f64,
}

impl Count {
    pub(super) fn add(&mut self, weight: f64) {
        self.sum += weight;
        self.squares += weight * weight;
    }

    /// How many observations it is worth (Kish): as many as were seen, where all have one weight.
    pub(super) fn seen(self) -> f64 {
        if self.squares > 0.0 { self.sum * self.sum / self.squares } else { 0.0 }
    }

    /// What is left without a part of it.
    pub(super) fn without(self, part: Self) -> Self {
        let left = |of: f64, part: f64| if of - part > of * 1e-9 { of - part } else { 0.0 };
        Self { sum: left(self.sum, part.sum), squares: left(self.squares, part.squares) }
    }

    /// For how many one stands.
    pub(super) fn each(self) -> f64 {
        if self.sum > 0.0 { self.squares / self.sum } else { 1.0 }
    }

    /// The same in observations.
    fn times(self, factor: f64) -> f64 {
        self.sum * factor
    }
}

impl Table {
    /// Two groups that were sampled, and the parts of them that have something.
    pub(super) fn of_groups((with, of): (Count, Count), (other_with, other_of): (Count, Count)) -> Self {
        let scale = |group: Count| super::statistics::ratio(1.0, group.each());
        let (one, other) = (scale(of), scale(other_of));
        Self {
            with: with.times(one),
            of: of.times(one),
            other_with: other_with.times(other),
            other_of: other_of.times(other),
        }
    }

    /// How often something happened, of which each that was seen counts, in how many cases.
    pub(super) fn of_rates((with, of): (Count, Count), (other_with, other_of): (Count, Count)) -> Self {
        // Where nothing was seen it would have been seen as elsewhere.
        let (one, other) = match (with.sum > 0.0, other_with.sum > 0.0) {
            (true, true) => (with.each(), other_with.each()),
            (true, false) => (with.each(), with.each()),
            (false, true) => (other_with.each(), other_with.each()),
            (false, false) => (1.0, 1.0),
        };
        Self {
            with: with.times(1.0 / one),
            of: of.times(1.0 / one),
            other_with: other_with.times(1.0 / other),
            other_of: other_of.times(1.0 / other),
        }
    }
}

/// The value below which the given part of all lies, of values with weights.
pub(super) fn weighted_quantile(values: &[(f64, f64)], part: f64) -> f64 {
    let is_even = values.windows(2).all(|pair| (pair[0].1 - pair[1].1).abs() <= 1e-9 * pair[0].1);
    if is_even {
        return quantile(&sorted(values.iter().map(|(value, _)| *value)), part);
    }
    let mut ordered: Vec<(f64, f64)> = values.iter().copied().filter(|one| one.0.is_finite()).collect();
    ordered.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: f64 = ordered.iter().map(|one| one.1).sum();
    let mut below = 0.0;
    for (value, weight) in &ordered {
        below += weight;
        if below >= part * all {
            return *value;
        }
    }
    ordered.last().map_or(f64::NAN, |last| last.0)
}

pub(super) fn weighted_mean(values: &[(f64, f64)]) -> f64 {
    let weights: f64 = values.iter().map(|one| one.1).sum();
    values.iter().map(|(value, weight)| value * weight).sum::<f64>() / weights
}

/// The median in each of some places.
pub(super) fn medians(places: Vec<Vec<(f64, f64)>>) -> Vec<f64> {
    places
        .into_iter()
        .map(|values| if values.is_empty() { median([]) } else { weighted_quantile(&values, 0.5) })
        .collect()
}

/// How likely chance alone makes the first values rank so much higher (Mann-Whitney, normal approximation
/// with ties), of values with weights.
pub(super) fn p_ranks_higher(values: &[(f64, f64)], others: &[(f64, f64)]) -> f64 {
    let (one, other) = (counted(values), counted(others));
    let (n, m) = (one.seen(), other.seen());
    if n < 1.0 || m < 1.0 {
        return 1.0;
    }
    let mut all: Vec<(f64, f64, f64)> =
        values.iter().map(|(value, weight)| (*value, weight / one.sum, 0.0)).collect();
    all.extend(others.iter().map(|(value, weight)| (*value, 0.0, weight / other.sum)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total = n + m;
    let (mut higher, mut below, mut ties, mut at) = (0.0, 0.0, 0.0, 0);
    while at < all.len() {
        let end = at + all[at..].iter().take_while(|one| one.0 == all[at].0).count();
        let same = all[at..end].iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.1, sum.1 + one.2));
        higher += same.0 * (below + same.1 / 2.0);
        below += same.1;
        let count = same.0 * n + same.1 * m;
        ties += (count * count * count - count).max(0.0);
        at = end;
    }
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)).max(1.0));
    if variance <= 1e-9 {
        return 1.0;
    }
    normal_tail(((higher - 0.5) * n * m - 0.5) / variance.sqrt())
}

fn counted(values: &[(f64, f64)]) -> Count {
    let mut count = Count::default();
    values.iter().for_each(|(_, weight)| count.add(*weight));
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(seen: usize, weight: f64) -> Count {
        let mut count = Count::default();
        (0..seen).for_each(|_| count.add(weight));
        count
    }

    #[test]
    fn what_stands_for_many_is_one_observation() {
        assert_eq!((count(3, 50.0).sum, count(3, 50.0).seen().round()), (150.0, 3.0));
        let mut mixed = count(3, 50.0);
        mixed.add(1.0);
        assert!(mixed.seen() < 4.0);
        assert_eq!(mixed.without(count(3, 50.0)).seen().round(), 1.0);
        assert_eq!(count(2, 3.0).without(count(2, 3.0)), Count::default());
    }

    #[test]
    fn one_slow_request_of_a_sample_is_no_proof_whatever_it_stands_for() {
        let (one, none) = (count(1, 290.0), Count::default());
        let rates = Table::of_rates((one, count(3, 290.0)), (none, count(60, 290.0)));
        assert_eq!((rates.with, rates.of.round(), rates.other_of.round()), (1.0, 3.0, 60.0));
        assert!(rates.p_larger() > 0.04, "{}", rates.p_larger());
        let exact = Table::of_rates((count(50, 1.0), count(40, 36.0)), (count(2, 1.0), count(300, 36.0)));
        assert!(exact.p_larger() < 1e-9, "each of the bad ones was seen");
        let groups = Table::of_groups((one, count(1, 290.0)), (count(2, 290.0), count(60, 290.0)));
        assert!(groups.p_larger() > 0.01, "{}", groups.p_larger());
    }

    #[test]
    fn without_weights_all_is_as_ever() {
        let table = Table::of_groups((count(4, 1.0), count(9, 1.0)), (count(2, 1.0), count(30, 1.0)));
        assert_eq!(table, Table { with: 4.0, of: 9.0, other_with: 2.0, other_of: 30.0 });
        assert_eq!(table, Table::of_rates((count(4, 1.0), count(9, 1.0)), (count(2, 1.0), count(30, 1.0))));
        assert_eq!(weighted_quantile(&[(0.0, 1.0), (10.0, 1.0)], 0.25), 2.5);
    }

    #[test]
    fn a_quantile_lies_where_that_part_of_all_lies() {
        assert_eq!(weighted_quantile(&[(1.0, 9.0), (5.0, 1.0), (9.0, 1.0)], 0.5), 1.0);
        assert_eq!(weighted_quantile(&[(1.0, 1.0), (5.0, 9.0)], 0.5), 5.0);
        assert_eq!(weighted_mean(&[(1.0, 3.0), (5.0, 1.0)]), 2.0);
        assert!(medians(vec![vec![]])[0].is_nan());
    }

    fn even(values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
        values.into_iter().map(|value| (value, 1.0)).collect()
    }

    #[test]
    fn ranks_tell_a_shift() {
        let low = even((0..30).map(f64::from));
        let high = even((0..30).map(|n| f64::from(n) + 20.0));
        assert!(p_ranks_higher(&high, &low) < 1e-6);
        assert!(p_ranks_higher(&low, &high) > 0.99);
        assert!((p_ranks_higher(&low, &low) - 0.5).abs() < 0.05);
        assert_eq!(p_ranks_higher(&even([1.0; 5]), &even([1.0; 5])), 1.0);
    }

    #[test]
    fn ranks_of_what_was_seen_more_often_than_it_was_do_not_shift() {
        // Half of those seen are slow, but they are one in a hundred.
        let before: Vec<(f64, f64)> =
            (0..50).map(|n| (f64::from(n % 10), 99.0)).chain((0..2).map(|_| (500.0, 1.0))).collect();
        let since: Vec<(f64, f64)> =
            (0..50).map(|n| (f64::from(n % 10), 99.0)).chain((0..50).map(|_| (500.0, 1.0))).collect();
        assert!(p_ranks_higher(&since, &before) > 0.2, "{}", p_ranks_higher(&since, &before));
        let even: Vec<(f64, f64)> = since.iter().map(|(value, _)| (*value, 1.0)).collect();
        assert!(p_ranks_higher(&even, &before) < 1e-4);
    }
}
