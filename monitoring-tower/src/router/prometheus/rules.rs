//! Rules and alerts, and how they stand.

use std::collections::HashSet;

use axum::extract::State;
use chrono::{DateTime, SecondsFormat, Utc};
use monitoring_core::{
    AlertInstance, AlertRuleView, AlertState, GroupedRule, Labels, RecordingRuleView, RuleGroupView,
    RuleHealth, RuleLabels, Selector, services,
};
use serde_json::{Value, json};

use super::answer::{PromAnswer, PromError};
use super::form::Form;
use crate::router::state::RouterState;

/// What stands for the file that rules come from.
const FILE: &str = "monitoring";
/// What Go shows of a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The rules that are evaluated, by group.
pub(super) async fn rules(State(state): State<RouterState>, form: Form) -> PromAnswer {
    let (filter, part) = (Filter::of(&form)?, Part::of(&form)?);
    let mut connection = state.lend().await?;
    let groups = services::evaluated_rules(&mut connection).await?;
    let first = part.first(groups.iter().map(|(view, _)| view.group.name.as_str()))?;
    let shown = |(view, rules): &(RuleGroupView, Vec<GroupedRule>)| filter.group(view, rules);
    let mut groups = groups[first..].iter().filter_map(shown);
    let mut answer = json!({"groups": groups.by_ref().take(part.limit).collect::<Vec<_>>()});
    if let Some(next) = groups.next() {
        answer["groupNextToken"] = next["name"].clone();
    }
    Ok(answer.into())
}

/// Alerts that are pending or firing.
pub(super) async fn alerts(State(state): State<RouterState>) -> PromAnswer {
    let mut connection = state.lend().await?;
    let alerts = services::active_alerts(&mut connection, &[]).await?;
    let alerts: Vec<_> = alerts.iter().map(alert).collect();
    Ok(json!({"alerts": alerts}).into())
}

/// How many groups are asked for, from which on: that of the answer before named it.
struct Part {
    limit: usize,
    token: Option<String>,
}

impl Part {
    fn of(form: &Form) -> Result<Self, PromError> {
        let limit = form.whole_number("group_limit");
        let limit = limit.map_err(|why| PromError::parameter("group_limit", why))?;
        let token = form.text("group_next_token").map(str::to_owned);
        match limit.map(usize::try_from) {
            None if token.is_some() => {
                Err(PromError::parameter("group_next_token", "group_limit must be given beside it"))
            }
            None => Ok(Self { limit: usize::MAX, token }),
            Some(Ok(limit @ 1..)) => Ok(Self { limit, token }),
            Some(_) => Err(PromError::parameter("group_limit", "group_limit must be greater than 0")),
        }
    }

    /// The place of its first group.
    fn first<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> Result<usize, PromError> {
        let Some(token) = &self.token else { return Ok(0) };
        names.position(|name| name == token).ok_or_else(|| {
            let why = format!("invalid group_next_token '{token}'. were rule groups changed?");
            PromError::parameter("group_next_token", why)
        })
    }
}

/// Which rules are asked for.
struct Filter {
    is_wanted: [bool; 2],
    names: HashSet<String>,
    groups: HashSet<String>,
    files: HashSet<String>,
    selectors: Vec<Selector>,
    with_alerts: bool,
}

impl Filter {
    fn of(form: &Form) -> Result<Self, PromError> {
        let is_wanted = match form.text("type") {
            None => [true, true],
            Some("alert") => [true, false],
            Some("record") => [false, true],
            Some(other) => {
                return Err(PromError::parameter("type", format!("not supported value {other:?}")));
            }
        };
        let with_alerts = match form.text("exclude_alerts") {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => true,
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => false,
            Some(other) => {
                let why = format!("strconv.ParseBool: parsing {other:?}: invalid syntax");
                return Err(PromError::parameter("exclude_alerts", why));
            }
        };
        let selectors: Result<Vec<Selector>, _> =
            form.all("match[]").iter().map(|text| text.parse()).collect();
        Ok(Self {
            is_wanted,
            names: form.all("rule_name[]").into_iter().collect(),
            groups: form.all("rule_group[]").into_iter().collect(),
            files: form.all("file[]").into_iter().collect(),
            selectors: selectors.map_err(PromError::about_match)?,
            with_alerts,
        })
    }

