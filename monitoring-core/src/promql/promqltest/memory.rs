//! Series in memory.

use crate::promql::{Found, LabelSet, Matcher, Reach, Samples, SeriesSource, SourceError, Wanted};

/// What scripts have loaded.
#[derive(Default)]
pub(crate) struct Memory {
    series: Vec<(LabelSet, Samples)>,
    /// Series of which samples could not be loaded.
    pub incomplete: Vec<LabelSet>,
}

/// A series, with the samples to add; without, if it has some that cannot be kept here.
pub(crate) type Loaded = (LabelSet, Option<Vec<(i64, f64)>>);

impl Memory {
    /// Of a series that is given twice, the last counts.
    pub(crate) fn load(&mut self, series: Vec<Loaded>) {
        let last: std::collections::BTreeMap<_, _> = series.iter().cloned().collect();
        let mut seen = std::collections::HashSet::new();
        let order = series.into_iter().map(|(labels, _)| labels).filter(|labels| seen.insert(labels.clone()));
        let series: Vec<_> = order.map(|labels| (labels.clone(), last[&labels].clone())).collect();
        for (labels, samples) in series {
            match samples {
                Some(samples) => self.add(labels, samples),
                None => self.incomplete.push(labels),
            }
        }
    }

    pub(crate) fn add(&mut self, labels: LabelSet, samples: Vec<(i64, f64)>) {
        let place = self.series.iter().position(|(other, _)| *other == labels).unwrap_or_else(|| {
            self.series.push((labels, Samples::default()));
            self.series.len() - 1
        });
        let known = &mut self.series[place].1;
        let old: std::collections::HashSet<_> = known.times.iter().copied().collect();
        let mut all: Vec<_> = known.times.iter().copied().zip(known.values.iter().copied()).collect();
        all.extend(samples.into_iter().filter(|(time, _)| !old.contains(time)));
        all.sort_by_key(|(time, _)| *time);
        (known.times, known.values) = all.into_iter().unzip();
    }
}

impl SeriesSource for Memory {
    type Key = usize;

    async fn find(
        &self,
        matchers: &[Matcher],
        _reach: Reach,
        _max: usize,
    ) -> Result<Vec<Found<usize>>, SourceError> {
        let fits = |labels: &LabelSet| matchers.iter().all(|m| m.accepts(labels.value(&m.name)));
        let found = self.series.iter().enumerate().filter(|(_, (labels, _))| fits(labels));
        Ok(found.map(|(key, (labels, _))| Found { labels: labels.clone(), key }).collect())
    }

    async fn samples(
        &self,
        series: &[Found<usize>],
        reach: Reach,
        _wanted: Wanted,
    ) -> Result<Vec<Samples>, SourceError> {
        let within = |found: &Found<usize>| {
            let samples = &self.series[found.key].1;
            let start = samples.times.partition_point(|time| *time <= reach.after);
            let end = samples.times.partition_point(|time| *time <= reach.until).max(start);
            let times = samples.times[start..end].to_vec();
            Samples { times, values: samples.values[start..end].to_vec(), delta: None }
        };
        Ok(series.iter().map(within).collect())
    }
}
