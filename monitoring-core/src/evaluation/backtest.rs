//! Evaluates a rule over what is stored: the query once for many instants, then the same steps as live.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::backtest_lead::{LEAD_MAX, MayBeKept, lead};
use super::backtest_report::{alerts, told};
use super::candidates::candidates;
use super::rule::{Asked as _, limited};
use super::schedule::at_millis;
use crate::alerting::routing::Audience;
use crate::alerting::{Candidate, Instances, Terms, TextSources, Verdict, advance, without_name};
use crate::model::{
    AlertRule, AlertState, AlertTransition, BacktestReport, Fingerprint, Labels, RuleHealth, RuleLabels,
};
use crate::promql::{Columns, QueryError, QueryResult, depends_on_range};
use crate::query::PromQuery;

/// Steps asked for at once.
const WINDOW: i64 = 10_000;
/// Steps of one backtest: a year of minutes, and some.
pub(crate) const STEPS_MAX: i64 = 600_000;
/// Queries asked. Where some fail, they are asked again for fewer steps, to find the ones at fault.
const QUERIES_MAX: usize = 1_000;
/// Rows of steps that are gone through before others have a turn.
const LOOKS_AT_ONCE: usize = 10_000;
/// Changes of state in one answer.
const TRANSITIONS_MAX: usize = 50_000;

/// What is to be evaluated.
#[derive(Debug)]
pub(crate) struct Backtest {
    pub rule: AlertRule,
    pub group_labels: RuleLabels,
    pub query_offset: TimeDelta,
    /// Alerts the rule may have; any number, if 0.
    pub limit: usize,
    /// The first instant.
    pub start: DateTime<Utc>,
    /// No instant is later.
    pub end: DateTime<Utc>,
    /// Between two instants; at least a millisecond.
    pub step: TimeDelta,
    /// Who would be told.
    pub audience: Option<Audience>,
}

/// Evaluates a rule at every step. It begins before the start, for as long as the rule needs to fire or
/// to go on firing, so that alerts are at the start what they would have been.
///
/// # Errors
///
/// The query makes no sense or takes too long, storage failed, or too much would come of it.
pub(crate) async fn backtest(promql: &PromQuery, request: Backtest) -> QueryResult<BacktestReport> {
    promql.learn().await?;
    let mut run = Run::new(promql, request);
    run.approach().await?;
    run.between(0, run.last_step()).await?;
    run.report().await
}

struct Run<'q> {
    promql: &'q PromQuery,
    terms: Terms,
    request: Backtest,
    /// How long before its start it begins.
    lead: TimeDelta,
    may_be_kept: MayBeKept,
    alerts: Instances,
    /// Those before the start too.
    transitions: Vec<AlertTransition>,
    evaluations_without_data: u64,
    evaluations_failed: u64,
    first_error: Option<String>,
    /// The states at the start.
    at_start: Vec<(Fingerprint, Labels, AlertState)>,
    queries: usize,
}

impl<'q> Run<'q> {
    fn new(promql: &'q PromQuery, request: Backtest) -> Self {
        // Texts for people are read by nobody here.
        let rule = AlertRule { annotations: Labels::new(), ..request.rule.clone() };
        Self {
            promql,
            lead: lead(&rule, request.step),
            may_be_kept: MayBeKept::default(),
            terms: Terms::new(rule, &request.group_labels),
            request,
            alerts: Instances::new(),
            transitions: Vec::new(),
            evaluations_without_data: 0,
            evaluations_failed: 0,
            first_error: None,
            at_start: Vec::new(),
            queries: 0,
        }
    }

    /// Steps are counted from the start; those before it are negative.
    fn first_step(&self) -> i64 {
        // One step at least: what holds at the first has held before, unless it begins there.
        -(self.lead.num_milliseconds() / self.step() + 1)
    }

    fn last_step(&self) -> i64 {
        (self.request.end - self.request.start).num_milliseconds() / self.step()
    }

    fn step(&self) -> i64 {
        self.request.step.num_milliseconds().max(1)
    }

    fn time(&self, step: i64) -> DateTime<Utc> {
        at_millis(self.request.start.timestamp_millis() + step * self.step())
    }

