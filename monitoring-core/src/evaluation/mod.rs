//! Evaluates rules: reads what they ask for, decides with [`alerting`](crate::alerting), and commits what
//! comes of it.
//!
//! Groups are evaluated at times that follow from their name and interval alone, whoever does it. What
//! one evaluation of a rule changes (alerts, their history, the state of the rule, incidents, series) is
//! written in one transaction, together with what came of others of its group. It only commits if the group
//! is still where it was when the evaluation began, or when its last part was written. So whoever
//! evaluates, and however many at once, nothing happens twice.

mod backtest;
mod backtest_lead;
mod backtest_report;
mod candidates;
mod commit;
mod error_ratio;
mod evaluator;
mod group;
mod incidents;
mod known;
mod loaded;
mod progress;
mod retired;
mod rule;
mod schedule;
mod series;
mod silences;
mod unit_test;

pub(crate) use backtest::{Backtest, STEPS_MAX, backtest};
pub(crate) use backtest_lead::lead;
pub(crate) use evaluator::{Evaluated, Evaluator};
pub(crate) use loaded::metrics_of;
pub(crate) use rule::try_rule;
pub(crate) use schedule::{interval_of, slot};
pub(crate) use unit_test::{rule_files_of, test_rules};
