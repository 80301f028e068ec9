//! How alert rules stand, what they did, and what they would say now.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::alerts::checked_rule;
use super::rule_groups::groups;
use crate::alerting::{full_query, new_rule};
use crate::error::{Error, Result};
use crate::evaluation::try_rule;
use crate::model::{
    AlertCursor, AlertInstance, AlertInstanceFilter, AlertRule, AlertRuleId, AlertRuleView, AlertState,
    AlertTransition, CreateAlertRequest, Fingerprint, GroupedRule, Invalid, Page, RecordingRuleView,
    RuleGroup, RuleGroupView, RuleStatus, Slice,
};
use crate::promql::QueryError;
use crate::query::PromQuery;
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::alert_transitions::{AlertTransitionStore as _, TransitionFilter};
use crate::store::alerts::AlertStore as _;
use crate::store::recording_rules::RecordingRuleStore as _;
use crate::store::rule_groups::RuleGroupStore as _;
use crate::store::rule_states::RuleStateStore as _;
use crate::store::{Access, AsConnection, Connection, StoreError};

/// Alert rules, newest first, and how they stand.
///
/// # Errors
///
/// Storage failed.
pub async fn query_alert_rule_views(
    conn: &mut impl AsConnection,
    filter: &crate::model::AlertFilter,
    page: &Page,
) -> Result<Slice<AlertRuleView>> {
    let mut connection = conn.as_connection();
    let Slice { items, pagination } = connection.store().alert_rules(filter, page).await?;
    Ok(Slice { items: views(&mut connection, items).await?, pagination })
}

/// The alert rule with this id, and how it stands.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none. Storage failed.
pub async fn alert_rule_view(
    conn: &mut impl AsConnection,
    id: impl Into<AlertRuleId>,
) -> Result<AlertRuleView> {
    let id = id.into();
    let mut connection = conn.as_connection();
    let rule = connection.store().alert_rule(id).await?;
    let rule = rule.ok_or_else(|| Error::not_found("alert rule", id))?;
    let mut views = views(&mut connection, vec![rule]).await?;
    Ok(views.pop().expect("one rule makes one view"))
}

async fn views(connection: &mut Connection<'_>, rules: Vec<AlertRule>) -> Result<Vec<AlertRuleView>> {
    let hour_ago = connection.context().settings.clock.now() - TimeDelta::hours(1);
    let mut store = connection.store();
    let ids: Vec<_> = rules.iter().map(|rule| rule.id).collect();
    let states = store.rule_states(&ids).await?;
    let mut states: HashMap<_, _> = states.into_iter().map(|state| (state.rule_id, state)).collect();
    let counts = store.transition_counts(&ids, hour_ago).await?;
    let filter = AlertInstanceFilter { rules: Some(ids), ..AlertInstanceFilter::default() };
    let mut alerts: HashMap<AlertRuleId, Vec<AlertInstance>> = HashMap::new();
    for alert in store.alert_instances(&filter).await? {
        alerts.entry(alert.rule_id).or_default().push(alert);
    }
    let view = |rule: AlertRule| {
        let alerts = alerts.remove(&rule.id).unwrap_or_default();
        let transitions = counts.get(&rule.id).copied().unwrap_or_default();
        let status = RuleStatus::new(states.remove(&rule.id), alerts, transitions);
        AlertRuleView { rule, status }
    };
    Ok(rules.into_iter().map(view).collect())
}

/// Alerts that are pending or firing; only in one of these states, if any are given. By rule.
///
/// # Errors
///
/// Storage failed.
pub async fn active_alerts(
    conn: &mut impl AsConnection,
    states: &[AlertState],
) -> Result<Vec<AlertInstance>> {
    let filter = AlertInstanceFilter { states: active(states), ..AlertInstanceFilter::default() };
    Ok(conn.as_connection().store().alert_instances(&filter).await?)
}

/// A page of the same, of alerts after one that was seen. The page's own position counts for nothing here.
///
/// # Errors
///
/// Storage failed.
pub async fn query_active_alerts(
    conn: &mut impl AsConnection,
    states: &[AlertState],
    after: Option<AlertCursor>,
    page: &Page,
) -> Result<Slice<AlertInstance>> {
    let page = Page { after: None, ..page.clone() };
    Ok(conn.as_connection().store().alerts_in(&active(states), after, &page).await?)
}

fn active(states: &[AlertState]) -> Vec<AlertState> {
    match states {
        [] => vec![AlertState::Pending, AlertState::Firing],
        states => states.to_vec(),
    }
}

