//! Evaluates one rule at one instant.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::loaded::{LoadedGroup, LoadedRule, RuleKind};
use crate::alerting::{Advanced, Instances, Terms, Verdict, advance, recorded_series};
use crate::model::{AlertInstance, AlertRule, Labels, RuleHealth, RuleState, Series};
use crate::promql::{Columns, QueryResult};
use crate::query::PromQuery;

/// What came of a rule.
#[derive(Debug)]
pub(super) struct Outcome {
    pub state: RuleState,
    pub result: Outcomes,
}

#[derive(Debug)]
pub(super) enum Outcomes {
    Alerts(Advanced),
    /// What is recorded; `None` if the rule could not be evaluated.
    Series(Option<Vec<(Series, f64)>>),
}

/// Evaluates a rule, and takes its alerts to what they are at `now`.
pub(super) async fn evaluate_rule(
    promql: &PromQuery,
    group: &LoadedGroup,
    rule: &LoadedRule,
    alerts: &mut Instances,
    now: DateTime<Utc>,
    end: Instant,
) -> Outcome {
    let started = Instant::now();
    let asking = promql.columns_at(rule.query(), now - group.query_offset);
    let answer = match tokio::time::timeout_at(end, asking).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("the group had no time left for it".to_owned()),
    };
    let (result, health) = match &rule.kind {
        RuleKind::Alerting(terms) => {
            let (verdict, health) = verdict(terms, answer, group.limit);
            (Outcomes::Alerts(advance(alerts, verdict, &terms.rule, now)), health)
        }
        RuleKind::Recording(recording, labels) => {
            let recorded = answer.and_then(|columns| {
                let recorded = recorded_series(recording, labels, columns.at(0))?;
                within(group.limit, recorded.len(), "series")?;
                let health = if columns.has_no_data(0) { RuleHealth::NoData } else { RuleHealth::Ok };
                Ok((recorded, health))
            });
            match recorded {
                Ok((recorded, health)) => (Outcomes::Series(Some(recorded)), Ok(health)),
                Err(error) => (Outcomes::Series(None), Err(error)),
            }
        }
    };
    let (health, last_error) = match health {
        Ok(health) => (health, None),
        Err(error) => (RuleHealth::Error, Some(error)),
    };
    let evaluation_seconds = started.elapsed().as_secs_f64();
    let state =
        RuleState { rule_id: rule.id(), health, last_evaluation: now, evaluation_seconds, last_error };
    Outcome { state, result }
}

/// What an answer says of a rule's alerts, and of the rule.
fn verdict(
    terms: &Terms,
    answer: Result<Columns, String>,
    limit: usize,
) -> (Verdict, Result<RuleHealth, String>) {
    let judged = answer.and_then(|columns| {
        if columns.has_no_data(0) {
            return Ok(None);
        }
        let candidates = terms.candidates(columns.at(0)).map_err(|error| error.to_string())?;
        within(limit, candidates.len(), "alerts")?;
        Ok(Some(candidates))
    });
    match judged {
        Ok(Some(candidates)) => (Verdict::Holds(candidates), Ok(RuleHealth::Ok)),
        Ok(None) => (terms.without_answer(RuleHealth::NoData), Ok(RuleHealth::NoData)),
        Err(error) => (terms.without_answer(RuleHealth::Error), Err(error)),
    }
}

/// In Prometheus's words.
fn within(limit: usize, count: usize, of: &str) -> Result<(), String> {
    match limit > 0 && count > limit {
        true => Err(format!("exceeded limit of {limit} with {count} {of}")),
        false => Ok(()),
    }
}

/// What a rule would do if it were evaluated once, with no alerts yet.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub health: RuleHealth,
    pub error: Option<String>,
    pub alerts: Vec<AlertInstance>,
}

/// Evaluates a rule that is not stored. Nothing is stored of it.
///
/// # Errors
///
/// The query could not be asked at all.
pub(crate) async fn try_rule(
    promql: &PromQuery,
    rule: AlertRule,
    group_labels: &Labels,
    now: DateTime<Utc>,
    query_offset: TimeDelta,
) -> QueryResult<Trial> {
    promql.learn().await?;
    let answer = promql.columns_at(&rule.query, now - query_offset).await?;
    let terms = Terms::new(rule, group_labels);
    let (verdict, health) = verdict(&terms, Ok(answer), 0);
    let mut alerts = Instances::new();
    advance(&mut alerts, verdict, &terms.rule, now);
    let (health, error) = match health {
        Ok(health) => (health, None),
        Err(error) => (RuleHealth::Error, Some(error)),
    };
    Ok(Trial { health, error, alerts: alerts.into_values().collect() })
}
