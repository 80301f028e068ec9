//! Those who wait until what they sent is committed.

use super::*;

#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_a_transaction() {
    let system = System::start(Memory::default());
    let commits = (0..100).map(|_| system.recorder.commit(vec![event("http")], vec![]));
    let answers = futures_util::future::join_all(commits).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(system.memory.sources().len(), 100);
    let transactions = system.memory.transactions.load(Ordering::Relaxed);
    assert!(transactions <= 2, "{transactions} transactions");
}

#[tokio::test(start_paused = true)]
async fn a_refused_commit_fails_alone() {
    let system = System::start(Memory { refused_sources: HashSet::from(["bad"]), ..Memory::default() });
    let (good, bad) = tokio::join!(
        system.recorder.commit(vec![event("good")], vec![]),
        system.recorder.commit(vec![event("bad"), event("good too")], vec![]),
    );
    assert!(good.is_ok());
    assert!(matches!(bad, Err(Error::Store(_))), "{bad:?}");
    assert_eq!(system.memory.sources(), ["good"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_during_an_outage_fails_and_stores_nothing() {
    let system = System::start(Memory { outages: AtomicU64::new(1), ..Memory::default() });
    let answer = system.recorder.commit(vec![event("a")], vec![]).await;
    assert!(matches!(answer, Err(Error::Store(error)) if error.is_transient()));
    assert!(system.memory.sources().is_empty());
}

#[tokio::test(start_paused = true)]
async fn callers_who_keep_coming_do_not_starve_the_layers() {
    let system = System::start(Memory { latency: Duration::from_millis(10), ..Memory::default() });
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let recorder = system.recorder.clone();
            tokio::spawn(async move {
                loop {
                    recorder.commit(vec![event("http")], vec![]).await.unwrap();
                }
            })
        })
        .collect();
    system.recorder.event(request("layer"));
    system.recorder.metric(increment("clicks_total", "1"));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(system.memory.sources().iter().any(|source| source == "layer"));
    assert_eq!(system.memory.total("clicks_total"), 1.0);
    callers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn what_callers_wait_for_is_bounded_in_bytes_also_while_the_database_hangs() {
    let memory = Memory { hung: AtomicBool::new(true), ..Memory::default() };
    let room = 10 * event("http").approximate_bytes();
    let system = System::start_with(memory, |settings| settings.ingest.buffer_bytes_max = room);
    let mut answers = Vec::new();
    for _ in 0..100 {
        let recorder = system.recorder.clone();
        answers.push(tokio::spawn(async move { recorder.commit(vec![event("http")], vec![]).await }));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let refused = futures_util::future::join_all(answers).await;
    let refused = refused.iter().filter(|answer| matches!(answer, Ok(Err(Error::Overloaded)))).count();
    assert_eq!(refused, 90);
    system.memory.hung.store(false, Ordering::Relaxed);
    system.recorder.commit(vec![event("http")], vec![]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_transaction_takes_a_bounded_number_of_items() {
    let system = System::start(Memory { latency: Duration::from_millis(50), ..Memory::default() });
    let commits = (0..100).map(|_| {
        let events = (0..100).map(|_| event("http")).collect();
        system.recorder.commit(events, vec![])
    });
    let answers = futures_util::future::join_all(commits).await;
    assert!(answers.iter().all(Result::is_ok));
    let largest = system.memory.largest.load(Ordering::Relaxed);
    assert!((100..=2_000).contains(&largest), "{largest} items");
    let alone = (0..5_000).map(|_| event("http")).collect();
    system.recorder.commit(alone, vec![]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn sums_are_written_in_bounded_transactions() {
    let system = System::start(Memory::default());
    for n in 0..12_000 {
        system.recorder.metric(increment("clicks_total", &n.to_string()));
    }
    system.recorder.flush().await.unwrap();
    assert_eq!(system.memory.total("clicks_total"), 12_000.0);
    let largest = system.memory.largest.load(Ordering::Relaxed);
    assert!(largest <= 5_000, "{largest} samples");
}

/// As a caller whose batches always run into the server's statement timeout.
#[tokio::test(start_paused = true)]
async fn a_caller_whose_commits_fail_keeps_nobody_else_waiting() {
    let (log, _guard) = log::Log::listen();
    let system = System::start(Memory { slow_for: Some("huge"), ..Memory::default() });
    let caller = tokio::spawn({
        let recorder = system.recorder.clone();
        async move {
            loop {
                let _ = recorder.commit(vec![event("huge")], vec![]).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    system.recorder.event(request("layer"));
    system.recorder.flush().await.expect("the layers' own writes work");
    assert_eq!(system.memory.sources(), ["layer"]);
    assert!(log.lines_with("").is_empty(), "the database is there: {:?}", log.lines_with(""));
    caller.abort();
}
