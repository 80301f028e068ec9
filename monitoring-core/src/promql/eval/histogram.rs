//! Functions of classic histograms: rows that differ in `le` only are the buckets of one.

use super::Evaluator;
use super::matching::Groups;
use crate::promql::error::QueryResult;
use crate::promql::functions::{Bucket, bucket_fraction, bucket_quantile};
use crate::promql::labels::{LabelSet, NAME};
use crate::promql::limits::Budget;
use crate::promql::notes::Note;
use crate::promql::plan::Node;
use crate::promql::source::SeriesSource;
use crate::promql::value::{ABSENT, Row, Steps, is_present};

/// The label that holds a bucket's bound.
const BOUND: &str = "le";

impl<S: SeriesSource> Evaluator<'_, S> {
    pub(super) async fn histogram_quantile(
        &mut self,
        q: &Node,
        of: &Node,
        steps: Steps,
    ) -> QueryResult<Vec<Row>> {
        let q = self.scalar(q, steps).await?;
        self.note_quantiles(&q);
        let histograms = self.histograms(of, steps).await?;
        let mut mended = Vec::new();
        let quantile = |buckets: &mut Vec<Bucket>, step: usize, name: &str| {
            let (value, was_mended) = bucket_quantile(q[step], buckets);
            if was_mended && mended.last().is_none_or(|last| last != name) {
                mended.push(name.to_owned());
            }
            value
        };
        let rows = each(&mut self.budget, &histograms, steps, quantile).await?;
        mended.into_iter().for_each(|metric| self.notes.add(Note::ForcedMonotonic(metric)));
        Ok(rows)
    }

    pub(super) async fn histogram_fraction(
        &mut self,
        lower: &Node,
        upper: &Node,
        of: &Node,
        steps: Steps,
    ) -> QueryResult<Vec<Row>> {
        let (lower, upper) = (self.scalar(lower, steps).await?, self.scalar(upper, steps).await?);
        let histograms = self.histograms(of, steps).await?;
        let fraction = |buckets: &mut Vec<Bucket>, step: usize, _: &str| {
            bucket_fraction(lower[step], upper[step], buckets)
        };
        each(&mut self.budget, &histograms, steps, fraction).await
    }

    async fn histograms(&mut self, of: &Node, steps: Steps) -> QueryResult<Vec<Histogram>> {
        let mut rows = self.vector(of, steps).await?;
        self.budget.spend(rows.len() * steps.count).await?;
        rows.retain(|row| {
            let le = row.labels.value(BOUND);
            let is_bucket = bound(le).is_some();
            if !is_bucket {
                let metric = row.labels.value(NAME).to_owned();
                self.notes.add(Note::BadBucketLabel { metric, le: le.to_owned() });
            }
            is_bucket
        });
        Ok(gathered(rows))
    }
}

/// The buckets of one histogram.
struct Histogram {
    /// With the name.
    labels: LabelSet,
    buckets: Vec<(f64, Row)>,
}

fn gathered(rows: Vec<Row>) -> Vec<Histogram> {
    // The name stays, so that metrics are not mixed.
    let groups = Groups::by(&rows, |row| row.labels.retain(|name| name != BOUND));
    let mut rows: Vec<_> = rows.into_iter().map(Some).collect();
    let mut histogram = |(labels, members): (LabelSet, Vec<usize>)| {
        let taken = members.into_iter().filter_map(|member| rows[member].take());
        let buckets = taken.filter_map(|row| Some((bound(row.labels.value(BOUND))?, row))).collect();
        Histogram { labels, buckets }
    };
    groups.keys.into_iter().zip(groups.members).map(&mut histogram).collect()
}

/// A row for each histogram, of what `f` makes of its buckets at each step at which it has any.
async fn each(
    budget: &mut Budget,
    histograms: &[Histogram],
    steps: Steps,
    mut f: impl FnMut(&mut Vec<Bucket>, usize, &str) -> f64 + Send,
) -> QueryResult<Vec<Row>> {
    let (mut rows, mut present) = (Vec::with_capacity(histograms.len()), Vec::new());
    for histogram in histograms {
        budget.take(steps.count)?;
        budget.spend(steps.count * histogram.buckets.len()).await?;
        let name = histogram.labels.value(NAME);
        let mut value_at = |step: usize| {
            present.clear();
            let buckets = histogram.buckets.iter().map(|(bound, row)| (*bound, row.values[step]));
            present.extend(
                buckets.filter(|(_, count)| is_present(*count)).map(|(bound, count)| Bucket { bound, count }),
            );
            if present.is_empty() { ABSENT } else { f(&mut present, step, name) }
        };
        let values = (0..steps.count).map(&mut value_at).collect();
        rows.push(Row { labels: histogram.labels.clone(), drops_name: true, values });
    }
    Ok(rows)
}

/// The bound a label names.
fn bound(le: &str) -> Option<f64> {
    le.parse().ok()
}
