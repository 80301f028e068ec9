//! Labels as layers send them: too long, too many, with what no database takes.

use super::*;
use crate::ingest::{Decode, Decoded, Deferred, Ticks};
use crate::model::{Labels, Series, Temporality};

/// Observes one series for each record.
struct Observes(Series);

impl Decode for Observes {
    fn decode(&mut self, record: &Deferred, decoded: &mut Decoded<'_>) {
        decoded.observe(&self.0, 1.0, decoded.time(record.start));
    }
}

/// What becomes of a histogram's labels that are observed twice, and how many records count as cut.
async fn stored(labels: Labels) -> (Labels, u64) {
    let system = System::start(Memory::default());
    let name = "work_seconds".to_owned();
    let series = Series::new(name, labels, MetricType::Histogram, Temporality::Delta, vec![1.0]);
    let lane = system.recorder.lane(Observes(series));
    for _ in 0..2 {
        lane.push(&mut Deferred::at(Ticks::now(), None));
    }
    system.recorder.flush().await.unwrap();
    assert_eq!(system.memory.total("work_seconds"), 2.0);
    let samples = system.memory.samples.lock().unwrap();
    let (series, sample) = samples.iter().find(|(series, _)| series.name == "work_seconds").unwrap();
    let Series { name, labels, metric_type, temporality, bounds, .. } = series.clone();
    assert_eq!(Series::new(name, labels.clone(), metric_type, temporality, bounds).id, series.id);
    assert_eq!(sample.series_id, series.id);
    (labels, system.recorder.shared().queue.counters.truncated_total())
}

#[tokio::test(start_paused = true)]
async fn a_long_label_is_cut_with_a_mark_and_counted() {
    let (labels, cut) = stored([("path", "p".repeat(501))].into_iter().collect()).await;
    assert_eq!(labels.value("path"), Some(format!("{}…", "p".repeat(499)).as_str()));
    assert_eq!(cut, 2);
}

#[tokio::test(start_paused = true)]
async fn labels_past_their_number_are_left_out_and_counted() {
    let (labels, cut) = stored((10..70).map(|n| (format!("l{n}"), "v")).collect()).await;
    let names: Vec<_> = labels.iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, Vec::from_iter((10..60).map(|n| format!("l{n}"))));
    assert_eq!(cut, 2);
}

#[tokio::test(start_paused = true)]
async fn labels_whose_names_no_series_may_have_are_left_out_and_counted() {
    let long = "n".repeat(101);
    let names = ["ok", "not ok", "__name__", "le", "nul\0", long.as_str()];
    let (labels, cut) = stored(names.into_iter().map(|name| (name, "v")).collect()).await;
    assert_eq!(labels, [("ok", "v")].into_iter().collect());
    assert_eq!(cut, 2);
}

#[tokio::test(start_paused = true)]
async fn nul_in_a_label_is_replaced() {
    let (labels, cut) = stored([("path", "a\0b")].into_iter().collect()).await;
    assert_eq!(labels.value("path"), Some("a\u{fffd}b"));
    assert_eq!(cut, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_has_no_secrets_left_either() {
    let long = "p".repeat(501);
    let (labels, cut) = stored([("path", long.as_str()), ("token", "s3cret")].into_iter().collect()).await;
    assert_eq!(labels.value("token"), Some("[redacted]"));
    assert_eq!(labels.value("path").map(|path| path.chars().count()), Some(500));
    assert_eq!(cut, 2);
}
