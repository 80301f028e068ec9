//! Has work done by one replica at a time.
//!
//! Whoever holds a lease does the work, and holds on to the lease meanwhile. One that dies is replaced as
//! soon as its lease is over; one that is shut down gives it back.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::supervisor::INTERNAL_TARGET;
use crate::random::random_u128;
use crate::store::leases::{Lease, LeaseStore as _};
use crate::store::{Access, AsConnection as _, Pool, StoreError};

/// How long a lease is good for.
const TTL: Duration = Duration::from_secs(6);
/// How often it is renewed, or asked for by those who do not have it.
const EVERY: Duration = Duration::from_secs(2);
/// What asking may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs until `stop`: `work`, again and again with a pause of `pause`, as long as the lease `name` is
/// held. Work is given up where it stands when the lease is lost; what it writes under the lease is
/// refused by then.
pub(crate) async fn run_led<F: Future<Output = ()>>(
    pool: Pool,
    name: &'static str,
    pause: Duration,
    stop: CancellationToken,
    work: impl Fn(Lease) -> F,
) {
    let holder = Uuid::from_u128(random_u128());
    while !stop.is_cancelled() {
        let lease = stop.run_until_cancelled(in_time(acquire(&pool, name, holder))).await;
        let Some(Ok(Some(lease))) = lease else {
            stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
            continue;
        };
        tracing::debug!(target: INTERNAL_TARGET, name, token = lease.token, "this replica leads");
        tokio::select! {
            () = again_and_again(&lease, pause, &work) => {}
            () = hold(&pool, &lease) => {
                tracing::warn!(target: INTERNAL_TARGET, name, "this replica does not lead any longer");
            }
            () = stop.cancelled() => {}
        }
        // Whoever is not told waits until it is over.
        let _ = in_time(release(&pool, &lease)).await;
    }
}

async fn again_and_again<F: Future<Output = ()>>(lease: &Lease, pause: Duration, work: &impl Fn(Lease) -> F) {
    loop {
        work(lease.clone()).await;
        tokio::time::sleep(pause).await;
    }
}

/// Renews the lease until it is lost.
async fn hold(pool: &Pool, lease: &Lease) {
    let mut renewed = Instant::now();
    while renewed.elapsed() < TTL {
        tokio::time::sleep(EVERY).await;
        match in_time(renew(pool, lease)).await {
            Ok(true) => renewed = Instant::now(),
            Ok(false) => return,
            // Perhaps the next attempt comes in time.
            Err(_) => {}
        }
    }
}

async fn acquire(pool: &Pool, name: &'static str, holder: Uuid) -> Result<Option<Lease>, StoreError> {
    pool.acquire(Access::Write).await?.as_connection().store().acquire_lease(name, holder, TTL).await
}

async fn renew(pool: &Pool, lease: &Lease) -> Result<bool, StoreError> {
    pool.acquire(Access::Write).await?.as_connection().store().renew_lease(lease, TTL).await
}

async fn release(pool: &Pool, lease: &Lease) -> Result<(), StoreError> {
    pool.acquire(Access::Write).await?.as_connection().store().release_lease(lease).await
}

