//! Which alerts are told to nobody: those silenced, and those others make superfluous.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::asked::Asked;
use super::{Conditions, Router};
use crate::model::{Fingerprint, InhibitRule, Invalid, Labels, Silence, SilenceId, SilenceState, ToldAlert};

/// A rule of inhibition, compiled.
#[derive(Debug)]
pub(super) struct Inhibition {
    source: Conditions,
    target: Conditions,
    equal: Vec<String>,
}

impl Inhibition {
    pub(super) fn compile(rule: &InhibitRule, index: usize) -> Result<Self, Invalid> {
        let path = format!("inhibit_rules[{index}]");
        Ok(Self {
            source: Asked::of_source(rule).compile(&path)?,
            target: Asked::of_target(rule).compile(&path)?,
            equal: rule.equal.clone(),
        })
    }

    /// The values that must be the same in source and target.
    fn equal<'l>(&self, labels: &'l Labels) -> Vec<&'l str> {
        self.equal.iter().map(|name| labels.value(name).unwrap_or_default()).collect()
    }
}

/// The silences that hold now.
#[derive(Debug, Default)]
pub(crate) struct Silenced(Vec<(SilenceId, Conditions)>);

impl Silenced {
    /// One whose matchers make no sense holds for nothing; none such is ever stored.
    pub(crate) fn at(silences: &[Silence], now: DateTime<Utc>) -> Self {
        let active = silences.iter().filter(|silence| silence.state(now) == SilenceState::Active);
        let compiled = active.filter_map(|silence| {
            Some((silence.id, Conditions::compile(&silence.matchers, "matchers").ok()?))
        });
        Self(compiled.collect())
    }

    /// The silences that hide an alert with these labels.
    pub(crate) fn by(&self, labels: &Labels) -> Vec<SilenceId> {
        self.0.iter().filter(|(_, conditions)| conditions.accept(labels)).map(|(id, _)| *id).collect()
    }

    fn hide(&self, labels: &Labels) -> bool {
        self.0.iter().any(|(_, conditions)| conditions.accept(labels))
    }
}

/// What hides alerts at one time.
#[derive(Debug)]
pub(crate) struct Muting<'a> {
    silenced: Silenced,
    rules: Vec<Sources<'a>>,
}

/// The alerts that inhibit others by one rule.
#[derive(Debug)]
struct Sources<'a> {
    rule: &'a Inhibition,
    /// By what they must have in common with a target, and whether they are targets themselves.
    by_equal: HashMap<Vec<&'a str>, Vec<(Fingerprint, bool)>>,
}

impl<'a> Muting<'a> {
    /// By the silences that hold and the alerts that fire.
    pub(crate) fn new(
        silenced: Silenced,
        router: Option<&'a Router>,
        firing: impl Iterator<Item = &'a ToldAlert> + Clone,
    ) -> Self {
        let rules = router.map(|router| router.inhibition.as_slice()).unwrap_or_default().iter();
        let rules = rules.map(|rule| {
            let mut by_equal: HashMap<_, Vec<_>> = HashMap::new();
            for alert in firing.clone().filter(|alert| rule.source.accept(&alert.labels)) {
                let is_target = rule.target.accept(&alert.labels);
                by_equal.entry(rule.equal(&alert.labels)).or_default().push((alert.fingerprint, is_target));
            }
            Sources { rule, by_equal }
        });
        Self { silenced, rules: rules.collect() }
    }

    /// Whether nobody is told of an alert with these labels.
    pub(crate) fn hides(&self, labels: &Labels) -> bool {
        self.silenced.hide(labels) || self.rules.iter().any(|rule| rule.find(labels, |_| true))
    }

    /// The silences that hide it.
    pub(crate) fn silenced_by(&self, labels: &Labels) -> Vec<SilenceId> {
        self.silenced.by(labels)
    }

    /// The alerts that make it superfluous. An alert that is source and target of a rule is not
    /// inhibited by others that are both, so that it never inhibits itself.
    pub(crate) fn inhibited_by(&self, labels: &Labels) -> Vec<Fingerprint> {
        let mut by = Vec::new();
        for rule in &self.rules {
            rule.find(labels, |source| {
                by.push(source);
                false
            });
        }
        by
    }
}

