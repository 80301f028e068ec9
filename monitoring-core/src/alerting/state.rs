//! The states an alert goes through, as Prometheus defines them (`rules/alerting.go`).
//!
//! Everything follows from what there was, what the query gives, and the time it was asked for; so a
//! rule goes the same way whether it is evaluated as time passes or over what is stored.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::candidate::Candidate;
use crate::model::{AlertInstance, AlertRule, AlertState, AlertTransition, AlertTransitionId, Fingerprint};

/// How long a resolved alert stays known.
pub(crate) const RESOLVED_KEPT: TimeDelta = TimeDelta::minutes(15);
/// An alert that was pending begins anew after nobody evaluated its rule for longer than this.
const OUTAGE_TOLERANCE: TimeDelta = TimeDelta::hours(1);
/// After an interruption no alert fires sooner than this, or than its rule has it wait.
const FOR_GRACE_PERIOD: TimeDelta = TimeDelta::minutes(10);

/// The alerts of one rule.
pub(crate) type Instances = BTreeMap<Fingerprint, AlertInstance>;

/// What an evaluation says of a rule's alerts.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// These are called for, and no other.
    Holds(Vec<Candidate>),
    /// Nobody can tell; perhaps there is an alert that says so. All others stay as they are.
    Unknown(Option<Candidate>),
}

/// What became of a rule's alerts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Advanced {
    pub transitions: Vec<AlertTransition>,
    /// Alerts that are new or have changed.
    pub changed: Vec<Fingerprint>,
    /// Alerts of which nothing has changed but the value.
    pub valued: Vec<Fingerprint>,
    /// Alerts that are no longer known.
    pub gone: Vec<Fingerprint>,
}

impl Advanced {
    /// These have changed, too, as far as they are still known.
    pub(crate) fn also_changed(&mut self, fingerprints: Vec<Fingerprint>, alerts: &Instances) {
        let changed: HashSet<_> = self.changed.iter().copied().collect();
        let is_news = |key: &Fingerprint| alerts.contains_key(key) && !changed.contains(key);
        let news: HashSet<_> = fingerprints.into_iter().filter(is_news).collect();
        self.valued.retain(|key| !news.contains(key));
        self.changed.extend(news);
    }
}

