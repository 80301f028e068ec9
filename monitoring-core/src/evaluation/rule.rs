//! Evaluates one rule at one instant.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::candidates::candidates;
use super::loaded::{LoadedGroup, LoadedRule, RuleKind};
use crate::alerting::{
    Advanced, Candidate, Instances, Terms, TextSources, Verdict, active_after, advance, recorded_series,
};
use crate::model::{AlertInstance, AlertRule, RuleGroup, RuleHealth, RuleState, Series};
use crate::promql::{Columns, QueryError, QueryResult};
use crate::query::PromQuery;

pub(super) const NO_TIME_LEFT: &str = "the rule had no time left for it";

/// Whom rules ask.
pub(super) trait Asked: Sync {
    /// What a query yields at one instant.
    fn columns_at(
        &self,
        query: &str,
        time: DateTime<Utc>,
    ) -> impl Future<Output = QueryResult<Columns>> + Send;

    /// What texts may speak of in an evaluation at `now`, before anything is asked for them.
    fn sources(&self, now: DateTime<Utc>) -> TextSources;
}

impl Asked for PromQuery {
    async fn columns_at(&self, query: &str, time: DateTime<Utc>) -> QueryResult<Columns> {
        self.columns_at(query, time).await
    }

    fn sources(&self, now: DateTime<Utc>) -> TextSources {
        let settings = &self.pool().context().settings;
        TextSources {
            now,
            external_labels: settings.external_labels.clone(),
            external_url: settings.external_url.clone(),
            ..TextSources::default()
        }
    }
}

/// Why no query can be answered, and what texts may speak of all the same.
#[derive(Debug)]
pub(super) struct Unanswerable {
    pub why: String,
    pub sources: TextSources,
}

impl Asked for Unanswerable {
    async fn columns_at(&self, _query: &str, _time: DateTime<Utc>) -> QueryResult<Columns> {
        Err(QueryError::execution(self.why.as_str()))
    }

    fn sources(&self, now: DateTime<Utc>) -> TextSources {
        TextSources { now, ..self.sources.clone() }
    }
}

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
    asked: &impl Asked,
    group: &LoadedGroup,
    rule: &LoadedRule,
    alerts: &mut Instances,
    now: DateTime<Utc>,
    end: Instant,
) -> Outcome {
    let started = Instant::now();
    let time = now - group.query_offset;
    let answer = in_time(asked.columns_at(rule.query(), time), end).await;
    let (result, health) = match &rule.kind {
        RuleKind::Alerting(terms) => {
            let (verdict, health) =
                in_time_verdict(asked, terms, answer, (&*alerts, group.limit), now, end).await;
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
    let (health, last_error) = told(health);
    let evaluation_seconds = started.elapsed().as_secs_f64();
    let state =
        RuleState { rule_id: rule.id(), health, last_evaluation: now, evaluation_seconds, last_error };
    Outcome { state, result }
}

pub(super) async fn in_time(
    asking: impl Future<Output = QueryResult<Columns>>,
    end: Instant,
) -> Result<Columns, String> {
    match tokio::time::timeout_at(end, asking).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(NO_TIME_LEFT.to_owned()),
    }
}

fn told(health: Result<RuleHealth, String>) -> (RuleHealth, Option<String>) {
    match health {
        Ok(health) => (health, None),
        Err(error) => (RuleHealth::Error, Some(error)),
    }
}

/// What an evaluation says of a rule's alerts, and of the rule.
type Found = (Verdict, Result<RuleHealth, String>);

/// What an answer says to the alerts there are, of which there may be so many. Asks what the texts of the rule
/// ask, as of `now`.
async fn in_time_verdict(
    asked: &impl Asked,
    terms: &Terms,
    answer: Result<Columns, String>,
    (alerts, limit): (&Instances, usize),
    now: DateTime<Utc>,
    end: Instant,
) -> Found {
    let columns = match answer {
        Ok(columns) => columns,
        Err(error) => return failed(asked, terms, error, now),
    };
    if columns.has_no_data(0) {
        let verdict = terms.without_answer(RuleHealth::NoData, || asked.sources(now));
        return (verdict, Ok(RuleHealth::NoData));
    }
    let found = candidates(asked, terms, columns.at(0), &mut asked.sources(now), now, end).await;
    match found.and_then(|found| limited(found, &terms.rule, alerts, limit, now)) {
        Ok(candidates) => (Verdict::Holds(candidates), Ok(RuleHealth::Ok)),
        Err(error) => failed(asked, terms, error, now),
    }
}

fn failed(asked: &impl Asked, terms: &Terms, error: String, now: DateTime<Utc>) -> Found {
    (terms.without_answer(RuleHealth::Error, || asked.sources(now)), Err(error))
}

/// Where there would be more alerts than there may be, nobody can tell. Prometheus forgets all alerts of
/// the rule then; here `on_error` decides.
pub(super) fn limited(
    candidates: Vec<Candidate>,
    rule: &AlertRule,
    alerts: &Instances,
    limit: usize,
    now: DateTime<Utc>,
) -> Result<Vec<Candidate>, String> {
    if limit > 0 {
        within(limit, active_after(alerts, &candidates, rule, now), "alerts")?;
    }
    Ok(candidates)
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

/// Evaluates a rule of a group that is not stored. Nothing is stored of it.
///
/// # Errors
///
/// The query could not be asked at all.
pub(crate) async fn try_rule(
    promql: &PromQuery,
    rule: AlertRule,
    group: &RuleGroup,
    now: DateTime<Utc>,
) -> QueryResult<Trial> {
    promql.learn().await?;
    let query_offset = TimeDelta::seconds(group.query_offset_seconds.into());
    let answer = promql.columns_at(&rule.query, now - query_offset).await?;
    let terms = Terms::new(rule, &group.labels);
    let (mut alerts, limit) = (Instances::new(), group.limit as usize);
    let end = Instant::now() + promql.limits().timeout;
    let (verdict, health) = in_time_verdict(promql, &terms, Ok(answer), (&alerts, limit), now, end).await;
    advance(&mut alerts, verdict, &terms.rule, now);
    let (health, error) = told(health);
    Ok(Trial { health, error, alerts: alerts.into_values().collect() })
}
