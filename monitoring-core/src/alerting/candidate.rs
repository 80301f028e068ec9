//! What the query of a rule gives, as alerts whose state is not known yet.

use std::collections::HashSet;
use std::sync::Arc;

use super::state::Verdict;
use super::texts::{TextSources, Unsettled, is_fixed};
use super::threshold::threshold;
use crate::model::{AlertRule, Fallback, Fingerprint, Labels, RuleHealth, RuleLabels, clean};
use crate::promql::{LabelSet, NAME};

/// The label that carries a rule's name on each of its alerts.
pub(crate) const ALERT_NAME: &str = "alertname";
/// The label that carries a rule's severity.
const SEVERITY: &str = "severity";
/// The label of an alert that is there because nobody can tell: why not.
const HEALTH: &str = "health";

/// An alert that is called for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub fingerprint: Fingerprint,
    /// Shared by the candidates of many instants.
    pub labels: Arc<Labels>,
    pub annotations: Labels,
    pub value: f64,
}

/// The alerts that results call for, as far as they have been looked at.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    made: Vec<Candidate>,
    seen: HashSet<Fingerprint>,
}

impl Candidates {
    /// Adds what one more result calls for.
    ///
    /// # Errors
    ///
    /// It would have the labels of another, it takes too much, or something must be asked first; then the same
    /// result can be added again.
    pub(crate) fn add(
        &mut self,
        terms: &Terms,
        (labels, value): (&LabelSet, f64),
        sources: &mut TextSources,
    ) -> Result<(), Unsettled> {
        if !terms.passes(value) {
            return Ok(());
        }
        let candidate = terms.candidate(&all_labels(labels), value, sources)?;
        if !self.seen.insert(candidate.fingerprint) {
            return Err(Unsettled::SameLabels);
        }
        self.made.push(candidate);
        Ok(())
    }

    pub(crate) fn into_vec(self) -> Vec<Candidate> {
        self.made
    }
}

/// A rule as it is evaluated: what follows from it and its group is worked out.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub rule: AlertRule,
    /// Those of the group, and those of the rule over them: texts to be filled in.
    labels: RuleLabels,
    /// Present only where it counts.
    threshold: Option<f64>,
}

impl Terms {
    pub(crate) fn new(rule: AlertRule, group_labels: &RuleLabels) -> Self {
        let threshold = threshold(&rule);
        let labels = rule.labels.over(group_labels);
        Self { rule, labels, threshold }
    }

    /// Whether a result counts.
    pub(crate) fn passes(&self, value: f64) -> bool {
        self.threshold.is_none_or(|threshold| value > threshold)
    }

    fn candidate(
        &self,
        result: &Labels,
        value: f64,
        sources: &mut TextSources,
    ) -> Result<Candidate, Unsettled> {
        let labels = self.labels(result, value, sources)?;
        let fill = |(name, text): (&str, &str)| Ok((name.to_owned(), sources.expand(text, result, value)?));
        let annotations: Vec<(String, String)> =
            self.rule.annotations.iter().map(fill).collect::<Result<_, Unsettled>>()?;
        Ok(Candidate {
            fingerprint: Fingerprint::of(&labels),
            labels: Arc::new(labels),
            annotations: annotations.into_iter().collect(),
            value,
        })
    }

    /// The labels of the alert of a result: those of the result but its name, which only texts see; those of
    /// the group and the rule over them; the rule's name, and its severity unless they say otherwise.
    ///
    /// # Errors
    ///
    /// They take too much, or something must be asked first, which never is if the labels are fixed.
    pub(crate) fn labels(
        &self,
        result: &Labels,
        value: f64,
        sources: &mut TextSources,
    ) -> Result<Labels, Unsettled> {
        sources.budget.begin_alert();
        let mut labels = result.clone();
        labels.set(NAME, "");
        for (name, text) in self.labels.iter() {
            labels.set(name, sources.expand(text, result, value)?);
        }
        labels.set(ALERT_NAME, self.rule.name.as_str());
        let says_severity = self.labels.value(SEVERITY).is_some() || labels.value(SEVERITY).is_some();
        if self.rule.severity_label && !says_severity {
            labels.set(SEVERITY, self.rule.severity.as_str());
        }
        Ok(labels)
    }

