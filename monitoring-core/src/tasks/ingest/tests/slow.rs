//! A database that is there, and takes too long for large batches.

use super::*;

/// Flushes until it works, for an hour of stopped time at most.
async fn flush_in_the_end(system: &System) {
    let flushed = async { while system.recorder.flush().await.is_err() {} };
    let flushed = tokio::time::timeout(Duration::from_secs(3_600), flushed).await;
    flushed.expect("what it cannot write at once is written in parts");
}

async fn large_batches_are_written_in_parts(is_silent: bool) {
    let manages = AtomicU64::new(60);
    let system = System::start(Memory { manages, is_silent, ..Memory::default() });
    let names: Vec<_> = (0..1_500).map(|n| format!("app-{n}")).collect();
    for name in &names {
        system.recorder.event(request(name));
        system.recorder.metric(increment("clicks_total", name));
    }
    flush_in_the_end(&system).await;
    assert_eq!(system.memory.sources(), names);
    assert_eq!(system.memory.total("clicks_total"), 1_500.0);
    assert_eq!(system.recorder.shed_total(ShedReason::Refused), 0);
}

#[tokio::test(start_paused = true)]
async fn what_meets_the_statement_timeout_is_written_in_parts() {
    large_batches_are_written_in_parts(false).await;
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_writers_patience_is_written_in_parts() {
    large_batches_are_written_in_parts(true).await;
}

#[tokio::test(start_paused = true)]
async fn batches_grow_again_once_the_database_manages_them() {
    let system = System::start(Memory { manages: AtomicU64::new(1), ..Memory::default() });
    let write = async |events: usize| {
        for _ in 0..events {
            system.recorder.event(request("app"));
        }
        flush_in_the_end(&system).await;
    };
    write(100).await;
    system.memory.manages.store(0, Ordering::Relaxed);
    write(6_000).await;
    let before = system.memory.transactions.load(Ordering::Relaxed);
    write(6_000).await;
    let transactions = system.memory.transactions.load(Ordering::Relaxed) - before;
    assert!(transactions < 12, "{transactions} transactions");
}

#[tokio::test(start_paused = true)]
async fn a_single_event_that_takes_too_long_is_kept_and_tried_again() {
    let manages = AtomicU64::new(1);
    let system = System::start(Memory { manages, is_silent: true, ..Memory::default() });
    system.memory.hung.store(true, Ordering::Relaxed);
    system.recorder.event(request("app"));
    for _ in 0..10 {
        assert!(system.recorder.flush().await.is_err());
    }
    assert_eq!(system.recorder.shed_total(ShedReason::Refused), 0);
    system.memory.hung.store(false, Ordering::Relaxed);
    flush_in_the_end(&system).await;
    assert_eq!(system.memory.sources(), ["app"]);
}
