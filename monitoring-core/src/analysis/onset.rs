//! When did it begin? One scan for the one change that explains most, and the honest answer "there
//! was none".
//!
//! The greatest difference over all splits is compared with the greatest differences of the same
//! buckets in random order: how far a change stands out is judged against what these data do by
//! themselves, so bursts and skewed distributions need no model. Buckets count as exchangeable, so what rises
//! slowly through all of the time is told as a change in its middle.

use super::statistics::Sequence;

/// Buckets that a part before or after a change has at least.
const PART_MIN: usize = 2;
/// Random orders to compare with: p-values go down to one in so many.
const ORDERS: usize = 999;
const SEED: u64 = 0x006f_6e73_6574;

/// A change between two buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    /// The first bucket that is different.
    pub bucket: usize,
    /// How likely chance alone makes such a change somewhere.
    pub p_value: f64,
}

/// Where the share of `bad` in `all` rises, in `earliest` or later; `None` if it does nowhere.
pub(super) fn rise_of_share(bad: &[f64], all: &[f64], earliest: usize) -> Option<Change> {
    let mut pairs: Vec<(f64, f64)> = bad.iter().copied().zip(all.iter().copied()).collect();
    scan(&mut pairs, |pairs| share_split(pairs, earliest))
}

/// Where values rise, by their ranks, in `earliest` or later; buckets without a value are left out.
pub(super) fn rise_of_level(values: &[f64], earliest: usize) -> Option<Change> {
    let mut present: Vec<(usize, f64)> =
        values.iter().copied().enumerate().filter(|(_, value)| value.is_finite()).collect();
    let places: Vec<usize> = present.iter().map(|(bucket, _)| *bucket).collect();
    present.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    let mut ranks: Vec<(usize, f64)> =
        present.iter().enumerate().map(|(rank, (bucket, _))| (*bucket, rank as f64)).collect();
    ranks.sort_by_key(|(bucket, _)| *bucket);
    let mut ranks: Vec<f64> = ranks.into_iter().map(|(_, rank)| rank).collect();
    let earliest = places.partition_point(|place| *place < earliest);
    let change = scan(&mut ranks, |ranks| level_split(ranks, earliest))?;
    Some(Change { bucket: places[change.bucket], ..change })
}

fn scan<T: Copy>(buckets: &mut [T], best_split: impl Fn(&[T]) -> (usize, f64)) -> Option<Change> {
    if buckets.len() < 2 * PART_MIN {
        return None;
    }
    let (bucket, greatest) = best_split(buckets);
    if greatest <= 0.0 {
        return None;
    }
    let mut sequence = Sequence::new(SEED);
    let mut as_great = 0;
    for _ in 0..ORDERS {
        sequence.shuffle(buckets);
        as_great += usize::from(best_split(buckets).1 >= greatest);
    }
    Some(Change { bucket, p_value: (1 + as_great) as f64 / (1 + ORDERS) as f64 })
}

/// The split after which the share is higher, with the greatest log likelihood ratio.
fn share_split(pairs: &[(f64, f64)], earliest: usize) -> (usize, f64) {
    let (bad, all) = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    let whole = likelihood(bad, all);
    let (mut before, mut best) = ((0.0, 0.0), (0, 0.0));
    for (n, pair) in pairs.iter().enumerate().take(pairs.len() - PART_MIN) {
        before = (before.0 + pair.0, before.1 + pair.1);
        let after = (bad - before.0, all - before.1);
        let rises = after.0 * before.1 > before.0 * after.1;
        if n + 1 < PART_MIN.max(earliest) || !rises {
            continue;
        }
        let gain = likelihood(before.0, before.1) + likelihood(after.0, after.1) - whole;
        if gain > best.1 {
            best = (n + 1, gain);
        }
    }
    best
}

/// The log likelihood of a share at its best.
fn likelihood(bad: f64, all: f64) -> f64 {
    let part = |count: f64| if count > 0.0 && all > 0.0 { count * (count / all).ln() } else { 0.0 };
    part(bad) + part(all - bad)
}

/// The split after which ranks are higher, by the standardized difference.
fn level_split(ranks: &[f64], earliest: usize) -> (usize, f64) {
    let n = ranks.len() as f64;
    let mean = ranks.iter().sum::<f64>() / n;
    let (mut sum, mut best) = (0.0, (0, 0.0));
    for (at, rank) in ranks.iter().enumerate().take(ranks.len() - PART_MIN) {
        sum += rank - mean;
        let k = at as f64 + 1.0;
        let height = -sum / (k * (n - k) / n).sqrt();
        if at + 1 >= PART_MIN.max(earliest) && height > best.1 {
            best = (at + 1, height);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize, seed: u64) -> Vec<f64> {
        let mut sequence = Sequence::new(seed);
        (0..count).map(|_| (sequence.next() % 1_000) as f64 / 1_000.0).collect()
    }

    #[test]
    fn a_rising_share_is_found_where_it_begins() {
        let bad: Vec<f64> = noise(60, 1).iter().map(|x| (x * 3.0).floor()).collect();
        let bad: Vec<f64> = bad.iter().enumerate().map(|(n, x)| if n >= 42 { x + 9.0 } else { *x }).collect();
        let change = rise_of_share(&bad, &[100.0; 60], 0).unwrap();
        assert_eq!(change.bucket, 42);
        assert!(change.p_value <= 0.001);
        let later = rise_of_share(&bad, &[100.0; 60], 50);
        assert!(later.is_none_or(|change| change.bucket >= 50), "what is too early is not looked at");
    }

    #[test]
    fn more_traffic_is_no_more_failures() {
        let all: Vec<f64> = (0..60).map(|n| if n >= 30 { 400.0 } else { 100.0 }).collect();
        let bad: Vec<f64> =
            all.iter().zip(noise(60, 2)).map(|(all, x)| (all * (0.01 + 0.01 * x)).round()).collect();
        assert!(rise_of_share(&bad, &all, 0).is_none_or(|change| change.p_value > 0.01));
    }

    #[test]
    fn noise_has_no_onset_more_often_than_chance_says() {
        let found = (0..100)
            .filter(|seed| {
                rise_of_level(&noise(60, 1_000 + seed), 0).is_some_and(|change| change.p_value < 0.05)
            })
            .count();
        assert!(found <= 12, "{found} of 100");
    }

    #[test]
    fn a_level_that_rises_is_found_across_gaps() {
        let mut values = noise(50, 3);
        values.iter_mut().skip(40).for_each(|value| *value += 2.0);
        values[10] = f64::NAN;
        let change = rise_of_level(&values, 0).unwrap();
        assert!((39..=40).contains(&change.bucket), "{}", change.bucket);
        let fallen: Vec<f64> = values.iter().map(|value| -value).collect();
        assert!(rise_of_level(&fallen, 0).is_none_or(|change| change.p_value > 0.05));
    }

    #[test]
    fn too_little_is_no_change() {
        assert_eq!(rise_of_share(&[0.0, 5.0], &[5.0, 5.0], 0), None);
        assert_eq!(rise_of_share(&[0.0; 9], &[0.0; 9], 0), None);
        assert_eq!(rise_of_level(&[], 0), None);
    }
}