    /// The labels that all its alerts have; an empty value for one that none of them has. Rules may share a
    /// name, and differ by these.
    pub(crate) fn common_labels(&self) -> Vec<(&str, &str)> {
        let mut common = vec![(ALERT_NAME, self.rule.name.as_str())];
        common.extend(self.labels.iter().filter(|(_, text)| is_fixed(text)));
        if self.rule.severity_label && self.labels.value(SEVERITY).is_none() {
            common.push((SEVERITY, self.rule.severity.as_str()));
        }
        common
    }

    /// Whether the labels of an alert follow from those of the result, whatever its value.
    pub(crate) fn has_fixed_labels(&self) -> bool {
        self.labels.iter().all(|(_, text)| is_fixed(text))
    }

    /// The alert that says that nobody can tell. Nothing is asked for its texts.
    fn unknown(&self, health: RuleHealth, sources: TextSources) -> Candidate {
        let labels = Labels::from_iter([(HEALTH, health.as_str())]);
        let candidate = self.candidate(&labels, f64::NAN, &mut sources.without_queries());
        candidate.expect("one alert takes less than all may, and nothing is asked")
    }

    /// What an evaluation says that found no samples at all, or failed.
    pub(crate) fn without_answer(
        &self,
        health: RuleHealth,
        sources: impl FnOnce() -> TextSources,
    ) -> Verdict {
        let fallback = match health {
            RuleHealth::NoData => self.rule.on_no_data,
            _ => self.rule.on_error,
        };
        match fallback {
            Fallback::Ok => Verdict::Holds(Vec::new()),
            Fallback::Keep => Verdict::Unknown(None),
            Fallback::Alert => Verdict::Unknown(Some(self.unknown(health, sources()))),
        }
    }
}

/// The labels of a result as an alert has them.
pub(crate) fn without_name(labels: &LabelSet) -> Labels {
    let mut labels = all_labels(labels);
    labels.set(NAME, "");
    labels
}

