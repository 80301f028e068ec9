//! What came of the last evaluation of each rule.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Postgres;
use crate::model::{AlertRuleId, RuleState};
use crate::store::StoreError;
use crate::store::row::Place;
use crate::store::rule_states::RuleStateStore;

impl RuleStateStore for Postgres<'_> {
    async fn rule_states(&mut self, rules: &[AlertRuleId]) -> Result<Vec<RuleState>, StoreError> {
        let sql = self.sql(
            "SELECT rule_id, health, last_evaluation, evaluation_seconds, last_error
             FROM monitoring.rule_states
             WHERE rule_id = ANY ($1)",
        );
        let ids: Vec<_> = rules.iter().map(|id| id.into_uuid()).collect();
        sqlx::query(sql).bind(ids).fetch_all(&mut *self.connection).await?.iter().map(state).collect()
    }

    async fn put_rule_states(&mut self, states: &[RuleState]) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.rule_states
                 (rule_id, health, last_evaluation, evaluation_seconds, last_error)
             SELECT rule_id, health, last_evaluation, evaluation_seconds, last_error
             FROM UNNEST($1::uuid[], $2::text[], $3::timestamptz[], $4::double precision[], $5::text[])
                 AS written (rule_id, health, last_evaluation, evaluation_seconds, last_error)
             ON CONFLICT (rule_id) DO UPDATE
             SET health = excluded.health, last_evaluation = excluded.last_evaluation,
                 evaluation_seconds = excluded.evaluation_seconds, last_error = excluded.last_error",
        );
        if states.is_empty() {
            return Ok(());
        }
        sqlx::query(sql)
            .bind(states.iter().map(|state| state.rule_id.into_uuid()).collect::<Vec<_>>())
            .bind(states.iter().map(|state| state.health.as_str()).collect::<Vec<_>>())
            .bind(states.iter().map(|state| state.last_evaluation).collect::<Vec<_>>())
            .bind(states.iter().map(|state| state.evaluation_seconds).collect::<Vec<_>>())
            .bind(states.iter().map(|state| state.last_error.clone()).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}

impl Postgres<'_> {
    /// Forgets a rule that is removed.
    pub(super) async fn forget_rule_state(&mut self, id: AlertRuleId) -> Result<(), StoreError> {
        let sql = self.sql("DELETE FROM monitoring.rule_states WHERE rule_id = $1");
        sqlx::query(sql).bind(id.into_uuid()).execute(&mut *self.connection).await?;
        Ok(())
    }
}

fn state(row: &PgRow) -> Result<RuleState, StoreError> {
    let id: Uuid = row.try_get("rule_id")?;
    let place = Place { table: "rule_states", row: id };
    Ok(RuleState {
        rule_id: id.into(),
        health: place.name(row, "health")?,
        last_evaluation: row.try_get("last_evaluation")?,
        evaluation_seconds: row.try_get("evaluation_seconds")?,
        last_error: row.try_get("last_error")?,
    })
}