/// Which changes of a rule's alerts to return.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct HistoryFilter {
    /// Only of this alert.
    pub fingerprint: Option<Fingerprint>,
    /// At or after this time.
    pub start_time: Option<DateTime<Utc>>,
    /// Before this time.
    pub end_time: Option<DateTime<Utc>>,
}

/// Every change of state of a rule's alerts, newest first. It stays when the rule is gone.
///
/// # Errors
///
/// [`Error::NotFound`] if there neither is nor was such a rule. Storage failed.
pub async fn alert_history(
    conn: &mut impl AsConnection,
    id: impl Into<AlertRuleId>,
    filter: &HistoryFilter,
    page: &Page,
) -> Result<Slice<AlertTransition>> {
    let id = id.into();
    let mut connection = conn.as_connection();
    let mut store = connection.store();
    let HistoryFilter { fingerprint, start_time, end_time } = *filter;
    let filter = TransitionFilter { rule: id, fingerprint, start_time, end_time };
    let history = store.transitions(&filter, page).await?;
    if history.items.is_empty() && store.alert_rule(id).await?.is_none() {
        let ever = TransitionFilter { rule: id, fingerprint: None, start_time: None, end_time: None };
        if store.transitions(&ever, &Page::first(1)).await?.items.is_empty() {
            return Err(Error::not_found("alert rule", id));
        }
    }
    Ok(history)
}

/// All rules that are evaluated, by group and in their order there, and how they stand.
///
/// # Errors
///
/// Storage failed.
pub async fn evaluated_rules(conn: &mut impl AsConnection) -> Result<Vec<(RuleGroupView, Vec<GroupedRule>)>> {
    let mut connection = conn.as_connection();
    let groups = groups(&mut connection).await?;
    let alerting = connection.store().enabled_alert_rules().await?;
    let alerting = views(&mut connection, alerting).await?;
    let mut store = connection.store();
    let recording = store.enabled_recording_rules().await?;
    let ids: Vec<_> = recording.iter().map(|rule| rule.id).collect();
    let states = store.rule_states(&ids).await?;
    let mut states: HashMap<_, _> = states.into_iter().map(|state| (state.rule_id, state)).collect();
    let mut by_group: HashMap<String, Vec<_>> = HashMap::new();
    for view in alerting {
        let place = (view.rule.position, view.rule.created_at, view.rule.id);
        let (group, query) = (view.rule.group.clone(), full_query(&view.rule));
        by_group.entry(group).or_default().push((place, GroupedRule::Alerting(Box::new(view), query)));
    }
    for rule in recording {
        let place = (rule.position, rule.created_at, rule.id);
        let state = states.remove(&rule.id);
        let (group, view) = (rule.group.clone(), RecordingRuleView::new(rule, state));
        by_group.entry(group).or_default().push((place, GroupedRule::Recording(Box::new(view))));
    }
    let with_rules = |group: RuleGroupView| {
        let mut rules = by_group.remove(&group.group.name)?;
        rules.sort_by_key(|(place, _)| *place);
        Some((group, rules.into_iter().map(|(_, rule)| rule).collect()))
    };
    Ok(groups.into_iter().filter_map(with_rules).collect())
}

/// What a rule would say now that is not stored. Nothing is stored of it.
///
/// # Errors
///
/// [`Error::Invalid`] if a field breaks a rule or the query cannot be answered. Storage failed.
pub async fn test_alert_rule(promql: &PromQuery, request: CreateAlertRequest) -> Result<RuleStatus> {
    let rule = checked_rule(promql.pool().context(), new_rule(request, None, promql.now()), None)?;
    let group = group_of(promql, &rule).await?;
    let trial = try_rule(promql, rule, &group, promql.now()).await.map_err(failed)?;
    let mut status = RuleStatus::new(None, trial.alerts, 0);
    (status.health, status.last_error, status.last_evaluation) =
        (trial.health, trial.error, Some(promql.now()));
    Ok(status)
}

pub(super) async fn group_of(promql: &PromQuery, rule: &AlertRule) -> Result<RuleGroup> {
    let mut connection = promql.pool().acquire(Access::Read).await?;
    let group = connection.as_connection().store().rule_group(&rule.group).await?;
    Ok(group.unwrap_or_else(|| RuleGroup { name: rule.group.clone(), ..RuleGroup::default() }))
}

/// A query that cannot be answered is the fault of who asks, unless storage failed.
pub(super) fn failed(error: QueryError) -> Error {
    match error {
        QueryError::Source(source) => match source.downcast::<StoreError>() {
            Ok(error) => Error::from(*error),
            Err(other) => Invalid::field("query", other.to_string()).into(),
        },
        other => Invalid::field("query", other.to_string()).into(),
    }
}
