//! Alert rules: what a rule is made of, whether it makes sense, and what becomes of its alerts.
//!
//! Everything here is a function of values and a given time.

mod candidate;
mod query;
pub(crate) mod routing;
mod rule;
mod series;
mod state;
mod texts;
mod threshold;

pub(crate) mod rule_file;
pub(crate) mod template;

#[cfg(test)]
mod tests;

pub(crate) use candidate::{ALERT_NAME, Candidate, Candidates, Terms, without_name};
pub(crate) use rule::{
    changed_recording_rule, changed_rule, check_group, check_recording_rule, check_rule, new_recording_rule,
    new_rule, rule_texts,
};
pub(crate) use series::{recorded_series, written_by_alerts};
pub(crate) use state::{Advanced, Instances, RESOLVED_KEPT, Verdict, active_after, advance, resume};
#[cfg(test)]
pub(crate) use texts::TextBudget;
pub(crate) use texts::{TextSources, Unsettled};
pub(crate) use threshold::full_query;
