//! What came of the last evaluation of each rule.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite as Database};
use uuid::Uuid;

use super::metrics::ROWS_MAX;
use super::{Sqlite, time};
use crate::model::{AlertRuleId, RuleState, to_micros};
use crate::store::StoreError;
use crate::store::row::Place;
use crate::store::rule_states::RuleStateStore;

impl RuleStateStore for Sqlite<'_> {
    async fn rule_states(&mut self, rules: &[AlertRuleId]) -> Result<Vec<RuleState>, StoreError> {
        let query = sqlx::query(
            "SELECT rule_id, health, last_evaluation, evaluation_seconds, last_error
             FROM monitoring_rule_states
             WHERE rule_id IN (SELECT unhex(value) FROM json_each(?1))",
        );
        let query = query.bind(super::hex_ids(rules.iter().map(|id| id.into_uuid())));
        query.fetch_all(&mut *self.connection).await?.iter().map(state).collect()
    }

    async fn put_rule_states(&mut self, states: &[RuleState]) -> Result<(), StoreError> {
        for states in states.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_rule_states
                     (rule_id, health, last_evaluation, evaluation_seconds, last_error) ",
            );
            sql.push_values(states, |mut row, state| {
                row.push_bind(state.rule_id.into_uuid())
                    .push_bind(state.health.as_str())
                    .push_bind(to_micros(state.last_evaluation))
                    .push_bind(state.evaluation_seconds)
                    .push_bind(state.last_error.clone());
            });
            sql.push(
                " ON CONFLICT (rule_id) DO UPDATE
                 SET health = excluded.health, last_evaluation = excluded.last_evaluation,
                     evaluation_seconds = excluded.evaluation_seconds, last_error = excluded.last_error",
            );
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }
}

impl Sqlite<'_> {
    /// Forgets a rule that is removed.
    pub(super) async fn forget_rule_state(&mut self, id: AlertRuleId) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM monitoring_rule_states WHERE rule_id = ?1");
        query.bind(id.into_uuid()).execute(&mut *self.connection).await?;
        Ok(())
    }
}

fn state(row: &SqliteRow) -> Result<RuleState, StoreError> {
    let id: Uuid = row.try_get("rule_id")?;
    let place = Place { table: "monitoring_rule_states", row: id };
    Ok(RuleState {
        rule_id: id.into(),
        health: place.name(row, "health")?,
        last_evaluation: time(row, "last_evaluation", "monitoring_rule_states", id)?,
        evaluation_seconds: row.try_get("evaluation_seconds")?,
        last_error: row.try_get("last_error")?,
    })
}
