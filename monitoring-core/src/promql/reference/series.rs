//! Series as the reference sees them, and random ones.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::promql::Memory;

pub(super) type Labels = BTreeMap<String, String>;

pub(super) const NAME: &str = "__name__";

/// The value that marks the end of a series.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

pub(super) fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

#[derive(Clone, PartialEq)]
pub(super) struct Series {
    pub labels: Labels,
    pub kind: Kind,
    /// Milliseconds and readings, or milliseconds and increments.
    pub samples: Vec<(i64, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// As Prometheus keeps them.
    Readings,
    /// Increments, which are summed on reading. Some may be known by their total only.
    Increments { before: Option<f64> },
}

impl Series {
    /// What has been counted until then, if there was anything.
    pub(super) fn total(&self, time: i64) -> Option<f64> {
        let Kind::Increments { before } = self.kind else { return None };
        let counted = self.samples.iter().filter(|(sampled, _)| *sampled <= time);
        counted.fold(before, |total, (_, increment)| Some(total.unwrap_or(0.0) + increment))
    }
}

/// A line a series, for whoever has to find out why a case failed.
impl std::fmt::Debug for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let labels: Vec<_> = self.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(f, "{{{}}} {:?}:", labels.join(", "), self.kind)?;
        for (time, value) in &self.samples {
            let value = if is_stale(*value) { "stale".to_owned() } else { value.to_string() };
            write!(f, " {value}@{time}")?;
        }
        Ok(())
    }
}

/// The same series, where the engine reads them.
pub(super) fn memory(series: &[Series]) -> Memory {
    let mut memory = Memory::default();
    for Series { labels, kind, samples } in series {
        let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        match kind {
            Kind::Readings => memory.add(labels, samples.clone()),
            Kind::Increments { before } => memory.add_increments(labels, *before, samples.clone()),
        }
    }
    memory
}

/// Counters that begin anew, readings with values that are none, buckets, and increments, under
/// few names and labels, so that they meet.
pub(super) fn some_series() -> impl Strategy<Value = Vec<Series>> {
    prop::collection::vec(one_series(), 0..10).prop_map(|mut all| {
        let mut known = BTreeSet::new();
        all.retain(|series| known.insert(series.labels.clone()));
        all
    })
}

fn one_series() -> impl Strategy<Value = Series> {
    let labels = (prop::sample::select(vec!["a", "b"]), prop::sample::select(vec!["", "1", "2"]));
    (labels, 0..5_u8, samples()).prop_flat_map(|((job, instance), kind, samples)| {
        let labels = labels_of(&[("job", job), ("instance", instance)]);
        match kind {
            0 => named(labels, "c", Kind::Readings, samples).boxed(),
            1 => named(labels, "g", Kind::Readings, samples).boxed(),
            2 => named(labels, "e", Kind::Readings, samples).boxed(),
            3 => {
                let bounds = prop::sample::select(vec!["0.5", "1", "2.0", "+Inf", "+Inf"]);
                (bounds, named(labels_of(&[("job", job)]), "h_bucket", Kind::Readings, samples))
                    .prop_map(|(bound, mut series)| {
                        series.labels.insert("le".to_owned(), bound.to_owned());
                        series
                    })
                    .boxed()
            }
            _ => (prop::option::of(0..50_u8), Just(samples))
                .prop_flat_map(move |(before, samples)| {
                    let before = before.map(f64::from);
                    named(labels.clone(), "d", Kind::Increments { before }, samples)
                })
                .boxed(),
        }
    })
}

/// The values of a series follow from its name.
fn named(
    mut labels: Labels,
    name: &str,
    kind: Kind,
    raw: Vec<(i64, Raw)>,
) -> impl Strategy<Value = Series> + use<> {
    labels.insert(NAME.to_owned(), name.to_owned());
    let (mut total, mut samples) = (0.0, Vec::new());
    for (time, raw) in raw {
        let value = match (name, raw) {
            ("d", Raw::Number(n)) => f64::from(n).abs(),
            ("d", _) => 0.0,
            (_, Raw::Stale) => f64::from_bits(STALE_BITS),
            // A counter goes up, and now and then it begins anew.
            ("c" | "h_bucket", Raw::Number(n)) => {
                total = if n < -35.0 { 0.0 } else { total + f64::from(n).abs() };
                total
            }
            (_, Raw::Number(n)) => f64::from(n),
            ("g", Raw::Strange(value)) => value,
            _ => total,
        };
        samples.push((time, value));
    }
    Just(Series { labels, kind, samples })
}

fn labels_of(pairs: &[(&str, &str)]) -> Labels {
    let set = pairs.iter().filter(|(_, value)| !value.is_empty());
    set.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[derive(Clone, Copy, Debug)]
enum Raw {
    /// Eighths, so that sums of a few are exact in any order.
    Number(f32),
    Strange(f64),
    Stale,
}

/// Times from zero on, unevenly far apart, now and then by more than the look-back.
fn samples() -> impl Strategy<Value = Vec<(i64, Raw)>> {
    let raw = prop_oneof![
        12 => (-320..320_i16).prop_map(|eighths| Raw::Number(f32::from(eighths) / 8.0)),
        4 => (-3..4_i16).prop_map(|n| Raw::Number(f32::from(n))),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300])
            .prop_map(Raw::Strange),
        1 => Just(Raw::Stale),
    ];
    let gap = prop_oneof![
        6 => Just(15_000_i64),
        3 => prop::sample::select(vec![30_000_i64, 60_000]),
        2 => 1..40_000_i64,
        1 => 200_000..700_000_i64,
    ];
    (0..120_000_i64, prop::collection::vec((gap, raw), 0..30)).prop_map(|(first, pieces)| {
        let mut time = first;
        let after = |(gap, raw)| {
            time += gap;
            (time, raw)
        };
        pieces.into_iter().map(after).collect()
    })
}
