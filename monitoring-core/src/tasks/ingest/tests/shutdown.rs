//! How the pipeline ends, and what it says it left behind.

use super::*;

#[tokio::test(start_paused = true)]
async fn shutdown_writes_what_is_left() {
    let system = System::start(Memory::default());
    for _ in 0..5_000 {
        system.recorder.event(request("app"));
        system.recorder.metric(increment("clicks_total", "1"));
    }
    assert_eq!(system.stop(Duration::from_secs(5)).await, 0);
    assert_eq!(system.memory.sources().len(), 5_000);
    assert_eq!(system.memory.total("clicks_total"), 5_000.0);
    system.recorder.event(request("late"));
    assert_eq!(system.recorder.shed_total(ShedReason::ShutDown), 1);
    assert!(matches!(system.recorder.flush().await, Err(Error::ShutDown)));
}

#[tokio::test(start_paused = true)]
async fn shutdown_without_a_database_ends_in_time_and_reports_what_is_left() {
    let system = System::start(Memory { outages: AtomicU64::new(u64::MAX), ..Memory::default() });
    for _ in 0..10 {
        system.recorder.event(request("app"));
    }
    let start = Instant::now();
    assert!(system.stop(Duration::from_secs(2)).await >= 10);
    assert!(start.elapsed() <= Duration::from_secs(4));
    assert!(system.recorder.shed_total(ShedReason::ShutDown) >= 10);
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_when_the_deadline_passes_is_reported() {
    let system = System::start(Memory { hung: AtomicBool::new(true), ..Memory::default() });
    for _ in 0..10 {
        system.recorder.event(request("app"));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    system.recorder.metric(increment("clicks_total", "1"));
    assert!(system.stop(Duration::from_secs(2)).await >= 11);
}

#[tokio::test(start_paused = true)]
async fn a_second_shutdown_waits_for_the_first() {
    let system = System::start(Memory { latency: Duration::from_secs(1), ..Memory::default() });
    system.recorder.event(request("app"));
    tokio::join!(system.stop(Duration::from_secs(5)), system.stop(Duration::from_secs(5)));
    let system = System::start(Memory { latency: Duration::from_secs(1), ..Memory::default() });
    system.recorder.event(request("app"));
    let mut first = Box::pin(system.stop(Duration::from_secs(9)));
    tokio::select! {
        biased;
        _ = &mut first => panic!("the database is not that fast"),
        () = tokio::task::yield_now() => {}
    }
    system.stop(Duration::from_secs(9)).await;
    assert_eq!(system.memory.sources(), ["app"], "the second returned, so it is written");
}

#[tokio::test(start_paused = true)]
async fn a_system_dropped_without_shutdown_writes_what_it_has_and_takes_no_more() {
    let System { memory, recorder, supervisor, .. } = System::start(Memory::default());
    recorder.event(request("app"));
    drop(supervisor);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(memory.sources(), ["app"]);
    recorder.event(request("late"));
    assert_eq!(recorder.shed_total(ShedReason::ShutDown), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_goes_on_when_nobody_waits_for_it_and_a_second_learns_of_its_end() {
    let system = System::start(Memory { latency: Duration::from_secs(1), ..Memory::default() });
    system.recorder.event(request("app"));
    let first = tokio::time::timeout(Duration::from_millis(10), system.stop(Duration::from_secs(50)));
    assert!(first.await.is_err(), "it was given up");
    let start = Instant::now();
    assert_eq!(system.stop(Duration::from_secs(50)).await, 0);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(system.memory.sources(), ["app"]);
}

#[tokio::test(start_paused = true)]
async fn what_callers_wait_for_is_reported_too() {
    let system = System::start(Memory { hung: AtomicBool::new(true), ..Memory::default() });
    let observation = |n: &str| system.recorder.context().observation(increment("clicks_total", n)).unwrap();
    // One is under way, the other waits behind it.
    for n in ["1", "2"] {
        let (recorder, seen) = (system.recorder.clone(), vec![observation(n), observation("x")]);
        tokio::spawn(async move { recorder.commit(vec![event("http")], seen).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(system.stop(Duration::from_secs(2)).await, 6);
    assert_eq!(system.recorder.shed_total(ShedReason::ShutDown), 6);
}

#[tokio::test(start_paused = true)]
async fn sums_behind_a_failing_write_are_reported_too() {
    let system = System::start(Memory { outages: AtomicU64::new(u64::MAX), ..Memory::default() });
    system.recorder.metric(increment("clicks_total", "1"));
    tokio::time::sleep(Duration::from_secs(15)).await;
    for n in 2..=10 {
        system.recorder.metric(increment("clicks_total", &n.to_string()));
    }
    assert!(system.stop(Duration::from_secs(2)).await >= 10);
}

#[tokio::test(start_paused = true)]
async fn any_deadline_will_do() {
    let system = System::start(Memory::default());
    system.recorder.event(request("app"));
    assert_eq!(system.stop(Duration::MAX / 2).await, 0);
}
