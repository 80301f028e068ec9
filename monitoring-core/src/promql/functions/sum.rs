//! Sums that keep what floating-point addition loses (Kahan and Neumaier), and what is made of
//! them: means that do not overflow, and variances.
//!
//! Source: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen",
//! 1974; B. P. Welford, "Note on a method for calculating corrected sums of squares", 1962.

/// A sum, and what was lost on the way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    total: f64,
    lost: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, value: f64) {
        let total = self.total + value;
        self.lost = if total.is_infinite() {
            0.0
        } else if self.total.abs() >= value.abs() {
            self.lost + ((self.total - total) + value)
        } else {
            self.lost + ((value - total) + self.total)
        };
        self.total = total;
    }

    pub(crate) fn value(self) -> f64 {
        self.total + self.lost
    }

    fn scaled(self, factor: f64) -> Self {
        Self { total: self.total * factor, lost: self.lost * factor }
    }
}

impl FromIterator<f64> for Sum {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sum = Self::default();
        values.into_iter().for_each(|value| sum.add(value));
        sum
    }
}

/// A mean: a sum divided by a count, until the sum would overflow; from then on a running mean.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mean {
    count: f64,
    sum: Sum,
    /// Whether `sum` holds the mean so far.
    runs: bool,
}

impl Mean {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.runs {
            let mut sum = self.sum;
            sum.add(value);
            if self.count == 1.0 || !sum.value().is_infinite() {
                self.sum = sum;
                return;
            }
            self.runs = true;
            self.sum = self.sum.scaled(1.0 / (self.count - 1.0));
        }
        let mut mean = self.sum.scaled((self.count - 1.0) / self.count);
        mean.add(value / self.count);
        self.sum = mean;
    }

    pub(crate) fn value(self) -> f64 {
        if self.runs { self.sum.value() } else { self.sum.total / self.count + self.sum.lost / self.count }
    }
}

/// Mean and variance in one pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    count: f64,
    mean: Sum,
    squares: Sum,
}

impl Moments {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let deviation = value - self.mean.value();
        self.mean.add(deviation / self.count);
        self.squares.add(deviation * (value - self.mean.value()));
    }

    /// The variance of what was added, taken as the whole population.
    pub(crate) fn variance(self) -> f64 {
        self.squares.value() / self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_survive_between_large_ones() {
        assert_eq!([1.0, 1e100, 1.0, -1e100].into_iter().collect::<Sum>().value(), 2.0);
    }

    #[test]
    fn a_mean_of_huge_values_does_not_overflow() {
        let mut mean = Mean::default();
        [1.5e308, 1.5e308, 1.5e308].into_iter().for_each(|value| mean.add(value));
        assert!((mean.value() / 1.5e308 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn variance_is_that_of_the_population() {
        let mut moments = Moments::default();
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|value| moments.add(value));
        assert_eq!(moments.variance(), 4.0);
    }
}
