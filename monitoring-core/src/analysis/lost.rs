//! Where hardly anything comes any more: no requests at all, or none to one source.
//!
//! Other comparisons are by request, and where there are none they have nothing to say. What counts is that
//! no stretch of the time before was nearly as quiet.

use std::collections::{BTreeMap, BTreeSet};

use super::input::{Axis, Seen};
use super::requests::Requests;
use super::statistics::{median, poisson_at_most};
use super::weighted::Count;

/// What may be left of the quietest stretch before.
const LEFT_MAX: f64 = 0.1;
/// What must have been expected, in observations.
const EXPECTED_MIN: f64 = 20.0;
/// Buckets of silence there must be.
const BUCKETS_MIN: usize = 2;
const P_MAX: f64 = 1e-6;
const TOLD_MAX: usize = 5;

/// Traffic that was lost.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    /// Whose; `None` if there are no requests at all.
    pub source: Option<String>,
    /// Whether requests are counted, or what the source says.
    pub is_of_requests: bool,
    /// A bucket, usually and since.
    pub before: f64,
    pub after: f64,
    pub bucket: usize,
    pub p_value: f64,
    /// The last events before.
    pub events: Vec<usize>,
}

#[derive(Default)]
struct Traffic {
    per_bucket: Vec<f64>,
    all: Count,
    is_of_requests: bool,
    events: Vec<usize>,
}

impl Traffic {
    fn new(axis: &Axis, is_of_requests: bool) -> Self {
        Self { per_bucket: vec![0.0; axis.count], is_of_requests, ..Self::default() }
    }

    fn add(&mut self, bucket: usize, weight: f64, event: Option<usize>) {
        self.per_bucket[bucket] += weight;
        self.all.add(weight);
        self.events.extend(event);
    }
}

/// Finds traffic that was lost in `earliest` or later.
pub(super) fn lost_traffic(events: &[Seen], requests: &Requests, axis: &Axis, earliest: usize) -> Vec<Lost> {
    let mut whole = Traffic::new(axis, requests.has_known());
    for request in requests.all.iter().filter(|request| request.is_known || !requests.has_known()) {
        whole.add(request.bucket, request.weight, request.events.first().copied());
    }
    if let Some(lost) = lost(None, &whole, axis, earliest) {
        return vec![lost];
    }
    let sources = of_sources(events, requests, axis);
    let mut found: Vec<Lost> =
        sources.iter().filter_map(|(source, traffic)| lost(Some(source), traffic, axis, earliest)).collect();
    // Under another name it goes on.
    let is_new = |traffic: &Traffic, from: usize, rate: f64| {
        let (early, late) = traffic.per_bucket.split_at(from.saturating_sub(BUCKETS_MIN));
        early.iter().sum::<f64>() == 0.0 && late.iter().sum::<f64>() >= 0.5 * rate * late.len() as f64
    };
    found.retain(|lost| !sources.values().any(|traffic| is_new(traffic, lost.bucket, lost.before)));
    found.sort_by(|a, b| b.before.total_cmp(&a.before).then_with(|| a.source.cmp(&b.source)));
    found.truncate(TOLD_MAX);
    found
}

/// Requests a source works on; what it says, where it works on none.
fn of_sources<'e>(events: &'e [Seen], requests: &Requests, axis: &Axis) -> BTreeMap<&'e str, Traffic> {
    let mut sources: BTreeMap<&str, Traffic> = BTreeMap::new();
    for request in requests.all.iter().filter(|request| request.is_known) {
        let of_request: BTreeSet<&str> =
            request.events.iter().map(|place| events[*place].event.source.as_str()).collect();
        for source in of_request {
            let traffic = sources.entry(source).or_insert_with(|| Traffic::new(axis, true));
            traffic.add(request.bucket, request.weight, request.events.first().copied());
        }
    }
    for (place, Seen { event, weight, .. }) in events.iter().enumerate() {
        let has_id = event.trace_id.is_some() || event.request_id.is_some();
        let Some(bucket) = axis.bucket_of(event.timestamp).filter(|_| !has_id && *weight > 0.0) else {
            continue;
        };
        let traffic = sources.entry(&event.source).or_insert_with(|| Traffic::new(axis, false));
        if !traffic.is_of_requests {
            traffic.add(bucket, *weight, Some(place));
        }
    }
    sources
}

