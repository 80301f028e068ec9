//! What routes and inhibition ask of labels: matchers, and the older forms that Alertmanager still takes.

use std::collections::BTreeMap;

use super::conditions::Conditions;
use crate::model::{
    AlertMatcher, AlertMatchers, InhibitRule, Invalid, MatchOperator, Route, is_any_label_name,
};

/// Matchers, labels with their values, and labels with regular expressions, each with the field they stand in.
pub(super) struct Asked([(&'static str, AlertMatchers); 3]);

impl Asked {
    pub(super) fn of_route(route: &Route) -> Self {
        Self([
            ("matchers", route.matchers.clone()),
            ("match", old(&route.equal, MatchOperator::Equal)),
            ("match_re", old(&route.matching, MatchOperator::Matches)),
        ])
    }

    pub(super) fn of_source(rule: &InhibitRule) -> Self {
        Self([
            ("source_matchers", rule.source_matchers.clone()),
            ("source_match", old(&rule.source_match, MatchOperator::Equal)),
            ("source_match_re", old(&rule.source_match_re, MatchOperator::Matches)),
        ])
    }

    pub(super) fn of_target(rule: &InhibitRule) -> Self {
        Self([
            ("target_matchers", rule.target_matchers.clone()),
            ("target_match", old(&rule.target_match, MatchOperator::Equal)),
            ("target_match_re", old(&rule.target_match_re, MatchOperator::Matches)),
        ])
    }

    /// The field of the form of today.
    pub(super) const fn field(&self) -> &'static str {
        self.0[0].0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, matchers)| matchers.is_empty())
    }

    /// All of it, sorted: what the groups of a route are called by.
    pub(super) fn sorted(self) -> AlertMatchers {
        let mut all: Vec<_> = self.0.into_iter().flat_map(|(_, matchers)| matchers.0).collect();
        all.sort();
        AlertMatchers(all)
    }

    /// # Errors
    ///
    /// What is wrong, the fields below `path`.
    pub(super) fn compile(&self, path: &str) -> Result<Conditions, Invalid> {
        let mut conditions = Conditions::default();
        for (index, (field, matchers)) in self.0.iter().enumerate() {
            let field = format!("{path}.{field}");
            if index > 0 {
                check_old(matchers, &field)?;
            }
            conditions.extend(Conditions::compile(matchers, &field)?);
        }
        Ok(conditions)
    }
}

/// The older forms know plain names only, as in Alertmanager.
fn check_old(matchers: &AlertMatchers, field: &str) -> Result<(), Invalid> {
    let mut invalid = Invalid::default();
    for (index, matcher) in matchers.iter().enumerate() {
        if !is_any_label_name(&matcher.name) {
            let message = format!("{:?} is no plain name of a label; use matchers for others", matcher.name);
            invalid.push(format!("{field}[{index}]"), message);
        }
    }
    invalid.or(())
}

fn old(pairs: &BTreeMap<String, String>, operator: MatchOperator) -> AlertMatchers {
    pairs.iter().map(|(label, value)| AlertMatcher::new(label, operator, value)).collect()
}
