//! The rules as they are evaluated, read once for every change of them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::TimeDelta;

use super::progress::Progress;
use super::schedule::interval_of;
use crate::alerting::rule_file::FoundRule;
use crate::alerting::{Instances, Terms};
use crate::model::{AlertInstanceFilter, AlertRuleId, RecordingRule, RuleGroup};
use crate::promql::{Matcher, NAME, selections};
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::alerts::AlertStore as _;
use crate::store::recording_rules::RecordingRuleStore as _;
use crate::store::rule_groups::{GroupState, RuleGroupStore as _};
use crate::store::{Access, Pool, StoreError};

/// Stands for the group of alerts whose rules are gone. No group has this name.
pub(super) const GONE: &str = "";

/// A group with its rules, in the order of their evaluation.
#[derive(Debug)]
pub(crate) struct LoadedGroup {
    pub name: String,
    pub interval: TimeDelta,
    pub query_offset: TimeDelta,
    /// Alerts or series one rule may have.
    pub limit: usize,
    pub rules: Vec<LoadedRule>,
}

/// A rule that is evaluated.
#[derive(Debug)]
pub(crate) struct LoadedRule {
    pub kind: RuleKind,
    /// The metrics it asks for; `None` if it may be any.
    reads: Option<Vec<String>>,
}

#[derive(Debug)]
pub(crate) enum RuleKind {
    Alerting(Box<Terms>),
    Recording(Box<RecordingRule>, crate::model::RuleLabels),
}

impl LoadedGroup {
    /// A group as a file has it. It is evaluated when somebody says so.
    pub(super) fn of(settings: &RuleGroup, rules: Vec<FoundRule>) -> Self {
        let rules = rules.into_iter().map(|rule| match rule {
            FoundRule::Alert(rule) => LoadedRule::alerting(Terms::new(rule, &settings.labels)),
            FoundRule::Recording(rule) => LoadedRule::recording(rule, settings),
        });
        Self {
            name: settings.name.clone(),
            interval: TimeDelta::minutes(1),
            query_offset: TimeDelta::seconds(settings.query_offset_seconds.into()),
            limit: settings.limit as usize,
            rules: rules.collect(),
        }
    }

    /// The one of alerts whose rules are gone.
    pub(super) fn gone() -> Self {
        let (interval, query_offset) = (TimeDelta::minutes(1), TimeDelta::zero());
        Self { name: GONE.to_owned(), interval, query_offset, limit: 0, rules: Vec::new() }
    }
}

impl LoadedRule {
    fn alerting(terms: Terms) -> Self {
        Self { reads: reads(&terms.rule.query), kind: RuleKind::Alerting(Box::new(terms)) }
    }

    fn recording(rule: RecordingRule, group: &RuleGroup) -> Self {
        Self { reads: reads(&rule.query), kind: RuleKind::Recording(Box::new(rule), group.labels.clone()) }
    }

    pub(super) fn id(&self) -> AlertRuleId {
        match &self.kind {
            RuleKind::Alerting(terms) => terms.rule.id,
            RuleKind::Recording(rule, _) => rule.id,
        }
    }

    pub(super) fn version(&self) -> i64 {
        match &self.kind {
            RuleKind::Alerting(terms) => terms.rule.version,
            RuleKind::Recording(rule, _) => rule.version,
        }
    }

    pub(super) fn query(&self) -> &str {
        match &self.kind {
            RuleKind::Alerting(terms) => &terms.rule.query,
            RuleKind::Recording(rule, _) => &rule.query,
        }
    }

    /// Whether it may ask for one of these metrics.
    pub(super) fn may_read<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        names.any(|name| self.reads.as_ref().is_none_or(|reads| reads.iter().any(|read| read == name)))
    }

    fn place(&self) -> (u32, chrono::DateTime<chrono::Utc>, AlertRuleId) {
        match &self.kind {
            RuleKind::Alerting(terms) => (terms.rule.position, terms.rule.created_at, terms.rule.id),
            RuleKind::Recording(rule, _) => (rule.position, rule.created_at, rule.id),
        }
    }
}