fn lost(source: Option<&&str>, traffic: &Traffic, axis: &Axis, earliest: usize) -> Option<Lost> {
    let counts = &traffic.per_bucket;
    let usual = median(counts[..earliest.max(counts.len() / 4).min(counts.len())].iter().copied());
    // The silence reaches back to the last bucket that was as usual.
    let from = counts.iter().rposition(|count| *count > 0.5 * usual)? + 1;
    let length = counts.len() - from;
    if from < earliest.max(2) || length < BUCKETS_MIN || from < length.min(counts.len() / 4) {
        return None;
    }
    let (early, late) = counts.split_at(from);
    let quietest = early
        .windows(length.min(early.len() / 3).max(1))
        .map(|stretch| stretch.iter().sum::<f64>() / stretch.len() as f64)
        .fold(f64::INFINITY, f64::min);
    let (seen, expected) = (late.iter().sum::<f64>(), quietest * length as f64);
    let each = traffic.all.each();
    if seen > LEFT_MAX * expected || expected < EXPECTED_MIN * each {
        return None;
    }
    let p_value = poisson_at_most((seen / each).ceil(), expected / each);
    (p_value <= P_MAX).then(|| Lost {
        source: source.map(|source| (*source).to_owned()),
        is_of_requests: traffic.is_of_requests,
        before: usual,
        after: seen / length as f64,
        bucket: from.min(axis.count - 1),
        p_value,
        events: traffic.events.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::made::{axis, one_in, seen};

    fn found(events: &[Seen]) -> Vec<Option<String>> {
        let axis = axis();
        let requests = Requests::of(events, &axis, axis.count / 2);
        lost_traffic(events, &requests, &axis, axis.count / 6).into_iter().map(|lost| lost.source).collect()
    }

    /// Requests of two sources, at random; whoever asks says which come.
    fn requests(comes: impl Fn(i64, &str) -> bool) -> Vec<Seen> {
        let mut events = Vec::new();
        for second in (0..3_600).filter(|second| one_in(*second as u64, 3, 500)) {
            for source in ["shop", "search"].into_iter().filter(|source| comes(second, source)) {
                let request = json!({"source": source, "trace_id": format!("{source}{second}")});
                events.push(seen(second, request));
            }
        }
        events
    }

    #[test]
    fn when_no_requests_come_any_more_that_is_found() {
        assert_eq!(found(&requests(|second, _| second < 3_000)), [None]);
        assert!(found(&requests(|_, _| true)).is_empty());
        assert!(
            found(&requests(|second, _| second < 3_000 || second % 2 == 0)).is_empty(),
            "half is not none"
        );
        assert!(found(&requests(|second, _| second < 3_560)).is_empty(), "it may be the end of a bucket");
    }

    #[test]
    fn a_source_that_nobody_asks_any_more_is_named() {
        assert_eq!(
            found(&requests(|second, source| source == "shop" || second < 3_000)),
            [Some("search".to_owned())]
        );
    }

    #[test]
    fn what_comes_and_goes_or_has_another_name_is_not_lost() {
        let now_and_then = requests(|second, source| source == "shop" || second % 1_200 < 600);
        assert!(found(&now_and_then).is_empty(), "{:?}", found(&now_and_then));
        let mut renamed = requests(|_, _| true);
        for seen in renamed.iter_mut().filter(|seen| seen.event.source == "search") {
            if seen.event.timestamp > crate::analysis::made::start() + chrono::TimeDelta::minutes(50) {
                "finder".clone_into(&mut seen.event.source);
            }
        }
        assert!(found(&renamed).is_empty(), "{:?}", found(&renamed));
    }
}
