//! Series in memory: those that tests of rules make up, and for tests of the engine.

use super::{Delta, Found, LabelSet, Matcher, Reach, Samples, SeriesSource, SourceError, Wanted};

/// The series that were loaded.
#[derive(Default)]
pub(crate) struct Memory {
    series: Vec<(LabelSet, Samples)>,
    /// Series of which samples could not be loaded.
    #[cfg(test)]
    pub incomplete: Vec<LabelSet>,
}

/// A series, with the samples to add; without, if it has some that cannot be kept here.
#[cfg(test)]
pub(crate) type Loaded = (LabelSet, Option<Vec<(i64, f64)>>);

impl Memory {
    /// Of a series that is given twice, the last counts.
    #[cfg(test)]
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
        let (last, first) = (known.times.last(), samples.first());
        if last.zip(first).is_none_or(|(last, (first, _))| last < first)
            && samples.is_sorted_by_key(|(time, _)| *time)
        {
            known.times.extend(samples.iter().map(|(time, _)| time));
            known.values.extend(samples.iter().map(|(_, value)| value));
            return;
        }
        let old: std::collections::HashSet<_> = known.times.iter().copied().collect();
        let mut all: Vec<_> = known.times.iter().copied().zip(known.values.iter().copied()).collect();
        all.extend(samples.into_iter().filter(|(time, _)| !old.contains(time)));
        all.sort_by_key(|(time, _)| *time);
        (known.times, known.values) = all.into_iter().unzip();
    }

    /// A delta series that had reached `before` when these increments were added.
    #[cfg(test)]
    pub(crate) fn add_increments(
        &mut self,
        labels: LabelSet,
        before: Option<f64>,
        increments: Vec<(i64, f64)>,
    ) {
        let (times, increments): (Vec<_>, Vec<_>) = increments.into_iter().unzip();
        let total = |total: &mut f64, increment: &f64| {
            *total += increment;
            Some(*total)
        };
        let values = increments.iter().scan(before.unwrap_or_default(), total).collect();
        self.series.push((labels, Samples { times, values, delta: Some(Delta { increments, before }) }));
    }
}

/// The samples within reach, as a source must hand them out.
fn within(samples: &Samples, reach: Reach, wanted: Wanted) -> Samples {
    let start = samples.times.partition_point(|time| *time <= reach.after);
    let end = samples.times.partition_point(|time| *time <= reach.until).max(start);
    let mut values = samples.values[start..end].to_vec();
    let delta = samples.delta.as_ref().map(|delta| {
        let before = start.checked_sub(1).map(|last| samples.values[last]).or(delta.before);
        if wanted == Wanted::Increments {
            // Where totals begin is anybody's guess, if nobody wants them.
            values.iter_mut().for_each(|value| *value -= 1e6);
        }
        Delta { increments: delta.increments[start..end].to_vec(), before }
    });
    Samples { times: samples.times[start..end].to_vec(), values, delta }
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
        wanted: Wanted,
    ) -> Result<Vec<Samples>, SourceError> {
        Ok(series.iter().map(|found| within(&self.series[found.key].1, reach, wanted)).collect())
    }
}