async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(StoreError::no_answer(PATIENCE)))
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;
    use crate::store::Context;

    /// What whoever leads says.
    #[derive(Debug, PartialEq)]
    enum Said {
        Begun(&'static str, Lease),
        /// The work ended, in whichever way.
        Ended(&'static str),
    }

    struct Worker(&'static str, UnboundedSender<Said>);

    impl Drop for Worker {
        fn drop(&mut self) {
            self.1.send(Said::Ended(self.0)).ok();
        }
    }

    /// Has somebody lead, on each database.
    async fn lead(pool: &Pool, who: &'static str, says: &UnboundedSender<Said>, stop: &CancellationToken) {
        let work = |lease: Lease| {
            let worker = Worker(who, says.clone());
            async move {
                worker.1.send(Said::Begun(who, lease)).unwrap();
                std::future::pending().await
            }
        };
        run_led(pool.clone(), "test", EVERY, stop.clone(), work).await;
    }

    async fn begun(said: &mut UnboundedReceiver<Said>, expected: &str) -> Lease {
        match tokio::time::timeout(TTL + 2 * EVERY, said.recv()).await.expect("somebody leads") {
            Some(Said::Begun(who, lease)) if who == expected => lease,
            other => panic!("{other:?}"),
        }
    }

    async fn on_each_database<F: Future<Output = ()>>(test: impl Fn(Pool) -> F) {
        let context = Context::shared_default();
        let sqlite = Pool::open("sqlite::memory:", context.clone()).unwrap();
        sqlite.migrate().await.unwrap();
        test(sqlite).await;
        #[cfg(feature = "postgres")]
        if let Some(database) = crate::store::test_server::database().await {
            let postgres = Pool::open(&database.url, context.clone()).unwrap();
            postgres.migrate().await.unwrap();
            test(postgres).await;
        }
    }

    #[tokio::test]
    async fn whoever_stops_hands_over_at_once() {
        on_each_database(|pool| async move {
            let ((says, mut said), stop) = (unbounded_channel(), CancellationToken::new());
            let first = async {
                let lease = begun(&mut said, "first").await;
                stop.cancel();
                lease
            };
            let (lease, ()) = tokio::join!(first, lead(&pool, "first", &says, &stop));
            assert_eq!(said.recv().await, Some(Said::Ended("first")));
            let stop = CancellationToken::new();
            let second = async {
                let soon = tokio::time::timeout(TTL / 2, begun(&mut said, "second"));
                let next = soon.await.expect("it need not wait for the end of a lease");
                assert_eq!(next.token, lease.token + 1);
                stop.cancel();
            };
            tokio::join!(second, lead(&pool, "second", &says, &stop));
        })
        .await;
    }

    #[tokio::test]
    async fn one_that_is_deposed_stops_working_and_writes_nothing_more() {
        on_each_database(|pool| async move {
            let ((says, mut said), stop) = (unbounded_channel(), CancellationToken::new());
            let deposing = async {
                let lease = begun(&mut said, "first").await;
                assert!(confirm(&pool, &lease).await);
                let usurper = Uuid::from_u128(1);
                assert_eq!(acquire(&pool, "test", usurper).await.unwrap(), None, "it is held");
                // As if its time had passed.
                release(&pool, &lease).await.unwrap();
                let next = acquire(&pool, "test", usurper).await.unwrap().expect("it is free");
                assert!(!confirm(&pool, &lease).await && confirm(&pool, &next).await);
                assert!(!renew(&pool, &lease).await.unwrap());
                assert_eq!(said.recv().await, Some(Said::Ended("first")));
                stop.cancel();
            };
            tokio::join!(deposing, lead(&pool, "first", &says, &stop));
        })
        .await;
    }

    #[cfg(feature = "postgres")]
    #[tokio::test]
    async fn nobody_takes_over_while_a_transaction_of_the_holder_is_open() {
        let Some(database) = crate::store::test_server::database().await else { return };
        let pool = Pool::open(&database.url, Context::shared_default().clone()).unwrap();
        pool.migrate().await.unwrap();
        let lease = acquire(&pool, "test", Uuid::from_u128(1)).await.unwrap().unwrap();
        release(&pool, &lease).await.unwrap();
        let mut connection = pool.acquire(Access::Write).await.unwrap();
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await.unwrap();
        assert!(transaction.store().confirm_lease(&lease).await.unwrap(), "its time is up, but it is held");
        let mut taking = Box::pin(acquire(&pool, "test", Uuid::from_u128(2)));
        let early = tokio::time::timeout(Duration::from_millis(300), &mut taking).await;
        assert!(early.is_err(), "it waits for the transaction");
        transaction.commit().await.unwrap();
        assert_eq!(taking.await.unwrap().unwrap().token, lease.token + 1);
        assert!(!confirm(&pool, &lease).await);
    }

    async fn confirm(pool: &Pool, lease: &Lease) -> bool {
        let mut connection = pool.acquire(Access::Write).await.unwrap();
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await.unwrap();
        transaction.store().confirm_lease(lease).await.unwrap()
    }
}
