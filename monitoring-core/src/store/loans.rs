//! Connections lent to those who ask over the network: not all there are, and no statement of theirs goes on
//! for ever.
//!
//! Whoever asked may go away in the middle of a statement, which the database does not notice. Until it has
//! ended the connection is of no use to anybody, so it counts as lent until then.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{AsConnection, Connection, sealed};
use super::pool::{ACQUIRE_TIMEOUT, Reading};
use super::{Context, Pool, StoreError};

/// Connections that are never lent: with one telemetry is written, another reads for rules or delivery.
const KEPT: u32 = 2;

super::store_trait! {
    /// The bound on what is done with a connection that is lent.
    LoanStore {
        /// Ends what takes longer than `limit`: any statement of this transaction, or, where none is open,
        /// all that is done as long as the loan is there.
        fn limit_statements(limit: Duration, loan: Weak<()>) -> ();

        /// Takes back what would outlast the transaction, once the last statement has ended.
        fn lift_limit() -> ();
    }
}

/// Lends connections of a pool. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Loans {
    pool: Pool,
    places: Arc<Semaphore>,
    returns: UnboundedSender<Lent>,
}

impl Loans {
    /// Also returns where connections come back to. Who receives them there shall
    /// [settle](Lent::settle) them.
    pub(crate) fn of(pool: Pool) -> (Self, UnboundedReceiver<Lent>) {
        let places = pool.readers_max().saturating_sub(KEPT).max(1);
        let places = Arc::new(Semaphore::new(usize::try_from(places).unwrap_or(usize::MAX)));
        let (returns, returned) = unbounded_channel();
        (Self { pool, places, returns }, returned)
    }

    /// Lends a connection to look things up with, waiting a few seconds for one to become free.
    pub(crate) async fn lend(&self, limit: Duration) -> Result<LentConnection, StoreError> {
        let place = tokio::time::timeout(ACQUIRE_TIMEOUT, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let reading = self.pool.begin_reading().await?;
        let context = self.pool.context().clone();
        let lent = Lent { reading, context, loan: Arc::new(()), _place: place };
        let loan = Arc::downgrade(&lent.loan);
        let mut connection = LentConnection { lent: Some(lent), returns: self.returns.clone() };
        connection.as_connection().store().limit_statements(limit, loan).await?;
        Ok(connection)
    }

    #[cfg(test)]
    fn free(&self) -> usize {
        self.places.available_permits()
    }
}

/// What is lent, until nothing is done with it any more.
pub(crate) struct Lent {
    reading: Reading,
    context: Arc<Context>,
    loan: Arc<()>,
    _place: OwnedSemaphorePermit,
}

impl Lent {
    fn connection(&mut self) -> Connection<'_> {
        Connection { raw: self.reading.raw(), context: &self.context }
    }

    /// Waits for the last statement and returns the connection to the pool as it was.
    pub(crate) async fn settle(mut self) {
        // A connection that is broken is not kept, whoever finds out.
        self.connection().store().lift_limit().await.ok();
        self.reading.end().await.ok();
    }
}

/// A connection to look things up with, for somebody who asks over the network: no statement takes longer
/// than its limit, and a few connections are never lent. Returns to the pool when dropped, as soon as its
/// last statement has ended.
pub struct LentConnection {
    lent: Option<Lent>,
    returns: UnboundedSender<Lent>,
}

impl Drop for LentConnection {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            // Where nobody receives them any more, it returns by itself.
            self.returns.send(lent).ok();
        }
    }
}

impl sealed::Sealed for LentConnection {}

impl AsConnection for LentConnection {
    fn as_connection(&mut self) -> Connection<'_> {
        self.lent.as_mut().expect("it is there until this is dropped").connection()
    }
}

impl fmt::Debug for LentConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LentConnection").finish_non_exhaustive()
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(irrefutable_let_patterns)] // where there is one database only
mod tests {
    use super::*;
    use crate::store::Access;
    use crate::store::connection::Raw;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    /// Runs until something ends it.
    async fn look_for_ever(connection: &mut LentConnection) -> Result<(), StoreError> {
        match connection.as_connection().raw {
            #[cfg(feature = "postgres")]
            Raw::Postgres(raw) => sqlx::query("SELECT pg_sleep(60)").execute(raw).await.map(drop)?,
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(raw) => {
                let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                               SELECT count(*) FROM n";
                sqlx::query(endless).execute(raw).await.map(drop)?;
            }
        }
        Ok(())
    }

    /// What is too long is ended, and then the connection is as good as any.
    async fn is_bounded(pool: Pool) {
        let (loans, mut returned) = Loans::of(pool.clone());
        let places = loans.free();
        let mut connection = loans.lend(Duration::from_millis(50)).await.unwrap();
        let error = look_for_ever(&mut connection).await.unwrap_err();
        assert!(error.is_timeout() && error.is_transient(), "{error:?}");
        drop(connection);
        assert_eq!(loans.free(), places - 1);
        returned.recv().await.unwrap().settle().await;
        assert_eq!(loans.free(), places);
    }

    /// Those who went away keep none from whoever is not a caller.
    async fn leaves_some(pool: Pool) {
        let (loans, mut returned) = Loans::of(pool.clone());
        while loans.free() > 0 {
            let mut connection = loans.lend(HOUR).await.unwrap();
            let looking = look_for_ever(&mut connection);
            assert!(tokio::time::timeout(Duration::from_millis(50), looking).await.is_err());
        }
        let kept = [pool.acquire(Access::Read).await.unwrap(), pool.acquire(Access::Read).await.unwrap()];
        drop(kept);
        let first = returned.recv().await.unwrap();
        let settling = tokio::time::timeout(Duration::from_millis(50), first.settle());
        assert!(settling.await.is_err(), "its statement still runs");
    }

    #[cfg(feature = "postgres")]
    #[tokio::test]
    async fn postgres_lends_within_bounds() {
        use sqlx::Executor as _;

        let Some(database) = crate::store::test_server::database().await else { return };
        let pool = || Pool::open(&database.url, Context::shared_default().clone()).unwrap();
        is_bounded(pool()).await;
        leaves_some(pool()).await;
        let (loans, mut returned) = Loans::of(pool());
        for (own, within) in [("0", "30s"), ("1s", "1s"), ("2h", "30s")] {
            let mut lent = loans.lend(Duration::from_secs(30)).await.unwrap();
            assert_eq!(limit(&mut lent).await, "30s");
            let Raw::Postgres(raw) = lent.as_connection().raw else { panic!("it is PostgreSQL") };
            raw.execute(sqlx::AssertSqlSafe(format!("SET LOCAL statement_timeout = '{own}'"))).await.unwrap();
            let limited = Duration::from_secs(30);
            lent.as_connection().store().limit_statements(limited, Weak::new()).await.unwrap();
            assert_eq!(limit(&mut lent).await, within);
            drop(lent);
            returned.recv().await.unwrap().settle().await;
            let mut after = loans.pool.acquire(Access::Read).await.unwrap();
            assert_eq!(limit(&mut after).await, "0", "nothing is left behind");
        }
    }

    #[cfg(feature = "postgres")]
    async fn limit(connection: &mut impl AsConnection) -> String {
        let Raw::Postgres(raw) = connection.as_connection().raw else { panic!("it is PostgreSQL") };
        sqlx::query_scalar("SELECT current_setting('statement_timeout')").fetch_one(raw).await.unwrap()
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn sqlite_lends_within_bounds() {
        is_bounded(Pool::open("sqlite::memory:", Context::shared_default().clone()).unwrap()).await;
    }
}