/// The names a query selects by, if it selects by names alone.
fn reads(query: &str) -> Option<Vec<String>> {
    let selections = selections(query).ok()?;
    selections.iter().map(|matchers| name(matchers)).collect()
}

/// The metrics a query asks for by name.
pub(crate) fn metrics_of(query: &str) -> Vec<String> {
    let selections = selections(query).unwrap_or_default();
    selections.iter().filter_map(|matchers| name(matchers)).collect()
}

fn name(matchers: &[Matcher]) -> Option<String> {
    let mut of_name = matchers.iter().filter(|matcher| matcher.name == NAME);
    of_name.find_map(Matcher::demanded).map(str::to_owned)
}

/// All groups and how far they have come, read as of one moment.
#[derive(Debug)]
pub(super) struct Loaded {
    pub revision: i64,
    pub groups: Vec<LoadedGroup>,
    pub progress: HashMap<String, Progress>,
}

/// Which revision the rules are at.
pub(super) async fn rule_revision(pool: &Pool) -> Result<i64, StoreError> {
    let mut work = pool.begin_work(Access::Read).await?;
    let revision = work.connection().store().rule_revision().await?;
    work.done();
    Ok(revision)
}

/// Reads everything.
pub(super) async fn load(pool: &Pool, usual_interval: Duration) -> Result<Loaded, StoreError> {
    let mut work = pool.begin_work(Access::Read).await?;
    let mut connection = work.connection();
    let mut snapshot = connection.begin_snapshot().await?;
    let mut store = snapshot.store();
    let revision = store.rule_revision().await?;
    let settings = store.rule_groups().await?;
    let alerting = store.enabled_alert_rules().await?;
    let recording = store.enabled_recording_rules().await?;
    let states = store.group_states().await?;
    let alerts = store.alert_instances(&AlertInstanceFilter::default()).await?;
    let leaving_open = store.rules_leaving_open().await?;
    drop(snapshot);
    work.done();

    let by_name: HashMap<_, _> = settings.iter().map(|group| (group.name.as_str(), group)).collect();
    let usual = RuleGroup::default();
    let group_of = |name: &str| by_name.get(name).copied().unwrap_or(&usual);
    let mut rules: BTreeMap<String, Vec<LoadedRule>> = BTreeMap::new();
    for rule in alerting {
        let group = rule.group.clone();
        let loaded = LoadedRule::alerting(Terms::new(rule, &group_of(&group).labels));
        rules.entry(group).or_default().push(loaded);
    }
    for rule in recording {
        let group = rule.group.clone();
        let loaded = LoadedRule::recording(rule, group_of(&group));
        rules.entry(group).or_default().push(loaded);
    }
    let group = |(name, mut rules): (String, Vec<LoadedRule>)| {
        rules.sort_by_key(LoadedRule::place);
        let settings = group_of(&name);
        LoadedGroup {
            interval: interval_of(settings.interval_seconds, usual_interval),
            query_offset: TimeDelta::seconds(settings.query_offset_seconds.into()),
            limit: settings.limit as usize,
            rules,
            name,
        }
    };
    let groups: Vec<_> = rules.into_iter().map(group).collect();

    let mut by_rule: HashMap<AlertRuleId, Instances> = HashMap::new();
    for alert in alerts {
        by_rule.entry(alert.rule_id).or_default().insert(alert.fingerprint, alert);
    }
    let mut states: HashMap<String, GroupState> = states.into_iter().collect();
    let mut progress = HashMap::new();
    for group in &groups {
        let state = states.remove(&group.name).unwrap_or_default();
        let of_rule = |rule: &LoadedRule| Some((rule.id(), by_rule.remove(&rule.id())?));
        let alerts = group.rules.iter().filter_map(of_rule).collect();
        progress.insert(group.name.clone(), Progress { state, alerts, ..Progress::default() });
    }
    let gone = Progress { state: states.remove(GONE).unwrap_or_default(), alerts: by_rule, leaving_open };
    progress.insert(GONE.to_owned(), gone);
    Ok(Loaded { revision, groups, progress })
}
