//! Series as they went, for whoever compares them: a bounded number, spread over all metrics.

use chrono::{DateTime, Utc};

use super::engine::PromQuery;
use super::index::{Index, Key};
use super::part::Part;
use crate::model::MetricType;
use crate::promql::{
    Budget, Found, LabelSet, NAME, QueryResult, Reach, Samples, SeriesSource as _, Wanted, is_present,
};

/// Series read at once.
const SERIES_PER_BATCH: usize = 256;
/// Samples of one series that are looked at; the rest is thinned out.
const SAMPLES_MAX: usize = 5_000;

/// What has fewer samples than this is read from earlier on, for they tell little of what is usual.
const SPARSE_MAX: usize = 30;

/// How the values of a series are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeriesNature {
    /// Readings.
    Level,
    /// Increments: how much was added since the value before.
    Increments,
    /// Means of measurements.
    Mean,
}

/// A series as it went.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeriesHistory {
    /// With the name.
    pub labels: LabelSet,
    pub nature: SeriesNature,
    /// Milliseconds since 1970, rising, and values.
    pub points: Vec<(i64, f64)>,
}

impl PromQuery {
    /// Up to `series_max` series from `start` to `end`, some of each metric, and how many were left
    /// out. Those with few samples are read from `earlier` on. Distributions are told as their means and
    /// counts, and metrics about monitoring itself are not told.
    ///
    /// # Errors
    ///
    /// As [`PromQuery::samples`].
    pub(crate) async fn histories(
        &self,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        earlier: DateTime<Utc>,
        series_max: usize,
    ) -> QueryResult<(Vec<SeriesHistory>, usize)> {
        let until = end.timestamp_millis() - 1;
        let reach = Reach { after: start.timestamp_millis() - 1, until };
        let farther = Reach { after: earlier.timestamp_millis() - 1, until };
        self.in_turn(async {
            self.follow().await?;
            let (chosen, left_out) = {
                let index = self.shared.index.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                chosen(&index, series_max)
            };
            let (mut histories, mut budget) = (Vec::with_capacity(chosen.len()), Budget::new(self.limits()));
            for batch in chosen.chunks(SERIES_PER_BATCH) {
                let samples = self.source().samples(batch, reach, Wanted::Increments, &mut budget).await?;
                let is_sparse = |samples: &Samples| (1..SPARSE_MAX).contains(&samples.times.len());
                let (sparse, enough): (Vec<_>, Vec<_>) =
                    batch.iter().cloned().zip(samples).partition(|(_, samples)| is_sparse(samples));
                histories.extend(enough.into_iter().filter_map(|(found, samples)| history(&found, samples)));
                let sparse: Vec<_> = sparse.into_iter().map(|(found, _)| found).collect();
                let samples =
                    self.source().samples(&sparse, farther, Wanted::Increments, &mut budget).await?;
                histories.extend(
                    sparse.iter().zip(samples).filter_map(|(found, samples)| history(found, samples)),
                );
            }
            Ok((with_means(histories), left_out))
        })
        .await
    }
}

/// Some of each metric: the same share for all, and what those with few series leave for the others.
fn chosen(index: &Index, series_max: usize) -> (Vec<Found<Key>>, usize) {
    let mut metrics =
        index.by_metric(|name, part| !name.starts_with("monitoring_") && !matches!(part, Part::Bucket(_)));
    let all: usize = metrics.iter().map(Vec::len).sum();
    metrics.sort_by_key(Vec::len);
    let (mut left, mut chosen) = (series_max, Vec::new());
    let count = metrics.len();
    for (n, mut series) in metrics.into_iter().enumerate() {
        let share = left / (count - n);
        if series.len() > share {
            // Evenly, in the order of labels, so that it is the same ones each time.
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            let every = series.len() as f64 / share.max(1) as f64;
            let kept = (0..share).filter_map(|k| series.get((k as f64 * every) as usize).cloned());
            series = kept.collect();
        }
        left -= series.len();
        chosen.extend(series);
    }
    let left_out = all - chosen.len();
    (chosen, left_out)
}

