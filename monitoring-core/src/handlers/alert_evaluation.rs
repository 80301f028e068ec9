//! Evaluates alert rules.

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::TaskHandler;
use crate::error::{Error, Result};
use crate::evaluation::Evaluated;
use crate::model::{AlertRuleId, Invalid};
use crate::monitor::Monitoring;

pub(super) struct AlertEvaluation {
    monitoring: Monitoring,
}

/// What is to be evaluated: everything that is due, or one rule.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Payload {
    #[serde(alias = "alert_id", alias = "alert_rule_id")]
    rule_id: Option<Uuid>,
}

impl AlertEvaluation {
    pub(super) fn new(monitoring: &Monitoring) -> Self {
        Self { monitoring: monitoring.clone() }
    }

    async fn evaluate(&self, payload: Value) -> Result<Evaluated> {
        let payload: Option<Payload> =
            serde_json::from_value(payload).map_err(|error| Invalid::field("payload", error.to_string()))?;
        let evaluator = self.monitoring.evaluator();
        match payload.unwrap_or_default().rule_id.map(AlertRuleId::from) {
            None => evaluator.evaluate_due().await,
            Some(id) => {
                let evaluated = evaluator.evaluate_rule(id).await?;
                evaluated.ok_or_else(|| Error::not_found("enabled rule", id))
            }
        }
    }
}

impl TaskHandler for AlertEvaluation {
    fn handle(&self, payload: Value) -> BoxFuture<'_, Result<Value>> {
        Box::pin(async {
            let Evaluated { groups, rules, transitions } = self.evaluate(payload).await?;
            Ok(json!({
                "groups_evaluated": groups,
                "rules_evaluated": rules,
                "transitions": transitions,
            }))
        })
    }
}
