//! What the pipeline writes about itself.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_idle_system_writes_nothing_about_itself() {
    let system = System::start(Memory::default());
    system.recorder.event(request("app"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(system.memory.total("monitoring_events_total"), 1.0);
    let transactions = system.memory.transactions.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(system.memory.transactions.load(Ordering::Relaxed), transactions);
}

#[tokio::test(start_paused = true)]
async fn counters_of_losses_exist_before_the_first_loss() {
    let system = System::start(Memory::default());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(system.memory.samples.lock().unwrap().is_empty(), "nobody sent anything");
    system.recorder.event(request("app"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let samples = system.memory.samples.lock().unwrap();
    let shown = |name: &str, label: &str, value: &str| {
        let of =
            |series: &crate::model::Series| series.name == name && series.labels.value(label) == Some(value);
        samples.iter().any(|(series, _)| of(series))
    };
    for reason in ShedReason::ALL {
        assert!(shown("monitoring_ingest_shed_total", "reason", reason.as_str()), "{reason:?}");
    }
    for kind in ["event", "observation"] {
        assert!(shown("monitoring_ingest_written_total", "kind", kind), "{kind}");
    }
    assert!(samples.iter().any(|(series, _)| series.name == "monitoring_ingest_truncated_total"));
    let zeros = samples.iter().filter(|(series, _)| series.name == "monitoring_ingest_shed_total");
    assert_eq!(zeros.count(), ShedReason::ALL.len(), "and are told once");
}

#[tokio::test(start_paused = true)]
async fn a_time_out_of_range_is_shed() {
    let system = System::start(Memory::default());
    for year in ["1999", "2999"] {
        let timestamp = format!("{year}-01-01T00:00:00Z").parse().ok();
        system.recorder.event(CreateEventRequest { timestamp, ..request("app") });
    }
    system.recorder.flush().await.unwrap();
    assert!(system.memory.sources().is_empty());
    assert_eq!(system.recorder.shed_total(ShedReason::Invalid), 2);
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_do_not_use_up_a_metrics_series() {
    let memory = Memory { refuses_to_store: AtomicU64::new(50), ..Memory::default() };
    let system = System::start_with(memory, |settings| settings.limits.series_per_metric_max = 10);
    system.recorder.metric(increment("clicks_total", "1"));
    while system.recorder.flush().await.is_err() {}
    assert_eq!(system.memory.total("clicks_total"), 1.0);
    assert_eq!(system.recorder.shed_total(ShedReason::SeriesLimit), 0);
}
