//! Has work done by one replica at a time.
//!
//! Whoever holds a lease does the work, and holds on to the lease meanwhile. One that dies is replaced as
//! soon as its lease is over; one that is shut down gives it back.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::supervisor::INTERNAL_TARGET;
use crate::error::Result;
use crate::random::random_u128;
use crate::store::leases::{Lease, LeaseStore as _};
use crate::store::{Access, AsConnection as _, Pool, StoreError};

/// How leases are held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    /// How long a lease is good for.
    ttl: Duration,
    /// How often it is renewed, or asked for by those who do not have it.
    every: Duration,
    /// Whether it is taken from whoever has it at first.
    by_force: bool,
}

impl Rhythm {
    /// Replicas of a service: a dead one is replaced within ten seconds.
    const REPLICAS: Self =
        Self { ttl: Duration::from_secs(6), every: Duration::from_secs(2), by_force: false };
    /// A file has one process, and each write to it may cost the host a transaction. So there are few,
    /// and whoever starts last leads: whoever did before is most likely dead.
    const FILE: Self = Self { ttl: Duration::from_secs(90), every: Duration::from_secs(30), by_force: true };

    fn of(pool: &Pool) -> Self {
        if pool.is_embedded() { Self::FILE } else { Self::REPLICAS }
    }

    /// How long whoever has no lease waits until it asks again.
    const fn retry(self) -> Duration {
        if self.every.as_millis() < RETRY_MAX.as_millis() { self.every } else { RETRY_MAX }
    }
}

/// How long whoever has no lease waits until it asks again, at most.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// What asking may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// After this whoever finds somebody else at what is [run once](run_once) asks again.
pub(super) const ONCE_RETRY: Duration = Rhythm::REPLICAS.retry();

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
    let rhythm = Rhythm::of(&pool);
    run_in_rhythm(rhythm, pool, name, pause, stop, work).await;
}

/// Does `work` once, while the lease `name` is held; `None` if somebody else holds it, or it was lost before the
/// end: then it is to be tried again soon. On a file too, because one process may be asked for it twice at once.
/// Work is given up where it stands when the lease is lost.
///
/// # Errors
///
/// Those of the work; storage failed.
pub(super) async fn run_once<T, F: Future<Output = Result<T>>>(
    pool: &Pool,
    name: &'static str,
    work: impl FnOnce(Lease) -> F,
) -> Result<Option<T>> {
    once_in_rhythm(Rhythm::REPLICAS, pool, name, work).await
}

async fn once_in_rhythm<T, F: Future<Output = Result<T>>>(
    rhythm: Rhythm,
    pool: &Pool,
    name: &'static str,
    work: impl FnOnce(Lease) -> F,
) -> Result<Option<T>> {
    let holder = Uuid::from_u128(random_u128());
    let Some(lease) = acquire(pool, name, holder, rhythm).await? else { return Ok(None) };
    let outcome = tokio::select! {
        outcome = work(lease.clone()) => Some(outcome),
        () = hold(pool, &lease, rhythm) => None,
    };
    // Whoever is not told waits until it is over.
    match (outcome, in_time(release(pool, &lease)).await) {
        (None, _) | (_, Ok(false)) => Ok(None),
        (Some(outcome), _) => outcome.map(Some),
    }
}

/// Makes sure that nobody else has taken the lease that this is [done under](run_once).
///
/// # Errors
///
/// Somebody has; or storage failed.
pub(super) async fn make_sure(pool: &Pool, lease: &Lease) -> Result<()> {
    match renew(pool, lease, Rhythm::REPLICAS).await? {
        true => Ok(()),
        false => Err(StoreError::no_answer(Rhythm::REPLICAS.ttl).into()),
    }
}