/// The labels of a result, without what no database takes: queries can make labels.
fn all_labels(labels: &LabelSet) -> Labels {
    let cleaned = labels.iter().map(|label| {
        let mut value = (*label.value).to_owned();
        clean(&mut value);
        (&*label.name, value)
    });
    cleaned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::tests::rule;

    fn labels(of: &[(&str, &str)]) -> Labels {
        of.iter().copied().collect()
    }

    impl Terms {
        /// The alerts of results that ask nothing.
        pub(crate) fn candidates<'r>(
            &self,
            results: impl IntoIterator<Item = (&'r LabelSet, f64)>,
        ) -> Result<Vec<Candidate>, Unsettled> {
            let (mut made, mut sources) = (Candidates::default(), TextSources::default());
            results.into_iter().try_for_each(|result| made.add(self, result, &mut sources))?;
            Ok(made.into_vec())
        }
    }

    fn result(of: &[(&str, &str)]) -> LabelSet {
        of.iter().copied().collect()
    }

    #[test]
    fn labels_of_the_rule_win_over_the_group_and_both_over_the_result() {
        let rule = AlertRule {
            labels: RuleLabels::from_iter([("team", "a"), ("host", "{{ $labels.pod }}-x")]),
            ..rule()
        };
        let terms = Terms::new(rule, &RuleLabels::from_iter([("team", "g"), ("zone", "z")]));
        let result = result(&[("__name__", "up"), ("pod", "p"), ("team", "r"), ("zone", "r")]);
        let found = terms.candidates([(&result, 7.0)]).unwrap().remove(0);
        let expected = [
            ("alertname", "Down"),
            ("host", "p-x"),
            ("pod", "p"),
            ("severity", "high"),
            ("team", "a"),
            ("zone", "z"),
        ];
        assert_eq!(*found.labels, labels(&expected));
    }

    #[test]
    fn severity_is_a_label_unless_the_labels_say_otherwise() {
        let severity = |rule: AlertRule, of: &[(&str, &str)]| {
            let found =
                Terms::new(rule, &RuleLabels::new()).candidates([(&result(of), 1.0)]).unwrap().remove(0);
            found.labels.value("severity").map(str::to_owned)
        };
        assert_eq!(severity(rule(), &[]).as_deref(), Some("high"));
        assert_eq!(severity(rule(), &[("severity", "page")]).as_deref(), Some("page"));
        let labelled = AlertRule { labels: RuleLabels::from_iter([("severity", "ticket")]), ..rule() };
        assert_eq!(severity(labelled, &[("severity", "page")]).as_deref(), Some("ticket"));
        assert_eq!(severity(AlertRule { severity_label: false, ..rule() }, &[]), None);
    }

    #[test]
    fn two_results_that_become_one_alert_are_an_error_in_prometheuss_words() {
        let terms = Terms::new(rule(), &RuleLabels::new());
        let (one, other) = (result(&[("__name__", "a")]), result(&[("__name__", "b")]));
        let error = terms.candidates([(&one, 1.0), (&other, 1.0)]).unwrap_err();
        let words = "vector contains metrics with the same labelset after applying alert labels";
        assert_eq!(error, Unsettled::SameLabels);
        assert_eq!(error.to_string(), words);
    }

    #[test]
    fn an_empty_label_of_the_rule_takes_one_away() {
        let labels = RuleLabels::from_iter([("pod", "{{ $labels.none }}"), ("zone", "")]);
        let terms = Terms::new(AlertRule { labels, ..rule() }, &RuleLabels::from_iter([("job", "")]));
        let result = result(&[("pod", "p"), ("zone", "z"), ("job", "j"), ("kept", "k")]);
        let found = terms.candidates([(&result, 1.0)]).unwrap().remove(0);
        assert_eq!(found.labels.to_string(), r#"{alertname="Down", kept="k", severity="high"}"#);
    }

    #[test]
    fn a_threshold_counts_where_the_query_has_no_comparison() {
        let called = |query: &str, value: f64| {
            let rule = AlertRule { query: query.to_owned(), threshold_value: Some(80.0), ..rule() };
            let terms = Terms::new(rule, &RuleLabels::new());
            terms.candidates([(&result(&[]), value)]).unwrap().len()
        };
        assert_eq!([called("cpu", 80.0), called("cpu", 80.5), called("cpu", f64::NAN)], [0, 1, 0]);
        assert_eq!(called("cpu > 10", 11.0), 1, "the query has one of its own");
    }

    #[test]
    fn texts_see_the_name_of_the_metric_and_the_alert_has_none() {
        let summary = labels(&[("summary", "{{ $labels.__name__ }} of {{ $labels.pod }}")]);
        let terms = Terms::new(AlertRule { annotations: summary, ..rule() }, &RuleLabels::new());
        let result = result(&[("__name__", "up"), ("pod", "p")]);
        let found = terms.candidates([(&result, 0.0)]).unwrap().remove(0);
        assert_eq!(found.annotations.value("summary"), Some("up of p"));
        assert_eq!(found.labels.value("__name__"), None);
    }

    #[test]
    fn labels_that_no_database_takes_are_mended() {
        let terms = Terms::new(rule(), &RuleLabels::new());
        let found = terms.candidates([(&result(&[("pod", "a\0b")]), 1.0)]).unwrap().remove(0);
        assert_eq!(found.labels.value("pod"), Some("a\u{fffd}b"));
    }

    #[test]
    fn each_alert_may_have_as_much_text_as_any() {
        let long = "x".repeat(60_000);
        let names = (0..10).map(|n| format!("text_{n}"));
        let annotations = names.map(|name| (name, long.as_str())).collect();
        let terms = Terms::new(AlertRule { annotations, ..rule() }, &RuleLabels::new());
        let results = ["a", "b", "c"].map(|pod| result(&[("pod", pod)]));
        let found = terms.candidates(results.iter().map(|labels| (labels, 1.0))).unwrap();
        let is_whole = |candidate: &Candidate| candidate.annotations.iter().all(|(_, text)| text == long);
        assert!(found.len() == 3 && found.iter().all(is_whole));
    }

    #[test]
    fn annotations_tell_the_value() {
        let rule =
            AlertRule { annotations: labels(&[("summary", "{{ $value }} of {{ $labels.pod }}")]), ..rule() };
        let terms = Terms::new(rule, &RuleLabels::new());
        let found = terms.candidates([(&result(&[("pod", "p")]), f64::NAN)]).unwrap().remove(0);
        assert_eq!(found.annotations.value("summary"), Some("NaN of p"));
    }
}
