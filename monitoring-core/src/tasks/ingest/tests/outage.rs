//! What the log says of a database that goes away.

use super::log::Log;
use super::*;

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_once_and_so_is_its_end() {
    let (log, _guard) = Log::listen();
    let room = 10 * event("app").approximate_bytes();
    let memory = Memory { outages: AtomicU64::new(u64::MAX), ..Memory::default() };
    let system = System::start_with(memory, |settings| settings.ingest.buffer_bytes_max = room);
    system.recorder.event(request("app"));
    tokio::time::sleep(Duration::from_secs(30)).await;
    for _ in 0..14 {
        system.recorder.event(request("app"));
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(system.recorder.commit(vec![event("http")], vec![]).await.is_err());
    assert_eq!(log.lines_with("cannot be written to").len(), 1);
    assert!(log.lines_with("WARN")[0].contains("closed pool"), "the cause: {:?}", log.lines_with("WARN"));
    assert!(log.lines_with("INFO").is_empty());

    system.memory.outages.store(0, Ordering::Relaxed);
    while system.recorder.flush().await.is_err() {}
    assert_eq!(system.memory.sources().len(), 10);
    let back = log.lines_with("INFO");
    assert_eq!(back.len(), 1, "{back:?}");
    assert!(back[0].ends_with(" shed=5"), "{back:?}");
    let waited = back[0].split(" waited=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(waited.parse::<u64>().unwrap() >= 10, "ten events and what counts them: {back:?}");
    assert_eq!(log.lines_with("WARN").len(), 1);

    system.memory.outages.store(1, Ordering::Relaxed);
    system.recorder.event(request("app"));
    assert!(system.recorder.flush().await.is_err());
    while system.recorder.flush().await.is_err() {}
    assert_eq!((log.lines_with("WARN").len(), log.lines_with("INFO").len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_fails_beside_what_works_is_told_once_and_tried_ever_more_rarely() {
    let (log, _guard) = Log::listen();
    let system = System::start(Memory { takes_no_samples: AtomicBool::new(true), ..Memory::default() });
    for _ in 0..600 {
        system.recorder.event(request("app"));
        system.recorder.metric(increment("clicks_total", "1"));
        system.recorder.commit(vec![event("http")], vec![]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(system.memory.sources().iter().filter(|source| *source == "http").count(), 600);
    assert_eq!((log.lines_with("WARN").len(), log.lines_with("INFO").len()), (1, 0));

    system.memory.takes_no_samples.store(false, Ordering::Relaxed);
    while system.recorder.flush().await.is_err() {}
    assert_eq!(system.memory.total("clicks_total"), 600.0);
    let back = log.lines_with("INFO");
    assert_eq!(back.len(), 1, "{back:?}");
    let attempts = back[0].split("failed_attempts=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(attempts.parse::<u64>().unwrap() < 30, "{back:?}");
}

/// A request that is refused from memory says nothing about the database.
#[tokio::test(start_paused = true)]
async fn what_was_not_asked_of_the_database_does_not_end_an_outage() {
    let (log, _guard) = Log::listen();
    let system = System::start(Memory::default());
    let observation = |metric_type| {
        let request = CreateMetricRequest { metric_type, ..increment("clicks_total", "1") };
        system.recorder.context().observation(request).unwrap()
    };
    system.recorder.commit(vec![], vec![observation(MetricType::Gauge)]).await.unwrap();
    system.memory.outages.store(u64::MAX, Ordering::Relaxed);
    system.recorder.event(request("app"));
    assert!(system.recorder.flush().await.is_err());
    let refused = system.recorder.commit(vec![], vec![observation(MetricType::Counter)]).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert!(log.lines_with("INFO").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_caller_learns_when_nobody_knows_whether_it_is_stored() {
    let system = System::start(Memory { hung: AtomicBool::new(true), ..Memory::default() });
    let answer = system.recorder.commit(vec![event("a")], vec![]).await;
    assert!(matches!(answer, Err(Error::Unconfirmed { .. })), "{answer:?}");

    let commit = |source| {
        let recorder = system.recorder.clone();
        tokio::spawn(async move { recorder.commit(vec![event(source)], vec![]).await })
    };
    let under_way = commit("under way");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let behind = commit("behind");
    tokio::time::sleep(Duration::from_millis(10)).await;
    system.stop(Duration::from_secs(2)).await;
    let under_way = under_way.await.unwrap();
    assert!(matches!(under_way, Err(Error::Unconfirmed { .. })), "{under_way:?}");
    let behind = behind.await.unwrap();
    assert!(matches!(behind, Err(Error::ShutDown)), "{behind:?}");
}