impl Sources<'_> {
    /// Whether some alert that makes one with these labels superfluous is as it should be.
    fn find(&self, labels: &Labels, mut is_it: impl FnMut(Fingerprint) -> bool) -> bool {
        if self.by_equal.is_empty() || !self.rule.target.accept(labels) {
            return false;
        }
        let Some(sources) = self.by_equal.get(&self.rule.equal(labels)) else { return false };
        let is_source = self.rule.source.accept(labels);
        sources.iter().filter(|(_, is_target)| !(is_source && *is_target)).any(|(by, _)| is_it(*by))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn alert(pairs: &[(&str, &str)]) -> ToldAlert {
        let labels: Labels = pairs.iter().copied().collect();
        ToldAlert {
            rule_id: uuid::Uuid::nil().into(),
            fingerprint: Fingerprint::of(&labels),
            labels,
            annotations: Labels::new(),
            value: String::new(),
            starts_at: DateTime::UNIX_EPOCH,
            ends_at: None,
        }
    }

    fn router(rule: Value) -> Router {
        let routing = json!({"receiver": "r", "inhibit_rules": [rule]});
        Router::compile(&serde_json::from_value(routing).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn a_source_inhibits_targets_that_have_the_same_labels() {
        let router = router(json!({"source_matchers": ["severity=critical"],
            "target_matchers": ["severity=warning"], "equal": ["cluster", "zone"]}));
        let source = alert(&[("severity", "critical"), ("cluster", "a")]);
        let muting = Muting::new(Silenced::default(), Some(&router), [&source].into_iter());
        let hidden = |pairs: &[(&str, &str)]| muting.hides(&alert(pairs).labels);
        // Both lack the zone, which makes it the same.
        assert!(hidden(&[("severity", "warning"), ("cluster", "a")]));
        assert!(!hidden(&[("severity", "warning"), ("cluster", "b")]));
        assert!(!hidden(&[("severity", "warning"), ("cluster", "a"), ("zone", "1")]));
        assert!(!hidden(&[("severity", "info"), ("cluster", "a")]));
    }

    #[test]
    fn inhibition_is_understood_in_its_older_form() {
        let router = router(json!({"source_match": {"severity": "critical"}, "source_matchers": ["job!=b"],
            "target_match_re": {"severity": "warn.*"}, "target_match": {"zone": "1"}}));
        let source = alert(&[("severity", "critical"), ("job", "a")]);
        let muting = Muting::new(Silenced::default(), Some(&router), [&source].into_iter());
        let hidden = |pairs: &[(&str, &str)]| muting.hides(&alert(pairs).labels);
        assert!(hidden(&[("severity", "warning"), ("zone", "1")]));
        assert!(!hidden(&[("severity", "warning")]) && !hidden(&[("severity", "a warning"), ("zone", "1")]));
        let other = alert(&[("severity", "critical"), ("job", "b")]);
        let muting = Muting::new(Silenced::default(), Some(&router), [&other].into_iter());
        assert!(!muting.hides(&alert(&[("severity", "warning"), ("zone", "1")]).labels));
    }

    #[test]
    fn what_is_source_and_target_does_not_inhibit_itself_or_its_like() {
        let router = router(json!({"source_matchers": ["a=~\".+\""], "target_matchers": ["b=~\".+\""]}));
        let both = alert(&[("a", "1"), ("b", "1")]);
        let other = alert(&[("a", "2"), ("b", "2")]);
        let muting = Muting::new(Silenced::default(), Some(&router), [&both, &other].into_iter());
        assert!(!muting.hides(&both.labels) && !muting.hides(&other.labels));
        // A mere target is inhibited by both, and both by a mere source.
        assert_eq!(muting.inhibited_by(&alert(&[("b", "3")]).labels).len(), 2);
        let source = alert(&[("a", "4")]);
        let muting = Muting::new(Silenced::default(), Some(&router), [&both, &source].into_iter());
        assert_eq!(muting.inhibited_by(&both.labels), [source.fingerprint]);
    }

    #[test]
    fn a_silence_holds_from_its_start_to_its_end() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let silence = Silence {
            id: uuid::Uuid::nil().into(),
            matchers: "a=b".parse().unwrap(),
            starts_at: at(10),
            ends_at: at(20),
            author: String::new(),
            comment: String::new(),
            created_by: None,
            created_at: at(0),
            updated_at: at(0),
        };
        let labels = alert(&[("a", "b")]).labels;
        for (second, hides) in [(9, false), (10, true), (19, true), (20, false)] {
            let silenced = Silenced::at(std::slice::from_ref(&silence), at(second));
            assert_eq!(!silenced.by(&labels).is_empty(), hides, "{second}");
            assert!(silenced.by(&alert(&[("a", "c")]).labels).is_empty());
        }
    }
}
