//! Which series exist, and the bound on their number.

use std::collections::{HashMap, HashSet};

use super::aggregate::SeriesSample;
use super::writer::Destination;
use crate::model::{Invalid, Limits, MetricType, Series, SeriesId};
use crate::store::StoreError;

/// Series remembered at most; past that, everything is forgotten and asked for again.
const REMEMBERED_MAX: usize = 500_000;

/// What is known of a metric: its type and how many series it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetricUse {
    pub metric_type: Option<MetricType>,
    pub series: u64,
}

/// Decides which series may be added. Asks the database once per new series.
#[derive(Debug, Default)]
pub(crate) struct SeriesTable {
    known: HashSet<SeriesId>,
    metrics: HashMap<String, MetricUse>,
}

impl SeriesTable {
    /// Learns what the database knows of series not seen before.
    pub(crate) async fn learn<D: Destination>(
        &mut self,
        destination: &D,
        samples: impl Iterator<Item = &Series> + Clone + Send,
    ) -> Result<(), StoreError> {
        if self.known.len() > REMEMBERED_MAX {
            *self = Self::default();
        }
        let unknown: Vec<_> = samples.filter(|series| !self.known.contains(&series.id)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let ids: HashSet<_> = unknown.iter().map(|series| series.id).collect();
        self.known.extend(destination.known_series(&Vec::from_iter(ids)).await?);
        let names: HashSet<_> = unknown
            .iter()
            .filter(|series| !self.known.contains(&series.id))
            .map(|series| series.name.clone())
            .collect();
        if !names.is_empty() {
            // Counted anew each time: other replicas add series too.
            self.metrics.extend(destination.metric_uses(&Vec::from_iter(names)).await?);
        }
        Ok(())
    }

    /// Whether a series may have samples. Counts it if it is new.
    ///
    /// # Errors
    ///
    /// The metric is of another type, or has as many series as it may have.
    pub(crate) fn admit(&mut self, series: &Series, limits: &Limits) -> Result<(), Invalid> {
        if self.known.contains(&series.id) {
            return Ok(());
        }
        let metric =
            self.metrics.entry(series.name.clone()).or_insert(MetricUse { metric_type: None, series: 0 });
        if let Some(existing) = metric.metric_type.filter(|existing| *existing != series.metric_type) {
            let message = format!("{} is a {existing}, not a {}", series.name, series.metric_type);
            return Err(Invalid::field("metric_type", message));
        }
        if metric.series >= limits.series_per_metric_max as u64 {
            let message = format!(
                "{} has {} series already, as many as one metric may have",
                series.name, metric.series
            );
            return Err(Invalid::field("labels", message));
        }
        metric.metric_type = Some(series.metric_type);
        metric.series += 1;
        self.known.insert(series.id);
        Ok(())
    }

    /// Forgets series whose registration was not committed.
    pub(crate) fn forget(&mut self, samples: &[SeriesSample]) {
        for (series, _) in samples {
            self.known.remove(&series.id);
        }
    }
}
