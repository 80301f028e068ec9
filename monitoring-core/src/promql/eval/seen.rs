//! At which steps a query sees any sample at all.

use crate::promql::plan::Shift;
use crate::promql::source::Samples;
use crate::promql::value::{Steps, is_present};

/// What selectors have seen so far.
#[derive(Clone, Debug, Default)]
pub(in crate::promql) struct Seen {
    /// For each step, whether there was a sample.
    steps: Vec<bool>,
    /// Steps for which there was none so far.
    left: usize,
    /// Whether anything was looked for.
    pub has_looked: bool,
}

impl Seen {
    pub(super) fn nothing(steps: usize) -> Self {
        Self { steps: vec![false; steps], left: steps, has_looked: false }
    }

    pub(in crate::promql) fn into_steps(self) -> Vec<bool> {
        self.steps
    }

    /// Notes the values of a column.
    pub(super) fn column(&mut self, values: &[f64]) {
        if self.left == 0 {
            return;
        }
        for (n, value) in values.iter().enumerate() {
            if is_present(*value) {
                self.step(n);
            }
        }
    }

    /// Notes what windows of this length see of a series without staleness markers.
    pub(super) fn windows(&mut self, samples: &Samples, shift: Shift, length: i64, steps: Steps) {
        if self.left == 0 {
            return;
        }
        let was_before = samples.delta.as_ref().is_some_and(|delta| delta.before.is_some());
        for (n, step) in steps.iter().enumerate() {
            let end = shift.seen_at(step);
            let until = samples.times.partition_point(|time| *time <= end);
            let newest = until.checked_sub(1).map(|last| samples.times[last]);
            let is_within = newest.is_some_and(|time| time > end - length || samples.delta.is_some());
            if is_within || was_before {
                self.step(n);
            }
        }
    }

    /// Notes what is the same at every step.
    pub(super) fn everywhere(&mut self, inner: &Self) {
        self.has_looked |= inner.has_looked;
        if inner.left < inner.steps.len() {
            self.steps.fill(true);
            self.left = 0;
        }
    }

    /// What was seen at steps, as samples at their times.
    pub(super) fn as_samples(&self, steps: Steps) -> Samples {
        let seen = steps.iter().zip(&self.steps).filter(|(_, seen)| **seen);
        Samples { times: seen.map(|(time, _)| time).collect(), values: Vec::new(), delta: None }
    }

    fn step(&mut self, n: usize) {
        if !std::mem::replace(&mut self.steps[n], true) {
            self.left -= 1;
        }
    }
}
