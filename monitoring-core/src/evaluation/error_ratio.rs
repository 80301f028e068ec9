//! What share of each source's events are errors: recorded without a rule, so that a service that was told of
//! nothing can be asked.

use std::collections::HashMap;
use std::time::Duration;

use super::commit::commit_samples;
use super::evaluator::Evaluator;
use super::schedule::{interval_of, slot};
use crate::model::{ERROR_RATIO, Labels, MetricType, Series, Temporality};
use crate::promql::STALE;
use crate::store::leases::Lease;

/// Sources that had no event are not among them: of nothing there is no share.
const QUERY: &str = r#"
    sum by (source) (increase(monitoring_events_total{level=~"error|critical"}[5m])
                     or 0 * increase(monitoring_events_total[5m]))
    / (sum by (source) (increase(monitoring_events_total[5m])) > 0)"#;
/// What looking and writing may take.
const TIMEOUT: Duration = Duration::from_secs(60);

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Evaluator {
    /// Records it at the next time for it.
    pub(super) async fn record_error_ratios_next(&self, lease: &Lease) {
        let (now, interval) = (self.now(), self.usual_interval());
        let next = slot(ERROR_RATIO, interval, now) + interval;
        tokio::time::sleep((next - now).to_std().unwrap_or_default()).await;
        self.record_error_ratios(Some(lease)).await;
    }

    /// Records it for the last time that has come, whoever else does. What fails is missing there.
    pub(super) async fn record_error_ratios(&self, lease: Option<&Lease>) {
        let recorded = tokio::time::timeout(TIMEOUT, self.try_record_error_ratios(lease)).await;
        if let Err(error) = recorded.unwrap_or_else(|late| Err(late.into())) {
            let error: &dyn std::error::Error = &*error;
            tracing::warn!(target: "monitoring::internal", error, "error ratios are not recorded");
        }
    }

    async fn try_record_error_ratios(&self, lease: Option<&Lease>) -> Result<(), Failure> {
        let time = slot(ERROR_RATIO, self.usual_interval(), self.now());
        self.promql.learn().await?;
        let columns = self.promql.columns_at(QUERY, time).await?;
        let mut samples: Vec<_> = columns.at(0).map(|(labels, value)| (series(labels), value)).collect();
        let now: HashMap<_, _> = samples.iter().map(|(series, _)| (series.id, series.clone())).collect();
        let gone = |series: &&Series| !now.contains_key(&series.id);
        let ended = |series: &Series| (series.clone(), STALE);
        samples.extend(self.known().error_ratios.values().filter(gone).map(ended));
        commit_samples(&self.pool, lease, samples, ERROR_RATIO, time).await?;
        self.known().error_ratios = now;
        Ok(())
    }

    fn usual_interval(&self) -> chrono::TimeDelta {
        interval_of(None, self.pool.context().settings.alert_evaluation_interval)
    }
}

fn series(labels: &crate::promql::LabelSet) -> Series {
    let labels: Labels = labels.iter().map(|label| (&*label.name, &*label.value)).collect();
    Series::new(ERROR_RATIO.to_owned(), labels, MetricType::Gauge, Temporality::Cumulative, Vec::new())
}