    /// Goes through what was before the start: from longer before, as long as an alert may fire since then.
    async fn approach(&mut self) -> QueryResult<()> {
        loop {
            let first = self.first_step();
            self.may_be_kept = MayBeKept::new(&self.terms.rule, first, self.step());
            self.between(first, -1).await?;
            let longer = (self.lead * 2).min(LEAD_MAX);
            let steps = (self.request.end - self.request.start + longer).num_milliseconds() / self.step();
            let can_be_longer = longer > self.lead && steps < STEPS_MAX && self.window_max() > 1;
            if !can_be_longer || !self.may_be_kept.is_in_doubt(&self.alerts) {
                return Ok(());
            }
            self.lead = longer;
            self.alerts.clear();
            self.transitions.clear();
        }
    }

    /// Steps that can be asked for at once.
    fn window_max(&self) -> i64 {
        if depends_on_range(&self.terms.rule.query) { 1 } else { WINDOW }
    }

    async fn between(&mut self, first: i64, last: i64) -> QueryResult<()> {
        let mut from = first;
        while from <= last {
            let to = last.min(from + self.window_max() - 1);
            self.window(from, to).await?;
            from = to + 1;
        }
        Ok(())
    }

    /// Evaluates some steps. Where the query fails for all of them together, it is asked for half of them.
    async fn window(&mut self, from: i64, to: i64) -> QueryResult<()> {
        let mut windows = vec![(from, to)];
        while let Some((from, to)) = windows.pop() {
            self.queries += 1;
            if self.queries > QUERIES_MAX {
                return Err(QueryError::execution("the query fails too often, or asks for too much"));
            }
            let offset = self.request.query_offset;
            let (start, end) = (self.time(from) - offset, self.time(to) - offset);
            let step = TimeDelta::milliseconds(self.step());
            match self.promql.columns_between(&self.terms.rule.query, start, end, step).await {
                Ok(columns) => self.steps(from, to, &columns).await?,
                Err(QueryError::Execution(_)) if from < to => {
                    let middle = from + (to - from) / 2;
                    windows.extend([(middle + 1, to), (from, middle)]);
                }
                Err(QueryError::Execution(error)) => self.failed(from, error)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn steps(&mut self, from: i64, to: i64, columns: &Columns) -> QueryResult<()> {
        let sources = self.promql.sources(self.time(from)).without_queries();
        let rows = Rows::of(&self.terms, columns, sources);
        let mut looks = 0;
        for step in from..=to {
            looks += columns.labels().count() + 1;
            if looks > LOOKS_AT_ONCE {
                looks = 0;
                tokio::task::yield_now().await;
            }
            let n = usize::try_from(step - from).unwrap_or(usize::MAX);
            if columns.has_no_data(n) {
                self.evaluations_without_data += u64::from(step >= 0);
                self.advance(step, self.without_answer(RuleHealth::NoData, step))?;
                continue;
            }
            let found = match rows.candidates(columns, n, &self.terms) {
                Some(found) => Ok(found),
                None => self.slow_candidates(&rows, columns, (n, self.time(step))).await,
            };
            let (limit, now) = (self.request.limit, self.time(step));
            match found.and_then(|found| limited(found, &self.terms.rule, &self.alerts, limit, now)) {
                Ok(candidates) => self.advance(step, Verdict::Holds(candidates))?,
                Err(error) => self.failed(step, error)?,
            }
        }
        Ok(())
    }

    /// Where labels depend on values.
    async fn slow_candidates(
        &self,
        rows: &Rows,
        columns: &Columns,
        (step, now): (usize, DateTime<Utc>),
    ) -> Result<Vec<Candidate>, String> {
        let mut sources = TextSources { now, ..rows.sources.clone() };
        let end = Instant::now() + self.promql.limits().timeout;
        candidates(self.promql, &self.terms, columns.at(step), &mut sources, now, end).await
    }

    fn failed(&mut self, step: i64, error: String) -> QueryResult<()> {
        if step >= 0 {
            self.evaluations_failed += 1;
            self.first_error.get_or_insert(error);
        }
        self.advance(step, self.without_answer(RuleHealth::Error, step))
    }

    fn without_answer(&self, health: RuleHealth, step: i64) -> Verdict {
        self.terms.without_answer(health, || self.promql.sources(self.time(step)))
    }

    fn advance(&mut self, step: i64, verdict: Verdict) -> QueryResult<()> {
        let now = self.time(step);
        match &verdict {
            Verdict::Holds(candidates) if step < 0 => self.may_be_kept.held(step, candidates),
            Verdict::Unknown(_) if step < 0 => self.may_be_kept.unknown(step),
            _ => {}
        }
        let advanced = advance(&mut self.alerts, verdict, &self.terms.rule, now);
        self.transitions.extend(advanced.transitions);
        if step == -1 {
            let active = self.alerts.values().filter(|alert| alert.state != AlertState::Resolved);
            self.at_start =
                active.map(|alert| (alert.fingerprint, alert.labels.clone(), alert.state)).collect();
        }
        if self.transitions.len() > TRANSITIONS_MAX {
            let message = format!("the rule's alerts change their state more than {TRANSITIONS_MAX} times");
            return Err(QueryError::execution(message));
        }
        Ok(())
    }

    async fn report(self) -> QueryResult<BacktestReport> {
        let (start, last, step) = (self.time(0), self.last_step(), self.step());
        let end = self.time(last);
        let (notifications, notifications_unknown_from) = match self.request.audience {
            Some(audience) => told(audience, self.transitions.clone(), start, end).await?,
            None => Default::default(),
        };
        let transitions: Vec<_> = self.transitions.into_iter().filter(|change| change.at >= start).collect();
        Ok(BacktestReport {
            start_time: start,
            end_time: end,
            step_seconds: step as f64 / 1_000.0,
            evaluations: u64::try_from(last + 1).unwrap_or(0),
            evaluations_without_data: self.evaluations_without_data,
            evaluations_failed: self.evaluations_failed,
            alerts: alerts(self.at_start, &transitions, start, end),
            first_error: self.first_error,
            transitions,
            notifications,
            notifications_unknown_from,
        })
    }
}

/// What the rows of an answer are as alerts, where that is the same at every step.
struct Rows {
    /// Queries in labels are not among them: to ask them could take a query for every step.
    sources: TextSources,
    /// Labels of each row's alert; `None` if they depend on the value, or two rows are one alert, so that each
    /// step must be looked at.
    fixed: Option<Vec<(Fingerprint, Arc<Labels>)>>,
}

impl Rows {
    fn of(terms: &Terms, columns: &Columns, sources: TextSources) -> Self {
        let fixed = terms.has_fixed_labels().then(|| fixed(terms, columns, sources.clone())).flatten();
        Self { sources, fixed }
    }

    /// The alerts at a step, if that is easily told.
    fn candidates(&self, columns: &Columns, step: usize, terms: &Terms) -> Option<Vec<Candidate>> {
        let fixed = self.fixed.as_ref()?;
        let called = columns.at_numbered(step).filter(|(_, value)| terms.passes(*value));
        let candidate = |(row, value): (usize, f64)| {
            let (fingerprint, labels) = &fixed[row];
            let (labels, annotations) = (labels.clone(), Labels::new());
            Candidate { fingerprint: *fingerprint, labels, annotations, value }
        };
        Some(called.map(candidate).collect())
    }
}

/// The labels of each row's alert, where they are the same at every step; `None` if two rows are one alert, or
/// there is too much of them.
fn fixed(
    terms: &Terms,
    columns: &Columns,
    mut sources: TextSources,
) -> Option<Vec<(Fingerprint, Arc<Labels>)>> {
    let labelled = columns.labels().map(|labels| {
        let labels = terms.labels(&without_name(labels), 0.0, &mut sources).ok()?;
        Some((Fingerprint::of(&labels), Arc::new(labels)))
    });
    let fixed: Vec<_> = labelled.collect::<Option<_>>()?;
    let distinct: HashSet<_> = fixed.iter().map(|(fingerprint, _)| *fingerprint).collect();
    (distinct.len() == fixed.len()).then_some(fixed)
}
