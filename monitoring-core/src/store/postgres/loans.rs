//! Connections that are lent.

use std::sync::Weak;
use std::time::Duration;

use super::Postgres;
use crate::store::StoreError;
use crate::store::loans::LoanStore;

impl LoanStore for Postgres<'_> {
    async fn limit_statements(&mut self, limit: Duration, _loan: Weak<()>) -> Result<(), StoreError> {
        // A limit of the host's that is closer stays.
        let sql = self.sql(
            "SELECT set_config(
                 'statement_timeout',
                 CASE WHEN own::interval BETWEEN '1 millisecond' AND $1::text::interval
                     THEN own ELSE $1::text END,
                 TRUE
             )
             FROM current_setting('statement_timeout') AS own",
        );
        let limit = format!("{}ms", limit.as_millis().clamp(1, i32::MAX as u128));
        sqlx::query(sql).bind(limit).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn lift_limit(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