fn history(found: &Found<Key>, samples: Samples) -> Option<SeriesHistory> {
    let Samples { times, values, delta } = samples;
    let metric_type = found.key.series.metric_type;
    let is_counter = metric_type != MetricType::Gauge || found.labels.value(NAME).ends_with("_total");
    let (nature, points) = match delta {
        Some(delta) => {
            (SeriesNature::Increments, times.into_iter().zip(delta.increments).collect::<Vec<_>>())
        }
        None => {
            let present =
                times.into_iter().zip(values).filter(|(_, value)| is_present(*value) && value.is_finite());
            let points: Vec<_> = present.collect();
            match is_counter {
                true => (SeriesNature::Increments, increments(&points)),
                false => (SeriesNature::Level, points),
            }
        }
    };
    let every = points.len().div_ceil(SAMPLES_MAX).max(1);
    let points: Vec<_> = match nature {
        SeriesNature::Level => points.into_iter().step_by(every).collect(),
        // Increments add up, so none is left out.
        _ => points,
    };
    (!points.is_empty()).then(|| SeriesHistory { labels: found.labels.clone(), nature, points })
}

/// What a counter added from one sample to the next; one that begins anew adds what it shows.
fn increments(points: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let added = |pair: &[(i64, f64)]| {
        let (before, (time, value)) = (pair[0].1, pair[1]);
        (time, if value >= before { value - before } else { value })
    };
    points.windows(2).map(added).collect()
}

/// Makes means of sums and counts; a sum by itself tells nothing more.
fn with_means(histories: Vec<SeriesHistory>) -> Vec<SeriesHistory> {
    let (sums, mut others): (Vec<_>, Vec<_>) =
        histories.into_iter().partition(|one| one.labels.value(NAME).ends_with("_sum"));
    for sum in sums {
        let base = sum.labels.value(NAME).trim_end_matches("_sum").to_owned();
        let labels = sum.labels.with(NAME, &format!("{base}_count"));
        let Some(count) = others.iter().find(|one| one.labels == labels) else {
            others.push(sum);
            continue;
        };
        let mean = |(time, sum): &(i64, f64)| {
            let at = count.points.binary_search_by_key(time, |point| point.0).ok()?;
            let count = count.points[at].1;
            (count > 0.0).then(|| (*time, sum / count))
        };
        let points: Vec<_> = sum.points.iter().filter_map(mean).collect();
        if !points.is_empty() {
            others.push(SeriesHistory {
                labels: labels.with(NAME, &base),
                nature: SeriesNature::Mean,
                points,
            });
        }
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, nature: SeriesNature, points: &[(i64, f64)]) -> SeriesHistory {
        let labels = [("__name__", name), ("route", "/")].into_iter().collect();
        SeriesHistory { labels, nature, points: points.to_vec() }
    }

    #[test]
    fn a_counter_that_begins_anew_adds_what_it_shows() {
        assert_eq!(increments(&[(1, 5.0), (2, 7.0), (3, 1.0)]), [(2, 2.0), (3, 1.0)]);
        assert!(increments(&[(1, 5.0)]).is_empty());
    }

    #[test]
    fn sums_become_means() {
        let nature = SeriesNature::Increments;
        let told = with_means(vec![
            of("took_sum", nature, &[(1, 6.0), (2, 9.0), (3, 1.0)]),
            of("took_count", nature, &[(1, 2.0), (2, 0.0)]),
            of("lone_sum", nature, &[(1, 1.0)]),
        ]);
        let names: Vec<_> = told.iter().map(|one| one.labels.value(NAME).to_owned()).collect();
        assert_eq!(names, ["took_count", "took", "lone_sum"]);
        assert_eq!((told[1].nature, &told[1].points[..]), (SeriesNature::Mean, &[(1, 3.0)][..]));
    }
}
