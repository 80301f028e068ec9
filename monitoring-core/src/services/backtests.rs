//! What alert rules would have done in the past, and whom they would have reached.

use chrono::{DateTime, TimeDelta, Utc};

use super::alert_states::{failed, group_of};
use super::alerts::checked_rule;
use super::routing::audience;
use crate::alerting::changed_rule;
use crate::error::{Error, Result};
use crate::evaluation::{Backtest, STEPS_MAX, interval_of, lead, slot};
use crate::model::{
    AlertRule, AlertRuleId, BacktestReport, Invalid, RuleGroup, UpdateAlertRequest, is_usual,
};
use crate::query::PromQuery;
use crate::store::alerts::AlertStore as _;
use crate::store::{Access, AsConnection as _};

/// A backtest begins so long before its end, unless it says otherwise.
const BACKTEST_SPAN: TimeDelta = TimeDelta::days(1);

/// The span a backtest is about.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BacktestSpanRequest {
    /// The first evaluation is not before; a day before the end, if absent.
    pub start_time: Option<DateTime<Utc>>,
    /// No evaluation is later; now, if absent.
    pub end_time: Option<DateTime<Utc>>,
    /// Between two evaluations; the interval of the rule's group, if absent, at the times the group is
    /// evaluated.
    pub step: Option<TimeDelta>,
}

/// What a stored rule would have done in a span of time, or what it would have done had it been changed.
/// Over the times a rule was evaluated, it is what it did.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such rule; [`Error::Invalid`] if a field breaks a rule, the span makes
/// no sense or the query cannot be answered. Storage failed.
pub async fn backtest_alert_rule(
    promql: &PromQuery,
    id: impl Into<AlertRuleId>,
    change: UpdateAlertRequest,
    span: &BacktestSpanRequest,
) -> Result<BacktestReport> {
    let id = id.into();
    let before = {
        // Not held while the query is asked, which needs one itself.
        let mut connection = promql.pool().acquire(Access::Read).await?;
        connection.as_connection().store().alert_rule(id).await?
    };
    let before = before.ok_or_else(|| Error::not_found("alert rule", id))?;
    let rule = checked_rule(promql.pool().context(), changed_rule(&before, change), Some(&before))?;
    backtest(promql, rule, span).await
}

/// What a rule would have done in a span of time, whether it is stored or not, and whom it would have
/// reached by the routing as it is now.
///
/// # Errors
///
/// As [`backtest_alert_rule`].
pub async fn backtest(
    promql: &PromQuery,
    rule: AlertRule,
    span: &BacktestSpanRequest,
) -> Result<BacktestReport> {
    let usual = promql.pool().context().settings.alert_evaluation_interval;
    let group = group_of(promql, &rule).await?;
    let interval = interval_of(group.interval_seconds, usual);
    let mut request = request(rule, &group, interval, span, promql.now())?;
    request.audience = {
        let mut connection = promql.pool().acquire(Access::Read).await?;
        audience(&mut connection.as_connection().store()).await?
    };
    crate::evaluation::backtest(promql, request).await.map_err(failed)
}

fn request(
    rule: AlertRule,
    group: &RuleGroup,
    interval: TimeDelta,
    span: &BacktestSpanRequest,
    now: DateTime<Utc>,
) -> Result<Backtest, Invalid> {
    let step = span.step.unwrap_or(interval);
    let end = span.end_time.unwrap_or(now);
    if !is_usual(end) || !span.start_time.is_none_or(is_usual) {
        return Err(Invalid::field("start_time", "must be in the years from 1970 to 9999, as end_time"));
    }
    let start = span.start_time.unwrap_or(end - BACKTEST_SPAN);
    if step < TimeDelta::milliseconds(1) {
        return Err(Invalid::field("step", "must be longer than nothing"));
    }
    if end < start {
        return Err(Invalid::field("end_time", "must not be before start_time"));
    }
    if (end - start + lead(&rule, step)).num_milliseconds() / step.num_milliseconds() >= STEPS_MAX {
        let message = format!("makes {STEPS_MAX} evaluations or more; take a longer one, or a shorter span");
        return Err(Invalid::field("step", message));
    }
    let start = match span.step {
        Some(_) => start,
        None => slot(&group.name, interval, start + interval - TimeDelta::milliseconds(1)),
    };
    if end < start {
        return Err(Invalid::field("end_time", "leaves no time at which the rule is evaluated"));
    }
    let query_offset = TimeDelta::seconds(group.query_offset_seconds.into());
    let (group_labels, limit) = (group.labels.clone(), group.limit as usize);
    Ok(Backtest { rule, group_labels, query_offset, limit, start, end, step, audience: None })
}
