//! How often the cause is named: of faults planted in a noisy shop, and of recorded ones where a
//! folder of them is named.

mod planted_faults;
mod recorded;

pub(super) use planted_faults::input;

use super::explain::{Explanation, explain};
use super::input::{Input, Seen};

/// Where the cause stands among the findings: 1 is the first.
fn rank(explanation: &Explanation, is_cause: impl Fn(&str) -> bool) -> Option<usize> {
    explanation.findings.iter().position(|finding| is_cause(&finding.summary)).map(|place| place + 1)
}

/// The same where what is named beside something else does not count.
fn rank_of_lead(explanation: &Explanation, is_cause: impl Fn(&str) -> bool) -> Option<usize> {
    let lead = |summary: &str| summary.split("; with it: ").next().unwrap_or_default().to_owned();
    explanation.findings.iter().position(|finding| is_cause(&lead(&finding.summary))).map(|place| place + 1)
}

/// How often the cause came first, or among the first three.
#[derive(Clone, Copy, Debug, Default)]
struct Hits {
    first: usize,
    first_three: usize,
    of: usize,
}

impl Hits {
    fn add(&mut self, rank: Option<usize>) {
        self.of += 1;
        self.first += usize::from(rank == Some(1));
        self.first_three += usize::from(rank.is_some_and(|rank| rank <= 3));
    }

    fn shares(self) -> (f64, f64) {
        let share = |hits: usize| hits as f64 / self.of.max(1) as f64;
        (share(self.first), share(self.first_three))
    }
}

impl std::fmt::Display for Hits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, three) = self.shares();
        write!(
            f,
            "top-1 {}/{of} ({:.0} %), top-3 {}/{of} ({:.0} %)",
            self.first,
            first * 100.0,
            self.first_three,
            three * 100.0,
            of = self.of
        )
    }
}
