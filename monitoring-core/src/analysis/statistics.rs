//! Tests and robust measures. Everything is deterministic, the random order of permutations too.

/// The probability that a standard normal value is at least `z`.
pub(super) fn normal_tail(z: f64) -> f64 {
    0.5 * complementary_error(z / std::f64::consts::SQRT_2)
}

/// `erfc`, with a relative error below 1.2e-7 everywhere (Chebyshev fit, as in Numerical Recipes).
fn complementary_error(x: f64) -> f64 {
    const FIT: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let fitted = FIT.iter().rev().fold(0.0, |sum, factor| sum * t + factor);
    let tail = t * (-x * x + fitted).exp();
    if x >= 0.0 { tail } else { 2.0 - tail }
}

/// Two groups, and how many in each have a property.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Table {
    pub with: f64,
    pub of: f64,
    pub other_with: f64,
    pub other_of: f64,
}

impl Table {
    pub(super) fn share(self) -> f64 {
        ratio(self.with, self.of)
    }

    pub(super) fn other_share(self) -> f64 {
        ratio(self.other_with, self.other_of)
    }

    /// How likely chance alone makes the first group's share so much larger: Fisher's exact test
    /// where numbers are small, a G-test where they are not.
    pub(super) fn p_larger(self) -> f64 {
        if self.of <= 0.0 || self.other_of <= 0.0 || self.share() <= self.other_share() {
            return 1.0;
        }
        let expected = (self.with + self.other_with) * self.of / (self.of + self.other_of);
        if expected < 10.0 { self.fisher() } else { normal_tail(self.g().max(0.0).sqrt()) }
    }

    /// Twice the log likelihood ratio of two shares against one.
    fn g(self) -> f64 {
        let without = (self.of - self.with, self.other_of - self.other_with);
        let (all, with) = (self.of + self.other_of, self.with + self.other_with);
        let cell = |seen: f64, row: f64, column: f64| match seen {
            0.0 => 0.0,
            _ => seen * (seen * all / (row * column)).ln(),
        };
        2.0 * (cell(self.with, with, self.of)
            + cell(self.other_with, with, self.other_of)
            + cell(without.0, all - with, self.of)
            + cell(without.1, all - with, self.other_of))
    }

    fn fisher(self) -> f64 {
        let [with, of, other_with, other_of] =
            [self.with, self.of, self.other_with, self.other_of].map(f64::round);
        let drawn = with + other_with;
        let choose = |n: f64, k: f64| log_factorial(n) - log_factorial(k) - log_factorial(n - k);
        let all = choose(of + other_of, drawn);
        let (mut sum, mut k) = (0.0, with);
        let last = drawn.min(of);
        while k <= last {
            if drawn - k <= other_of {
                let term = (choose(of, k) + choose(other_of, drawn - k) - all).exp();
                sum += term;
                if term < sum * 1e-12 {
                    break;
                }
            }
            k += 1.0;
        }
        sum.min(1.0)
    }
}

pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// `ln n!`
fn log_factorial(n: f64) -> f64 {
    if n < 2.0 {
        return 0.0;
    }
    if n < 16.0 {
        return (2..=n as u32).map(|k| f64::from(k).ln()).sum();
    }
    // Stirling's series is exact to 1e-12 from here on.
    let x = n + 1.0;
    (x - 0.5) * x.ln() - x + 0.918_938_533_204_672_8 + 1.0 / (12.0 * x) - 1.0 / (360.0 * x * x * x)
}

/// The probability of at most `seen` where `expected` are expected, by Poisson.
pub(super) fn poisson_at_most(seen: f64, expected: f64) -> f64 {
    if expected > 700.0 {
        return normal_tail((expected - seen - 0.5) / expected.sqrt());
    }
    let (mut term, mut sum, mut k) = ((-expected).exp(), 0.0, 0.0);
    while k <= seen {
        sum += term;
        k += 1.0;
        term *= expected / k;
    }
    sum.min(1.0)
}

/// Corrects p-values for the number of comparisons (Benjamini-Hochberg): each becomes the smallest
/// false discovery rate at which it is still a discovery.
pub(super) fn corrected(p_values: &[f64], comparisons: usize) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let all = comparisons.max(p_values.len()) as f64;
    let (mut corrected, mut least) = (vec![1.0; p_values.len()], 1.0_f64);
    for (rank, at) in order.iter().enumerate().rev() {
        least = least.min(p_values[*at] * all / (rank as f64 + 1.0));
        corrected[*at] = least;
    }
    corrected
}

/// The value below which the given part of the values lies; they are sorted. NaN if there are none.
pub(super) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = part * last as f64;
    let (low, rest) = (place.floor() as usize, place.fract());
    let high = (low + 1).min(last);
    sorted[low] + (sorted[high] - sorted[low]) * rest
}

pub(super) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values
}

pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(&sorted(values), 0.5)
}

/// SplitMix64: the same sequence for the same seed, on every machine.
#[derive(Clone, Debug)]
pub(super) struct Sequence(u64);

impl Sequence {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = (self.next() % (last as u64 + 1)) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_close(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= expected.abs() * 1e-4
    }

    #[test]
    fn the_normal_tail_is_that_of_tables() {
        for (z, expected) in [(0.0, 0.5), (1.644_854, 0.05), (3.0, 1.349_898e-3), (6.0, 9.865_876e-10)] {
            assert!(is_close(normal_tail(z), expected), "{z}");
        }
        assert!(is_close(normal_tail(-1.644_854), 0.95));
    }

    #[test]
    fn fishers_test_is_that_of_the_lady_tasting_tea() {
        let table = |with| Table { with, of: 4.0, other_with: 4.0 - with, other_of: 4.0 };
        assert!(is_close(table(4.0).p_larger(), 1.0 / 70.0));
        assert!(is_close(table(3.0).p_larger(), 17.0 / 70.0));
        assert_eq!(table(2.0).p_larger(), 1.0);
    }

    #[test]
    fn both_tests_agree_where_they_meet() {
        let table = Table { with: 40.0, of: 100.0, other_with: 30.0, other_of: 120.0 };
        let (g, exact) = (normal_tail(table.g().sqrt()), table.fisher());
        assert!((0.5..2.0).contains(&(g / exact)), "{g} {exact}");
    }

    #[test]
    fn factorials_go_on_smoothly() {
        assert!(is_close(log_factorial(15.0), 27.899_271));
        assert!(is_close(log_factorial(16.0), 30.671_860));
    }

    #[test]
    fn what_is_rare_is_less_likely_to_stay_away() {
        assert!(is_close(poisson_at_most(0.0, 3.0), (-3.0_f64).exp()));
        assert!(is_close(poisson_at_most(1.0, 3.0), 4.0 * (-3.0_f64).exp()));
        assert!(poisson_at_most(700.0, 800.0) < 1e-3);
    }

    #[test]
    fn a_correction_never_makes_more_of_a_comparison() {
        let p = [0.01, 0.5, 0.02];
        assert_eq!(corrected(&p, 3), [0.03, 0.5, 0.03]);
        assert_eq!(corrected(&p, 300)[0], 1.0);
    }

    #[test]
    fn quantiles_lie_between_values() {
        assert_eq!(median([3.0, 1.0, f64::NAN, 2.0]), 2.0);
        assert_eq!(quantile(&[0.0, 10.0], 0.25), 2.5);
        assert!(median([]).is_nan());
    }
}
