//! Series in memory: those that tests of rules make up, and for tests of the engine.

use std::collections::HashMap;

use super::{
    Budget, Delta, Found, LabelSet, Matcher, QueryResult, Reach, Samples, SeriesSource, SourceError, Wanted,
};

/// The series that were loaded.
#[derive(Default)]
pub(crate) struct Memory {
    series: Vec<(LabelSet, Samples)>,
    places: HashMap<LabelSet, usize>,
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

    /// Of two samples of one time, the first counts.
    pub(crate) fn add(&mut self, labels: LabelSet, samples: impl IntoIterator<Item = (i64, f64)>) {
        let place = *self.places.entry(labels).or_insert_with_key(|labels| {
            self.series.push((labels.clone(), Samples::default()));
            self.series.len() - 1
        });
        let known = &mut self.series[place].1;
        for (time, value) in samples {
            // Nearly always at the end.
            let place = known.times.partition_point(|known| *known < time);
            if known.times.get(place) != Some(&time) {
                known.times.insert(place, time);
                known.values.insert(place, value);
            }
        }
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
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
        self.places.insert(labels.clone(), self.series.len());
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
        _budget: &mut Budget,
    ) -> QueryResult<Vec<Samples>> {
        Ok(series.iter().map(|found| within(&self.series[found.key].1, reach, wanted)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_sorted_and_the_first_of_a_time_counts() {
        let mut memory = Memory::default();
        let labels = |name: &str| LabelSet::from_iter([("__name__", name)]);
        memory.add(labels("a"), [(1, 1.0), (3, 3.0)]);
        memory.add(labels("b"), [(1, 0.0)]);
        memory.add(labels("a"), [(2, 2.0), (3, 9.0), (4, 4.0)]);
        assert_eq!(memory.len(), 2);
        let samples = &memory.series[0].1;
        assert_eq!((&samples.times[..], &samples.values[..]), (&[1, 2, 3, 4][..], &[1.0, 2.0, 3.0, 4.0][..]));
    }
}
