//! Groups of rules.

use std::collections::HashSet;

use sqlx::types::Json;
use uuid::Uuid;

use super::Postgres;
use crate::model::{AlertRuleId, RuleGroup};
use crate::store::StoreError;
use crate::store::metrics::to_i64;
use crate::store::rule_groups::{GroupState, RuleGroupStore, WatchedGroup, group, state, watched};

impl RuleGroupStore for Postgres<'_> {
    async fn rule_revision(&mut self) -> Result<i64, StoreError> {
        let sql = self.sql("SELECT revision FROM monitoring.rule_revision WHERE id = 1");
        Ok(sqlx::query_scalar(sql).fetch_one(&mut *self.connection).await?)
    }

    async fn rules_changed(&mut self) -> Result<(), StoreError> {
        let sql = self.sql("UPDATE monitoring.rule_revision SET revision = revision + 1 WHERE id = 1");
        sqlx::query(sql).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn unchanged_rules(
        &mut self,
        rules: &[(AlertRuleId, i64)],
    ) -> Result<HashSet<AlertRuleId>, StoreError> {
        let sql = self.sql(
            "SELECT id
             FROM UNNEST($1::uuid[], $2::bigint[]) AS known (id, version)
                 JOIN monitoring.alert_rules USING (id, version)
             UNION ALL
             SELECT id
             FROM UNNEST($1::uuid[], $2::bigint[]) AS known (id, version)
                 JOIN monitoring.recording_rules USING (id, version)",
        );
        let ids: Vec<Uuid> = sqlx::query_scalar(sql)
            .bind(rules.iter().map(|(id, _)| id.into_uuid()).collect::<Vec<_>>())
            .bind(rules.iter().map(|(_, version)| *version).collect::<Vec<_>>())
            .fetch_all(&mut *self.connection)
            .await?;
        Ok(ids.into_iter().map(AlertRuleId::from).collect())
    }

    async fn rule_groups(&mut self) -> Result<Vec<RuleGroup>, StoreError> {
        let sql = self.sql(
            "SELECT name, interval_seconds, coalesce(query_offset_seconds, 0) AS query_offset_seconds,
                    coalesce(alert_limit, 0) AS alert_limit, coalesce(labels, '{}') AS labels,
                    coalesce(version, 0) AS version
             FROM (
                 SELECT group_name AS name FROM monitoring.alert_rules
                 UNION
                 SELECT group_name FROM monitoring.recording_rules
                 UNION
                 SELECT name FROM monitoring.rule_groups
             ) AS named LEFT JOIN monitoring.rule_groups USING (name)
             ORDER BY name COLLATE \"C\"",
        );
        sqlx::query(sql).fetch_all(&mut *self.connection).await?.iter().map(group).collect()
    }

    async fn rule_group(&mut self, name: &str) -> Result<Option<RuleGroup>, StoreError> {
        let sql = self.sql(
            "SELECT name, interval_seconds, coalesce(query_offset_seconds, 0) AS query_offset_seconds,
                    coalesce(alert_limit, 0) AS alert_limit, coalesce(labels, '{}') AS labels,
                    coalesce(version, 0) AS version
             FROM (
                 SELECT group_name AS name FROM monitoring.alert_rules WHERE group_name = $1
                 UNION
                 SELECT group_name FROM monitoring.recording_rules WHERE group_name = $1
                 UNION
                 SELECT name FROM monitoring.rule_groups WHERE name = $1
             ) AS named LEFT JOIN monitoring.rule_groups USING (name)",
        );
        let row = sqlx::query(sql).bind(name).fetch_optional(&mut *self.connection).await?;
        row.as_ref().map(group).transpose()
    }

    async fn put_rule_group(&mut self, group: &RuleGroup, version: i64) -> Result<bool, StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.rule_groups AS old
                 (name, interval_seconds, query_offset_seconds, alert_limit, labels, version)
             SELECT $1, $2, $3, $4, $5, $6
             WHERE $7 = 0 OR EXISTS (SELECT FROM monitoring.rule_groups WHERE name = $1)
             ON CONFLICT (name) DO UPDATE
             SET interval_seconds = excluded.interval_seconds,
                 query_offset_seconds = excluded.query_offset_seconds,
                 alert_limit = excluded.alert_limit, labels = excluded.labels, version = excluded.version
             WHERE old.version = $7",
        );
        let done = sqlx::query(sql)
            .bind(&group.name)
            .bind(group.interval_seconds.map(i64::from))
            .bind(i64::from(group.query_offset_seconds))
            .bind(i64::from(group.limit))
            .bind(Json(&group.labels))
            .bind(group.version)
            .bind(version)
            .execute(&mut *self.connection)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn delete_rule_group(&mut self, name: &str) -> Result<bool, StoreError> {
        let sql = self.sql("DELETE FROM monitoring.rule_groups WHERE name = $1");
        let done = sqlx::query(sql).bind(name).execute(&mut *self.connection).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn watched_groups(&mut self) -> Result<Vec<WatchedGroup>, StoreError> {
        let sql = self.sql(
            "SELECT ruled.name, rule_groups.interval_seconds, ruled.since, ruled.rules, ruled.failing
             FROM (
                 SELECT name, min(since) AS since, count(*) AS rules, count(failing.rule_id) AS failing
                 FROM (
                     SELECT id, group_name AS name, updated_at AS since
                     FROM monitoring.alert_rules WHERE enabled
                     UNION ALL
                     SELECT id, group_name, updated_at FROM monitoring.recording_rules WHERE enabled
                 ) AS enabled
                 LEFT JOIN monitoring.rule_states AS failing
                     ON failing.rule_id = enabled.id AND failing.health = 'error'
                 GROUP BY name
             ) AS ruled LEFT JOIN monitoring.rule_groups AS rule_groups ON rule_groups.name = ruled.name
             ORDER BY ruled.name COLLATE \"C\"",
        );
        sqlx::query(sql).fetch_all(&mut *self.connection).await?.iter().map(watched).collect()
    }

    async fn group_states(&mut self) -> Result<Vec<(String, GroupState)>, StoreError> {
        let sql = self.sql(
            "SELECT name, revision, evaluated_at, evaluation_seconds, rhythm_seconds, iterations, missed
             FROM monitoring.rule_group_states
             ORDER BY name",
        );
        sqlx::query(sql).fetch_all(&mut *self.connection).await?.iter().map(state).collect()
    }

    async fn put_group_state(
        &mut self,
        name: &str,
        state: &GroupState,
        revision: i64,
    ) -> Result<bool, StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.rule_group_states AS old
                 (name, revision, evaluated_at, evaluation_seconds, rhythm_seconds, iterations, missed)
             SELECT $1, $2, $3, $4, $5, $6, $7
             WHERE $8 = 0 OR EXISTS (SELECT FROM monitoring.rule_group_states WHERE name = $1)
             ON CONFLICT (name) DO UPDATE
             SET revision = excluded.revision, evaluated_at = excluded.evaluated_at,
                 evaluation_seconds = excluded.evaluation_seconds, rhythm_seconds = excluded.rhythm_seconds,
                 iterations = excluded.iterations, missed = excluded.missed
             WHERE old.revision = $8",
        );
        let done = sqlx::query(sql)
            .bind(name)
            .bind(state.revision)
            .bind(state.evaluated_at)
            .bind(state.evaluation_seconds)
            .bind(state.rhythm_seconds)
            .bind(to_i64(state.iterations))
            .bind(to_i64(state.missed))
            .bind(revision)
            .execute(&mut *self.connection)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