    fn group(&self, view: &RuleGroupView, rules: &[GroupedRule]) -> Option<Value> {
        let is_among = |names: &HashSet<String>, name: &str| names.is_empty() || names.contains(name);
        if !is_among(&self.groups, &view.group.name) || !is_among(&self.files, FILE) {
            return None;
        }
        let rule = |rule: &GroupedRule| {
            let labels = labels(rule, &view.group.labels);
            let borne: Labels = labels.iter().collect();
            let (is_wanted, name) = match rule {
                GroupedRule::Alerting(view, _) => (self.is_wanted[0], &view.rule.name),
                GroupedRule::Recording(view) => (self.is_wanted[1], &view.rule.record),
            };
            let matches = self.selectors.is_empty() || self.selectors.iter().any(|one| one.accepts(&borne));
            (is_wanted && is_among(&self.names, name) && matches).then(|| match rule {
                GroupedRule::Alerting(view, query) => alerting(view, query, &labels, self.with_alerts),
                GroupedRule::Recording(view) => recording(view, &labels),
            })
        };
        let rules: Vec<_> = rules.iter().filter_map(rule).collect();
        (!rules.is_empty()).then(|| {
            json!({
                "name": view.group.name,
                "file": FILE,
                "rules": rules,
                "interval": view.effective_interval,
                "limit": view.group.limit,
                "evaluationTime": view.evaluation_seconds,
                "lastEvaluation": time(view.last_evaluation),
            })
        })
    }
}

/// The labels a rule gives what comes of it.
fn labels(rule: &GroupedRule, of_group: &RuleLabels) -> RuleLabels {
    match rule {
        GroupedRule::Alerting(view, _) => {
            let mut labels = view.rule.labels.over(of_group);
            if view.rule.severity_label && labels.value("severity").is_none() {
                labels.set("severity", view.rule.severity.as_str());
            }
            labels
        }
        GroupedRule::Recording(view) => view.rule.labels.over(of_group),
    }
}

fn alerting(view: &AlertRuleView, query: &str, labels: &RuleLabels, with_alerts: bool) -> Value {
    let AlertRuleView { rule, status } = view;
    let active = status.alerts.iter().filter(|alert| alert.state != AlertState::Resolved);
    let mut value = json!({
        "state": status.state.map_or("inactive", AlertState::as_str),
        "name": rule.name,
        "query": query,
        "duration": rule.for_seconds,
        "keepFiringFor": rule.keep_firing_for_seconds,
        "labels": labels,
        "annotations": rule.annotations,
        "alerts": active.filter(|_| with_alerts).map(alert).collect::<Vec<_>>(),
        "health": health(status.health),
        "evaluationTime": status.evaluation_seconds,
        "lastEvaluation": time(status.last_evaluation),
        "type": "alerting",
    });
    if let Some(error) = &status.last_error {
        value["lastError"] = json!(error);
    }
    value
}

fn recording(view: &RecordingRuleView, labels: &RuleLabels) -> Value {
    let mut value = json!({
        "name": view.rule.record,
        "query": view.rule.query,
        "health": health(view.health),
        "evaluationTime": view.evaluation_seconds,
        "lastEvaluation": time(view.last_evaluation),
        "type": "recording",
    });
    if !labels.is_empty() {
        value["labels"] = json!(labels);
    }
    if let Some(error) = &view.last_error {
        value["lastError"] = json!(error);
    }
    value
}

fn alert(alert: &AlertInstance) -> Value {
    let mut value = json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "state": alert.state,
        "activeAt": time(Some(alert.active_at)),
        "value": scientific(alert.value),
    });
    if let Some(since) = alert.keep_firing_since {
        value["keepFiringSince"] = json!(time(Some(since)));
    }
    value
}

/// Prometheus does not tell a rule without data from one that is well.
const fn health(health: RuleHealth) -> &'static str {
    match health {
        RuleHealth::Unknown => "unknown",
        RuleHealth::Ok | RuleHealth::NoData => "ok",
        RuleHealth::Error => "err",
    }
}

fn time(time: Option<DateTime<Utc>>) -> String {
    time.map_or(NEVER.to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// As Go writes it with `%e` and as few digits as it needs.
fn scientific(value: f64) -> String {
    if !value.is_finite() {
        return monitoring_core::format_value(value);
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_go_writes_them() {
        for (value, text) in [
            (1.0, "1e+00"),
            (0.0, "0e+00"),
            (-12.5, "-1.25e+01"),
            (0.001, "1e-03"),
            (1e100, "1e+100"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(scientific(value), text);
        }
    }
}
