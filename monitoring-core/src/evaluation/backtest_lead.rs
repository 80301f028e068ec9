//! How long before its start a backtest has to begin, so that alerts are then what they would have been.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use chrono::TimeDelta;

use crate::alerting::{Candidate, Instances, RESOLVED_KEPT};
use crate::model::{AlertRule, AlertState, Fingerprint};

/// No rule is followed from longer before its start.
pub(super) const LEAD_MAX: TimeDelta = TimeDelta::days(7);
/// Steps that are gone through only to tell what was resolved from what never was, at most.
const RESOLVED_STEPS_MAX: i32 = 1_000;

/// How long a backtest begins before its start, if that is enough: as long as the rule needs to fire and to go
/// on firing, and as long as it is remembered what was resolved.
pub(crate) fn lead(rule: &AlertRule, step: TimeDelta) -> TimeDelta {
    let seconds = i64::from(rule.for_seconds) + i64::from(rule.keep_firing_for_seconds);
    let remembered = RESOLVED_KEPT.min(step * RESOLVED_STEPS_MAX);
    (TimeDelta::seconds(seconds) + remembered).min(LEAD_MAX)
}

/// Alerts that may have fired since before the first step: `keep_firing_for` can keep one firing for ever
/// whose query holds only now and then, and never for as long as it takes to fire.
#[derive(Debug, Default)]
pub(super) struct MayBeKept {
    /// Steps for which one is kept firing, and two more; `None` if the rule keeps none.
    reach: Option<i64>,
    /// The first step of which anything is known.
    first: i64,
    /// The last step at which each held.
    last: HashMap<Fingerprint, i64>,
}

impl MayBeKept {
    /// Nothing is known before the step `first`; steps are of so many milliseconds.
    pub(super) fn new(rule: &AlertRule, first: i64, step: i64) -> Self {
        let keep = i64::from(rule.keep_firing_for_seconds) * 1_000;
        let reach = (keep > 0).then_some(keep / step + 2);
        Self { reach, first, last: HashMap::new() }
    }

    /// These alerts are called for at a step.
    pub(super) fn held(&mut self, step: i64, candidates: &[Candidate]) {
        let Some(reach) = self.reach else { return };
        for candidate in candidates {
            match self.last.entry(candidate.fingerprint) {
                Entry::Occupied(last) if step - last.get() > reach => drop(last.remove()),
                Entry::Occupied(mut last) => *last.get_mut() = step,
                Entry::Vacant(last) if step - self.first <= reach => drop(last.insert(step)),
                Entry::Vacant(_) => {}
            }
        }
    }

    /// Nobody can tell about a step: all alerts stay what they are.
    pub(super) fn unknown(&mut self, step: i64) {
        let Some(reach) = self.reach else { return };
        self.last.retain(|_, last| step - *last <= reach);
        self.last.values_mut().for_each(|last| *last = step);
        if self.last.is_empty() && step <= self.first {
            self.first = step + 1;
        }
    }

    /// Whether one of them may be firing at step 0 that is not.
    pub(super) fn is_in_doubt(&self, alerts: &Instances) -> bool {
        let Some(reach) = self.reach else { return false };
        let fires = |key| alerts.get(key).is_some_and(|alert| alert.state == AlertState::Firing);
        self.last.iter().any(|(key, last)| -last <= reach && !fires(key))
    }
}