async fn run_in_rhythm<F: Future<Output = ()>>(
    mut rhythm: Rhythm,
    pool: Pool,
    name: &'static str,
    pause: Duration,
    stop: CancellationToken,
    work: impl Fn(Lease) -> F,
) {
    let holder = Uuid::from_u128(random_u128());
    while !stop.is_cancelled() {
        let lease = stop.run_until_cancelled(in_time(acquire(&pool, name, holder, rhythm))).await;
        let Some(Ok(Some(lease))) = lease else {
            stop.run_until_cancelled(tokio::time::sleep(rhythm.retry())).await;
            continue;
        };
        // Whoever takes it from this one is not to be fought.
        rhythm.by_force = false;
        tracing::debug!(target: INTERNAL_TARGET, name, token = lease.token, "this replica leads");
        tokio::select! {
            () = again_and_again(&lease, pause, &work) => {}
            () = hold(&pool, &lease, rhythm) => {
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
async fn hold(pool: &Pool, lease: &Lease, rhythm: Rhythm) {
    let mut renewed = Instant::now();
    while renewed.elapsed() < rhythm.ttl {
        tokio::time::sleep(rhythm.every).await;
        match in_time(renew(pool, lease, rhythm)).await {
            Ok(true) => renewed = Instant::now(),
            Ok(false) => return,
            // Perhaps the next attempt comes in time.
            Err(_) => {}
        }
    }
}

async fn acquire(
    pool: &Pool,
    name: &'static str,
    holder: Uuid,
    rhythm: Rhythm,
) -> Result<Option<Lease>, StoreError> {
    let mut connection = pool.acquire(Access::Write).await?;
    let mut connection = connection.as_connection();
    connection.store().acquire_lease(name, holder, rhythm.ttl, rhythm.by_force).await
}

async fn renew(pool: &Pool, lease: &Lease, rhythm: Rhythm) -> Result<bool, StoreError> {
    pool.acquire(Access::Write).await?.as_connection().store().renew_lease(lease, rhythm.ttl).await
}

async fn release(pool: &Pool, lease: &Lease) -> Result<bool, StoreError> {
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
    use crate::store::test_pools::on_each_database;

    const R: Rhythm = Rhythm::REPLICAS;

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
        let pause = R.every;
        run_in_rhythm(R, pool.clone(), "test", pause, stop.clone(), work).await;
    }

    async fn begun(said: &mut UnboundedReceiver<Said>, expected: &str) -> Lease {
        match tokio::time::timeout(R.ttl + 2 * R.every, said.recv()).await.expect("somebody leads") {
            Some(Said::Begun(who, lease)) if who == expected => lease,
            other => panic!("{other:?}"),
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
                let soon = tokio::time::timeout(R.ttl / 2, begun(&mut said, "second"));
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
                assert_eq!(acquire(&pool, "test", usurper, R).await.unwrap(), None, "it is held");
                // As if its time had passed.
                assert!(release(&pool, &lease).await.unwrap());
                let next = acquire(&pool, "test", usurper, R).await.unwrap().expect("it is free");
                assert!(!confirm(&pool, &lease).await && confirm(&pool, &next).await);
                assert!(!renew(&pool, &lease, R).await.unwrap());
                assert!(!release(&pool, &lease).await.unwrap());
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
        let lease = acquire(&pool, "test", Uuid::from_u128(1), R).await.unwrap().unwrap();
        release(&pool, &lease).await.unwrap();
        let mut connection = pool.acquire(Access::Write).await.unwrap();
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await.unwrap();
        assert!(transaction.store().confirm_lease(&lease).await.unwrap(), "its time is up, but it is held");
        let other = Uuid::from_u128(2);
        assert_eq!(in_time(acquire(&pool, "test", other, R)).await.unwrap(), None);
        transaction.commit().await.unwrap();
        assert_eq!(acquire(&pool, "test", other, R).await.unwrap().unwrap().token, lease.token + 1);
        assert!(!confirm(&pool, &lease).await);
    }

    #[cfg(feature = "postgres")]
    #[tokio::test]
    async fn a_transaction_of_the_holder_does_not_keep_it_from_renewing() {
        let Some(database) = crate::store::test_server::database().await else { return };
        let pool = Pool::open(&database.url, Context::shared_default().clone()).unwrap();
        pool.migrate().await.unwrap();
        let lease = acquire(&pool, "test", Uuid::from_u128(1), R).await.unwrap().unwrap();
        let mut connection = pool.acquire(Access::Write).await.unwrap();
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await.unwrap();
        assert!(transaction.store().confirm_lease(&lease).await.unwrap());
        assert!(in_time(renew(&pool, &lease, R)).await.unwrap());
        transaction.commit().await.unwrap();
    }

    #[cfg(feature = "postgres")]
    #[tokio::test]
    async fn whoever_is_gone_in_the_middle_of_a_transaction_is_replaced() {
        let Some(database) = crate::store::test_server::database().await else { return };
        let pool = Pool::open(&database.url, Context::shared_default().clone()).unwrap();
        pool.migrate().await.unwrap();
        let gone = acquire(&pool, "test", Uuid::from_u128(1), R).await.unwrap().unwrap();
        let mut connection = pool.acquire(Access::Write).await.unwrap();
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await.unwrap();
        assert!(transaction.store().confirm_lease(&gone).await.unwrap());
        // Nobody says anything more on this connection, and it stays open.
        let ((says, mut said), stop) = (unbounded_channel(), CancellationToken::new());
        let next = async {
            let next = tokio::time::timeout(Duration::from_secs(60), said.recv()).await;
            stop.cancel();
            next.expect("somebody takes over")
        };
        let (next, ()) = tokio::join!(next, lead(&pool, "next", &says, &stop));
        assert!(matches!(next, Some(Said::Begun("next", lease)) if lease.token == gone.token + 1));
        assert!(transaction.commit().await.is_err(), "it was ended");
    }

    #[tokio::test]
    async fn whoever_is_gone_without_a_word_is_replaced() {
        on_each_database(|pool| async move {
            let brief = Rhythm { ttl: Duration::from_millis(300), every: Duration::from_millis(50), ..R };
            let gone = acquire(&pool, "test", Uuid::from_u128(1), brief).await.unwrap().unwrap();
            let ((says, mut said), stop) = (unbounded_channel(), CancellationToken::new());
            let next = async {
                let next = begun(&mut said, "next").await;
                assert_eq!(next.token, gone.token + 1);
                assert!(!confirm(&pool, &gone).await, "should it come back, it writes nothing");
                stop.cancel();
            };
            let work = |lease: Lease| {
                says.send(Said::Begun("next", lease)).unwrap();
                std::future::pending()
            };
            tokio::join!(next, run_in_rhythm(brief, pool.clone(), "test", R.every, stop.clone(), work));
        })
        .await;
    }

    #[tokio::test]
    async fn a_replica_that_dies_is_replaced_within_ten_seconds() {
        on_each_database(|pool| async move {
            let rhythm = if pool.is_embedded() { R } else { Rhythm::of(&pool) };
            // It may have renewed its lease just before; whoever else asks then waits, and may be answered late.
            let replaced_within = rhythm.ttl + rhythm.retry() + PATIENCE;
            assert!(replaced_within <= Duration::from_secs(10), "{replaced_within:?}");
            assert!(rhythm.every + PATIENCE < rhythm.ttl, "one renewal that fails costs nothing");
        })
        .await;
        assert_eq!(ONCE_RETRY, R.retry());
    }

    #[tokio::test]
    async fn what_is_run_once_keeps_its_lease_while_it_works() {
        on_each_database(|pool| async move {
            let brief = Rhythm { ttl: Duration::from_secs(2), every: Duration::from_millis(100), ..R };
            let other = Uuid::from_u128(1);
            let work = |_| async {
                acquire(&pool, "as old", Uuid::from_u128(2), brief).await?.expect("it is free");
                while acquire(&pool, "as old", other, brief).await?.is_none() {
                    assert_eq!(acquire(&pool, "test", other, brief).await?, None, "somebody is at it");
                    tokio::time::sleep(brief.every).await;
                }
                Ok(acquire(&pool, "test", other, brief).await?)
            };
            let meanwhile = once_in_rhythm(brief, &pool, "test", work).await.unwrap();
            assert_eq!(meanwhile, Some(None), "it is held longer than it is good for");
            assert!(acquire(&pool, "test", other, brief).await.unwrap().is_some(), "it is given back");
            assert_eq!(once_in_rhythm(brief, &pool, "test", async |_| Ok(())).await.unwrap(), None);
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_run_once_is_given_up_when_somebody_else_has_taken_over() {
        on_each_database(|pool| async move {
            let work = |lease: Lease| {
                let pool = &pool;
                async move {
                    take_over(pool, &lease).await;
                    assert!(make_sure(pool, &lease).await.is_err());
                    std::future::pending::<Result<()>>().await
                }
            };
            assert_eq!(run_once(&pool, "test", work).await.unwrap(), None);
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_run_once_is_not_done_if_somebody_else_has_taken_over_by_then() {
        on_each_database(|pool| async move {
            for ends_well in [true, false] {
                let work = async |lease: Lease| {
                    take_over(&pool, &lease).await;
                    if ends_well { Ok(()) } else { make_sure(&pool, &lease).await }
                };
                assert_eq!(run_once(&pool, "test", work).await.unwrap(), None);
                let other = Lease { name: "test", holder: OTHER, token: if ends_well { 2 } else { 4 } };
                assert!(release(&pool, &other).await.unwrap(), "it stays with whoever has it");
            }
        })
        .await;
    }

    const OTHER: Uuid = Uuid::from_u128(1);

    /// As if the time of the lease had passed.
    async fn take_over(pool: &Pool, lease: &Lease) {
        assert!(release(pool, lease).await.unwrap());
        acquire(pool, lease.name, OTHER, R).await.unwrap().expect("it is free");
    }

    async fn confirm(pool: &Pool, lease: &Lease) -> bool {
        let mut connection = pool.acquire(Access::Write).await.unwrap();
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await.unwrap();
        transaction.store().confirm_lease(lease).await.unwrap()
    }

    #[tokio::test]
    async fn whoever_starts_last_on_a_file_leads() {
        let pool = Pool::open("sqlite::memory:", Context::shared_default().clone()).unwrap();
        pool.migrate().await.unwrap();
        let dead = acquire(&pool, "test", Uuid::from_u128(1), Rhythm::FILE).await.unwrap().unwrap();
        let next = acquire(&pool, "test", Uuid::from_u128(2), Rhythm::FILE).await.unwrap().unwrap();
        assert_eq!(next.token, dead.token + 1);
        assert!(!confirm(&pool, &dead).await);
        assert_eq!(acquire(&pool, "test", Uuid::from_u128(1), R).await.unwrap(), None);
    }
}