/// Has a rule's alerts go on at `now` after nobody evaluated it since `last`; returns those that have
/// changed. Nobody can tell what was in between, so it does not count: what is pending waits for as long
/// as it still had to, as Prometheus has it after a restart. And nothing has happened in the future,
/// whatever a clock said.
pub(crate) fn resume(
    instances: &mut Instances,
    rule: &AlertRule,
    last: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Vec<Fingerprint> {
    let last = last.filter(|last| *last <= now);
    let mut changed = Vec::new();
    for alert in instances.values_mut() {
        let times = |alert: &AlertInstance| {
            (alert.active_at, alert.fired_at, alert.keep_firing_since, alert.resolved_at)
        };
        let before = times(alert);
        for time in [&mut alert.fired_at, &mut alert.keep_firing_since, &mut alert.resolved_at] {
            *time = time.map(|time| time.min(now));
        }
        alert.active_at = alert.active_at.min(now);
        if let Some(last) = last {
            let holds_for = TimeDelta::seconds(rule.for_seconds.into());
            if alert.state == AlertState::Pending {
                alert.active_at = resumed(alert.active_at, holds_for, last, now);
            }
            alert.keep_firing_since = alert.keep_firing_since.map(|since| (since + (now - last)).min(now));
        }
        if times(alert) != before {
            alert.updated_at = now;
            changed.push(alert.fingerprint);
        }
    }
    changed
}

/// Since when an alert counts as active that has waited from `active_at` to `last`.
fn resumed(
    active_at: DateTime<Utc>,
    holds_for: TimeDelta,
    last: DateTime<Utc>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let waited = match now - last > OUTAGE_TOLERANCE {
        true => TimeDelta::zero(),
        false => (last - active_at).clamp(TimeDelta::zero(), holds_for),
    };
    let still_to_wait = (holds_for - waited).max(holds_for.min(FOR_GRACE_PERIOD));
    now + still_to_wait - holds_for
}

/// How many alerts are pending or firing at `now` if these are called for and no others.
pub(crate) fn active_after(
    instances: &Instances,
    candidates: &[Candidate],
    rule: &AlertRule,
    now: DateTime<Utc>,
) -> usize {
    let called_for: HashSet<_> = candidates.iter().map(|candidate| candidate.fingerprint).collect();
    let others = instances.values().filter(|alert| !called_for.contains(&alert.fingerprint));
    candidates.len() + others.filter(|alert| is_kept_firing(alert, rule, now)).count()
}

/// Whether an alert that is not called for goes on firing.
fn is_kept_firing(alert: &AlertInstance, rule: &AlertRule, now: DateTime<Utc>) -> bool {
    let keep_firing_for = TimeDelta::seconds(rule.keep_firing_for_seconds.into());
    alert.state == AlertState::Firing && now - alert.keep_firing_since.unwrap_or(now) < keep_firing_for
}

/// Takes a rule's alerts from what they were to what they are at `now`.
pub(crate) fn advance(
    instances: &mut Instances,
    verdict: Verdict,
    rule: &AlertRule,
    now: DateTime<Utc>,
) -> Advanced {
    let mut advanced = Advanced::default();
    let (candidates, others_stay) = match verdict {
        Verdict::Holds(candidates) => (candidates, false),
        Verdict::Unknown(alert) => (alert.into_iter().collect(), true),
    };
    let called_for: HashSet<_> = candidates.iter().map(|candidate| candidate.fingerprint).collect();
    for candidate in candidates {
        called(instances, candidate, rule, now, &mut advanced);
    }
    instances.retain(|fingerprint, alert| {
        others_stay || called_for.contains(fingerprint) || missed(alert, rule, now, &mut advanced)
    });
    advanced
}

/// An alert that is called for: it goes on, or begins.
fn called(
    instances: &mut Instances,
    candidate: Candidate,
    rule: &AlertRule,
    now: DateTime<Utc>,
    advanced: &mut Advanced,
) {
    let fingerprint = candidate.fingerprint;
    let (alert, from, mut news) = match instances.entry(fingerprint) {
        Entry::Vacant(entry) => (entry.insert(begun(candidate, rule, now)), None, News::More),
        Entry::Occupied(entry) => {
            let alert = entry.into_mut();
            let from = Some(alert.state);
            if alert.state == AlertState::Resolved {
                *alert = AlertInstance { incident_id: alert.incident_id, ..begun(candidate, rule, now) };
                (alert, from, News::More)
            } else {
                let news = refresh(alert, candidate, rule);
                (alert, from, news)
            }
        }
    };
    let holds_for = TimeDelta::seconds(rule.for_seconds.into());
    if alert.state == AlertState::Pending && now - alert.active_at >= holds_for {
        (alert.state, alert.fired_at, news) = (AlertState::Firing, Some(now), News::More);
    }
    if from != Some(alert.state) {
        advanced.transitions.push(transition(rule, alert, from, Some(alert.state), now));
    }
    match news {
        News::None => return,
        News::Value => advanced.valued.push(fingerprint),
        News::More => advanced.changed.push(fingerprint),
    }
    alert.updated_at = now;
}

/// What is new of an alert.
#[derive(Clone, Copy)]
enum News {
    None,
    Value,
    More,
}

/// Takes over what the query gives now for an alert that goes on.
fn refresh(alert: &mut AlertInstance, candidate: Candidate, rule: &AlertRule) -> News {
    let is_same = alert.rule_version == rule.version
        && alert.keep_firing_since.is_none()
        && alert.annotations == candidate.annotations;
    let news = match alert.value.to_bits() == candidate.value.to_bits() {
        _ if !is_same => News::More,
        true => News::None,
        false => News::Value,
    };
    alert.rule_version = rule.version;
    alert.keep_firing_since = None;
    alert.annotations = candidate.annotations;
    alert.value = candidate.value;
    news
}

/// An alert that is not called for; false if it is to be forgotten.
fn missed(alert: &mut AlertInstance, rule: &AlertRule, now: DateTime<Utc>, advanced: &mut Advanced) -> bool {
    let fingerprint = alert.fingerprint;
    match alert.state {
        AlertState::Pending => {
            advanced.transitions.push(transition(rule, alert, Some(AlertState::Pending), None, now));
            advanced.gone.push(fingerprint);
            return false;
        }
        AlertState::Resolved => {
            let is_kept = alert.resolved_at.is_some_and(|at| now - at <= RESOLVED_KEPT);
            if !is_kept {
                advanced.gone.push(fingerprint);
            }
            return is_kept;
        }
        AlertState::Firing => {}
    }
    if is_kept_firing(alert, rule, now) {
        if alert.keep_firing_since.is_none() {
            (alert.keep_firing_since, alert.updated_at) = (Some(now), now);
            advanced.changed.push(fingerprint);
        }
        return true;
    }
    (alert.state, alert.resolved_at, alert.updated_at) = (AlertState::Resolved, Some(now), now);
    let firing = Some(AlertState::Firing);
    advanced.transitions.push(transition(rule, alert, firing, Some(AlertState::Resolved), now));
    advanced.changed.push(fingerprint);
    true
}

fn transition(
    rule: &AlertRule,
    alert: &AlertInstance,
    from: Option<AlertState>,
    to: Option<AlertState>,
    at: DateTime<Utc>,
) -> AlertTransition {
    AlertTransition {
        id: AlertTransitionId::at(at),
        rule_id: rule.id,
        rule_name: rule.name.clone(),
        rule_version: rule.version,
        fingerprint: alert.fingerprint,
        labels: alert.labels.clone(),
        from,
        to,
        value: alert.value,
        at,
        // One that is pending again has left the incident it was part of.
        incident_id: alert.incident_id.filter(|_| [from, to].contains(&Some(AlertState::Firing))),
    }
}

fn begun(candidate: Candidate, rule: &AlertRule, now: DateTime<Utc>) -> AlertInstance {
    let Candidate { fingerprint, labels, annotations, value } = candidate;
    AlertInstance {
        rule_id: rule.id,
        rule_version: rule.version,
        fingerprint,
        labels: Arc::unwrap_or_clone(labels),
        annotations,
        state: AlertState::Pending,
        value,
        active_at: now,
        fired_at: None,
        keep_firing_since: None,
        resolved_at: None,
        updated_at: now,
        incident_id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::candidate::Terms;
    use crate::alerting::tests::rule;
    use crate::model::RuleLabels;
    use crate::promql::LabelSet;

    /// A rule whose query gives, minute by minute, what the lines say: a value or nothing.
    struct Run {
        terms: Terms,
        instances: Instances,
        minute: i64,
    }

    impl Run {
        fn of(rule: AlertRule) -> Self {
            let terms = Terms::new(rule, &RuleLabels::new());
            Self { terms, instances: Instances::new(), minute: 0 }
        }

        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH + TimeDelta::minutes(self.minute)
        }

        fn advance(&mut self, verdict: Verdict) -> Advanced {
            let now = self.now();
            self.minute += 1;
            advance(&mut self.instances, verdict, &self.terms.rule, now)
        }

        fn holds(&mut self, values: &[(&str, f64)]) -> Advanced {
            let results: Vec<(LabelSet, f64)> =
                values.iter().map(|(pod, value)| (LabelSet::from_iter([("pod", *pod)]), *value)).collect();
            let results = results.iter().map(|(labels, value)| (labels, *value));
            let candidates = self.terms.candidates(results).unwrap();
            self.advance(Verdict::Holds(candidates))
        }

        /// The state after each minute of a picture: `x` where the query holds, `.` where not.
        fn states(&mut self, picture: &str) -> String {
            let state = |alert: &AlertInstance| match alert.state {
                AlertState::Pending => 'p',
                AlertState::Firing => 'f',
                AlertState::Resolved => 'r',
            };
            let mut states = String::new();
            for minute in picture.chars() {
                let values: &[_] = if minute == 'x' { &[("a", 1.0)] } else { &[] };
                self.holds(values);
                states.push(self.instances.values().next().map_or('.', state));
            }
            states
        }
    }

    fn rule_for(hold: u32, keep: u32) -> AlertRule {
        AlertRule { for_seconds: 60 * hold, keep_firing_for_seconds: 60 * keep, ..rule() }
    }

    #[test]
    fn an_alert_is_pending_until_the_query_has_held_for_long_enough() {
        assert_eq!(Run::of(rule_for(3, 0)).states(".xxxxx"), ".pppff");
        assert_eq!(Run::of(rule_for(3, 0)).states(".xxx.xxxx"), ".ppp.pppf", "a gap starts it over");
    }

    #[test]
    fn without_a_duration_it_fires_at_once() {
        let mut run = Run::of(rule());
        let advanced = run.holds(&[("a", 1.0)]);
        assert_eq!(run.instances.values().next().unwrap().fired_at, Some(DateTime::UNIX_EPOCH));
        let [transition] = &advanced.transitions[..] else { panic!("one transition") };
        assert_eq!((transition.from, transition.to), (None, Some(AlertState::Firing)));
    }

    #[test]
    fn firing_goes_on_for_as_long_as_the_rule_keeps_it() {
        assert_eq!(Run::of(rule_for(0, 2)).states("x..."), "fffr");
        assert_eq!(Run::of(rule_for(0, 2)).states("x.x..."), "fffffr", "it begins anew when the query holds");
        assert_eq!(Run::of(rule_for(2, 2)).states("x.xxx..."), "p.ppfffr", "only what fires is kept");
    }

    #[test]
    fn a_resolved_alert_stays_for_a_quarter_of_an_hour() {
        let states = Run::of(rule()).states(&format!("x{}", ".".repeat(18)));
        assert_eq!(states, format!("f{}..", "r".repeat(16)));
    }

    #[test]
    fn a_resolved_alert_whose_query_holds_again_starts_over() {
        let mut run = Run::of(rule_for(1, 0));
        assert_eq!(run.states("xx.x"), "pfrp");
        let alert = run.instances.values().next().unwrap();
        assert_eq!((alert.active_at, alert.fired_at), (run.now() - TimeDelta::minutes(1), None));
        assert_eq!((alert.resolved_at, alert.keep_firing_since), (None, None));
        assert_eq!(run.states("x"), "f");
    }

    #[test]
    fn alerts_of_one_rule_go_their_own_ways() {
        let mut run = Run::of(rule_for(1, 0));
        run.holds(&[("a", 1.0)]);
        run.holds(&[("a", 1.0), ("b", 1.0)]);
        let advanced = run.holds(&[("b", 2.0)]);
        let mut changes: Vec<_> = advanced
            .transitions
            .iter()
            .map(|change| (change.labels.value("pod").unwrap(), change.from, change.to))
            .collect();
        changes.sort_unstable();
        let (pending, firing, resolved) =
            (Some(AlertState::Pending), Some(AlertState::Firing), Some(AlertState::Resolved));
        assert_eq!(changes, [("a", firing, resolved), ("b", pending, firing)]);
    }

    #[test]
    fn only_what_has_changed_is_told() {
        let mut run = Run::of(rule());
        assert_eq!(run.holds(&[("a", 1.0)]).changed.len(), 1);
        let same = run.holds(&[("a", 1.0)]);
        assert!(same.changed.is_empty() && same.valued.is_empty() && same.transitions.is_empty());
        let value = run.holds(&[("a", f64::NAN)]);
        assert_eq!((value.changed.len(), value.valued.len()), (0, 1));
        let nan = run.holds(&[("a", f64::NAN)]);
        assert!(nan.valued.is_empty(), "the same NaN is the same value");
        run.terms.rule.version += 1;
        assert_eq!(run.holds(&[("a", f64::NAN)]).changed.len(), 1);
    }

    #[test]
    fn a_pending_alert_that_goes_is_on_record() {
        let mut run = Run::of(rule_for(5, 0));
        run.holds(&[("a", 1.0)]);
        let advanced = run.holds(&[]);
        assert_eq!(
            (advanced.transitions[0].from, advanced.transitions[0].to),
            (Some(AlertState::Pending), None)
        );
        assert_eq!(advanced.gone.len(), 1);
        assert!(run.instances.is_empty());
    }

    #[test]
    fn where_nobody_can_tell_alerts_stay_as_they_are() {
        let mut run = Run::of(rule_for(2, 0));
        run.holds(&[("a", 1.0)]);
        let before = run.instances.clone();
        for _ in 0..5 {
            let advanced = run.advance(Verdict::Unknown(None));
            assert!(advanced.transitions.is_empty() && advanced.changed.is_empty());
        }
        assert_eq!(run.instances, before);
        assert_eq!(run.states("x"), "f", "the time in between counts");
    }

    #[test]
    fn an_alert_can_say_that_nobody_can_tell() {
        let mut run = Run::of(AlertRule { on_no_data: crate::model::Fallback::Alert, ..rule_for(1, 0) });
        run.holds(&[("a", 1.0)]);
        let verdict =
            |run: &Run| run.terms.without_answer(crate::model::RuleHealth::NoData, Default::default);
        for _ in 0..2 {
            let verdict = verdict(&run);
            run.advance(verdict);
        }
        let states: Vec<_> =
            run.instances.values().map(|alert| (alert.labels.value("health"), alert.state)).collect();
        assert!(states.contains(&(Some("no_data"), AlertState::Firing)), "{states:?}");
        assert!(states.contains(&(None, AlertState::Pending)), "{states:?}");
        let advanced = run.holds(&[("a", 1.0)]);
        let resolved = advanced.transitions.iter().find(|change| change.to == Some(AlertState::Resolved));
        assert_eq!(resolved.unwrap().labels.value("health"), Some("no_data"));
    }

    #[test]
    fn time_when_nobody_looked_does_not_count() {
        let minutes = TimeDelta::minutes;
        // Minutes an alert still waits that was pending for two when nobody looked for so many.
        let waits = |hold: u32, away: i64| {
            let mut run = Run::of(rule_for(hold, 0));
            run.states("xxx");
            let last = run.now() - minutes(1);
            let now = last + minutes(away);
            let changed = resume(&mut run.instances, &run.terms.rule, Some(last), now);
            assert_eq!(changed.len(), 1);
            let alert = run.instances.values().next().unwrap();
            (alert.active_at + minutes(hold.into()) - now).num_minutes()
        };
        assert_eq!(waits(30, 40), 28, "it goes on where it was");
        assert_eq!(waits(30, 61), 30, "that is too long to go on");
        assert_eq!(waits(11, 40), 10, "nobody is paged at once");
        assert_eq!(waits(5, 40), 5, "short ones begin anew");
    }

    #[test]
    fn what_is_kept_firing_is_kept_for_longer_by_an_interruption() {
        let mut run = Run::of(rule_for(0, 3));
        run.states("x..");
        let (last, now) = (run.now() - TimeDelta::minutes(1), run.now() + TimeDelta::minutes(30));
        assert_eq!(resume(&mut run.instances, &run.terms.rule, Some(last), now).len(), 1);
        run.minute += 30;
        assert_eq!(run.states("...."), "ffrr", "a minute of three was over");
    }

    #[test]
    fn nothing_is_from_the_future() {
        let mut run = Run::of(rule_for(2, 0));
        run.states("x");
        let mut future = run.instances.clone();
        for alert in future.values_mut() {
            alert.active_at += TimeDelta::days(365);
        }
        std::mem::swap(&mut run.instances, &mut future);
        let now = run.now();
        let changed = resume(&mut run.instances, &run.terms.rule, Some(now + TimeDelta::days(365)), now);
        assert_eq!(changed.len(), 1);
        let mut advanced = run.holds(&[("a", 2.0)]);
        assert_eq!((advanced.changed.len(), advanced.valued.len()), (0, 1));
        advanced.also_changed(changed, &run.instances);
        assert_eq!((advanced.changed.len(), advanced.valued.len()), (1, 0));
        assert_eq!(run.states("xx"), "pf");
        let settled = resume(&mut run.instances, &run.terms.rule, None, now + TimeDelta::hours(1));
        assert!(settled.is_empty());
    }

    #[test]
    fn alerts_that_are_kept_firing_count() {
        let mut run = Run::of(rule_for(0, 2));
        run.states("x");
        let now = run.now();
        assert_eq!(active_after(&run.instances, &[], &run.terms.rule, now), 1);
        run.states(".");
        let count = |minutes| {
            let now = now + TimeDelta::minutes(minutes);
            active_after(&run.instances, &[], &run.terms.rule, now)
        };
        assert_eq!([count(1), count(2)], [1, 0]);
    }

    #[test]
    fn what_was_restored_goes_on_where_it_was() {
        let mut run = Run::of(rule_for(3, 0));
        run.states("xx");
        let stored = run.instances.clone();
        let mut other = Run { instances: stored, minute: 2, terms: run.terms.clone() };
        assert_eq!(other.states("xx"), run.states("xx"));
        assert_eq!(other.instances, run.instances);
    }
}
