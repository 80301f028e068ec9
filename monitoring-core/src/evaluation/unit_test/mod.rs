//! Tests of rules, as `promtool test rules` runs them: series that are made up, and what rules and
//! queries must make of them at which time.
//!
//! The format is <https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/>. The
//! rules are evaluated by what evaluates them live, over series in memory.

mod allowance;
mod compare;
mod file;
mod run;
mod world;

use std::collections::{BTreeMap, HashSet};

use chrono::DateTime;

use crate::alerting::rule_file::{self, RuleOrigin, from_yaml, rules_of, settings_of};
use crate::evaluation::loaded::LoadedGroup;
use crate::model::{Invalid, Limits, PromDuration, RuleGroup, RuleTestReport};
use crate::promql::QueryLimits;
use allowance::Allowance;
use file::TestFile;
use run::Run;

/// Steps of all tests of a file together.
const STEPS_MAX: i64 = 200_000;
/// Evaluations of rules, in all these steps.
const EVALUATIONS_MAX: i64 = 2_000_000;
/// Values of the input of all tests of a file, up to when each test ends; what comes later is not made.
const VALUES_MAX: usize = 1_000_000;
/// Where a file does not say it, or says zero.
const USUAL_INTERVAL: PromDuration = PromDuration::from_secs(60);

/// Names the rule files a file of tests speaks of, patterns as they stand there.
///
/// # Errors
///
/// The text is no such file.
pub(crate) fn rule_files_of(tests: &str) -> Result<Vec<String>, Invalid> {
    Ok(parsed(tests)?.rule_files)
}

/// Runs the tests of a file over the groups of these rule files.
///
/// # Errors
///
/// A file makes no sense. Expectations that are not met are in the report.
pub(crate) async fn test_rules(
    tests: &str,
    rule_files: &BTreeMap<String, String>,
    limits: &Limits,
    query_limits: &QueryLimits,
) -> Result<RuleTestReport, Invalid> {
    let file = parsed(tests)?;
    let groups = groups(rule_files, &file, limits)?;
    let interval =
        file.evaluation_interval.filter(|interval| !interval.get().is_zero()).unwrap_or(USUAL_INTERVAL);
    check_size(&file, millis(interval), &groups)?;
    let query_limits = QueryLimits { subquery_interval: interval.get(), ..query_limits.clone() };
    let (mut report, mut allowance) = (RuleTestReport::default(), Allowance::default());
    for (n, test) in file.tests.iter().enumerate() {
        let name = test.name.clone().unwrap_or_else(|| format!("tests[{n}]"));
        let mut run = Run::new(name, test, &groups, &query_limits, file.fuzzy_compare, &mut allowance);
        run.whole(millis(interval)).await;
        report.passed += run.report.passed;
        report.failures.append(&mut run.report.failures);
    }
    Ok(report)
}

/// What would take too long is not begun.
fn check_size(file: &TestFile, interval: i64, groups: &[LoadedGroup]) -> Result<(), Invalid> {
    let rules: usize = groups.iter().map(|group| group.rules.len()).sum();
    let rules = i64::try_from(rules).unwrap_or(i64::MAX).max(1);
    let (mut steps, mut values) = (0_i64, 0_usize);
    for (n, test) in file.tests.iter().enumerate() {
        steps = steps.saturating_add(test.end().0 / interval).saturating_add(1);
        if steps > STEPS_MAX || steps.saturating_mul(rules) > EVALUATIONS_MAX {
            let message = format!(
                "with the tests before it needs {steps} evaluations of {rules} rules; at most {STEPS_MAX} of all, \
                 and {EVALUATIONS_MAX} of single rules, are run"
            );
            return Err(Invalid::field(format!("tests[{n}]"), message));
        }
        values = values.saturating_add(test.values(interval));
        if values > VALUES_MAX {
            let message = format!(
                "with the tests before it it has {values} values of series before each ends; \
                 at most {VALUES_MAX} are made"
            );
            return Err(Invalid::field(format!("tests[{n}]"), message));
        }
    }
    Ok(())
}

fn parsed(tests: &str) -> Result<TestFile, Invalid> {
    from_yaml(tests).map_err(|error| Invalid::field("tests", error))
}

fn millis(duration: PromDuration) -> i64 {
    i64::try_from(duration.get().as_millis()).unwrap_or(i64::MAX)
}

/// The groups in the order of their evaluation: those that are not named first.
fn groups(
    rule_files: &BTreeMap<String, String>,
    tests: &TestFile,
    limits: &Limits,
) -> Result<Vec<LoadedGroup>, Invalid> {
    let origin = RuleOrigin { actor: None, now: DateTime::UNIX_EPOCH };
    let mut groups = Vec::new();
    for (name, text) in rule_files {
        let below = |wrong: Invalid| wrong.below(name, |field| field);
        for (n, group) in rule_file::read(text).map_err(below)?.groups.iter().enumerate() {
            let rules = rules_of(n, group, origin, limits).map_err(below)?;
            groups.push(LoadedGroup::of(&settings_of(group, &RuleGroup::default()), rules));
        }
    }
    let order = &tests.group_eval_order;
    if order.iter().collect::<HashSet<_>>().len() < order.len() {
        return Err(Invalid::field("group_eval_order", "names a group twice"));
    }
    groups.sort_by_key(|group| order.iter().position(|name| *name == group.name));
    Ok(groups)
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
