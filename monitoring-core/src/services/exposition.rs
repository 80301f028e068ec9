//! The scrape: everything there is, as Prometheus reads it.

use std::collections::HashMap;

use super::get_monitoring_stats;
use crate::error::Result;
use crate::exposition::{ExpositionFormat, Writer};
use crate::model::{Exemplar, MetricMetadata, MetricType, MonitoringStats, SampleValue, SeriesId};
use crate::store::exemplars::{ExemplarBucket, ExemplarStore as _};
use crate::store::metrics::MetricStore as _;
use crate::store::totals::{SeriesTotal, TotalStore as _};
use crate::store::{AsConnection, Connection};

/// Series read at once. Few, because nothing bounds their size but the limits: the labels of one may
/// take 100 KB.
const SERIES_PER_PAGE: u32 = 100;

/// A scrape in progress: portions of text, read from the store as they are asked for, so that
/// memory stays bounded however many series there are and however large. A portion has some 256 KiB,
/// or ends with the series that reached them.
///
/// The system's own series come first, then those of all metrics in the order of names. A metric
/// whose name another one appears under (such as a gauge `x_count` beside a histogram `x`) is left
/// out; queries still find it.
///
/// ```no_run
/// # async fn example(conn: &mut sqlx::SqliteConnection) -> monitoring_core::Result<()> {
/// use monitoring_core::{ExpositionFormat, services::Exposition};
///
/// let mut exposition = Exposition::new(ExpositionFormat::Prometheus);
/// let mut text = String::new();
/// while let Some(chunk) = exposition.next_chunk(conn).await? {
///     text.push_str(&chunk);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Exposition {
    writer: Writer,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Nothing,
    SeriesUpTo(Option<(String, SeriesId)>),
    Everything,
}

impl Exposition {
    /// A scrape in this format, about to start.
    #[must_use]
    pub fn new(format: ExpositionFormat) -> Self {
        Self { writer: Writer::new(format), progress: Progress::Nothing }
    }

    /// The next portion of the text, never empty; `None` at the end. The portions may be read
    /// through different connections.
    ///
    /// # Errors
    ///
    /// Storage failed; the same portion may be asked for again.
    pub async fn next_chunk(&mut self, conn: &mut impl AsConnection) -> Result<Option<String>> {
        self.chunk(&mut conn.as_connection()).await
    }

    async fn chunk(&mut self, connection: &mut Connection<'_>) -> Result<Option<String>> {
        while !self.writer.fill() {
            match &self.progress {
                Progress::Nothing => self.start(connection).await?,
                Progress::SeriesUpTo(_) => self.advance(connection).await?,
                Progress::Everything => break,
            }
        }
        Ok(Some(self.writer.take()).filter(|text| !text.is_empty()))
    }

    async fn start(&mut self, connection: &mut Connection<'_>) -> Result<()> {
        let stats = get_monitoring_stats(connection).await?;
        self.writer.merge_layouts_of(connection.store().mixed_histograms().await?);
        for (name, metric_type, value) in system_series(&stats) {
            self.writer.single(name, metric_type, value as f64);
        }
        self.progress = Progress::SeriesUpTo(None);
        Ok(())
    }

    async fn advance(&mut self, connection: &mut Connection<'_>) -> Result<()> {
        let Progress::SeriesUpTo(after) = &self.progress else {
            return Ok(());
        };
        let page = connection.store().totals_page(after.as_ref(), SERIES_PER_PAGE).await?;
        let Some(last) = page.last() else {
            self.progress = Progress::Everything;
            self.writer.finish();
            return Ok(());
        };
        let last = (last.series.name.clone(), last.series.id);
        let metadata = self.metadata_of(connection, &page).await?;
        let mut exemplars = self.exemplars_of(connection, &page).await?;
        for SeriesTotal { series, value } in page {
            if let Some(value) = value {
                let metadata = metadata.get(&series.name);
                let exemplars = exemplars.remove(&series.id).unwrap_or_default();
                self.writer.series(series, value, exemplars, metadata);
            }
        }
        self.progress = Progress::SeriesUpTo(Some(last));
        Ok(())
    }

    /// The newest exemplar of each bucket and counter on this page, in a format that has any.
    async fn exemplars_of(
        &self,
        connection: &mut Connection<'_>,
        page: &[SeriesTotal],
    ) -> Result<HashMap<SeriesId, Vec<Exemplar>>> {
        let mut exemplars = HashMap::<_, Vec<_>>::new();
        if self.writer.takes_exemplars() {
            let buckets: Vec<_> = page.iter().flat_map(buckets).collect();
            for (of, exemplar) in connection.store().newest_exemplars(&buckets).await? {
                exemplars.entry(of.series_id).or_default().push(exemplar);
            }
        }
        Ok(exemplars)
    }

    /// Of the metrics that begin on this page.
    async fn metadata_of(
        &self,
        connection: &mut Connection<'_>,
        page: &[SeriesTotal],
    ) -> Result<HashMap<String, MetricMetadata>> {
        let mut names: Vec<_> = page.iter().map(|total| total.series.name.clone()).collect();
        names.dedup();
        names.retain(|name| self.writer.begins(name));
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let metadata = connection.store().metric_metadata(&names).await?;
        Ok(metadata.into_iter().map(|metadata| (metadata.name.clone(), metadata)).collect())
    }
}

/// The buckets of a series that may have exemplars: those something was counted in.
fn buckets(total: &SeriesTotal) -> Vec<ExemplarBucket> {
    let SeriesTotal { series, value } = total;
    let of_series = |bucket| ExemplarBucket { series_id: series.id, bucket };
    match value {
        Some(SampleValue::Distribution(of)) if series.metric_type == MetricType::Histogram => {
            let counted = of.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
            counted.map(|(bucket, _)| of_series(bucket)).collect()
        }
        Some(SampleValue::Number(_)) if series.metric_type == MetricType::Counter => vec![of_series(0)],
        _ => Vec::new(),
    }
}

fn system_series(stats: &MonitoringStats) -> [(&'static str, MetricType, i64); 6] {
    use MetricType::{Counter, Gauge};
    [
        ("monitoring_total_events", Counter, stats.total_events),
        ("monitoring_total_metrics", Counter, stats.total_metrics),
        ("monitoring_active_alerts", Gauge, stats.active_alerts),
        ("monitoring_open_incidents", Gauge, stats.open_incidents),
        ("monitoring_events_last_hour", Gauge, stats.events_last_hour),
        ("monitoring_metrics_last_hour", Gauge, stats.metrics_last_hour),
    ]
}
