//! Connections that are lent.

use std::sync::Weak;
use std::time::{Duration, Instant};

use super::Sqlite;
use crate::store::StoreError;
use crate::store::loans::LoanStore;

/// Steps of SQLite's between two looks at the clock: a fraction of a millisecond.
const STEPS: i32 = 10_000;

impl LoanStore for Sqlite<'_> {
    async fn limit_statements(&mut self, limit: Duration, loan: Weak<()>) -> Result<(), StoreError> {
        let begun = Instant::now();
        let may_go_on = move || loan.strong_count() == 0 || begun.elapsed() < limit;
        self.connection.lock_handle().await?.set_progress_handler(STEPS, may_go_on);
        Ok(())
    }

    async fn lift_limit(&mut self) -> Result<(), StoreError> {
        self.connection.lock_handle().await?.remove_progress_handler();
        Ok(())
    }
}
