//! The scrape of one replica: what this process has counted itself.

use crate::exposition::{ExpositionFormat, Writer};
use crate::ingest::{Recorder, TotalsKey};
use crate::model::{MetricMetadata, Sample};

/// Series copied at once. Few, because the labels of one may take 100 KB, and because the writer of
/// the telemetry waits meanwhile.
const SERIES_PER_PAGE: usize = 100;

/// A scrape of this process's own series, as portions of text: what its recorder and layers observed
/// and what was sent to it over HTTP, since it started and as far as it is stored. The database is
/// not asked.
///
/// Scraping every replica like this counts nothing twice, and the sum over all replicas is what
/// [`Exposition`](super::Exposition) shows of the cluster, whose totals live in the database. What
/// callers stored on connections of their own belongs to no process and is missing here.
///
/// ```no_run
/// # fn example(monitoring: &monitoring_core::Monitoring) {
/// use monitoring_core::{ExpositionFormat, services::ProcessExposition};
///
/// let text: String = ProcessExposition::new(monitoring.recorder(), ExpositionFormat::Prometheus).collect();
/// # let _ = text;
/// # }
/// ```
#[derive(Debug)]
pub struct ProcessExposition {
    recorder: Recorder,
    writer: Writer,
    after: Option<TotalsKey>,
    is_over: bool,
}

impl ProcessExposition {
    /// A scrape in this format, about to start.
    #[must_use]
    pub fn new(recorder: &Recorder, format: ExpositionFormat) -> Self {
        Self { recorder: recorder.clone(), writer: Writer::new(format), after: None, is_over: false }
    }

    fn advance(&mut self) {
        let shared = self.recorder.shared();
        let page = shared.process_totals.page(self.after.as_ref(), SERIES_PER_PAGE);
        let Some((last, _)) = page.last() else {
            self.is_over = true;
            let left_out = shared.process_totals.left_out();
            if left_out > 0 {
                self.writer.remark(format!("{left_out} samples of series past the bound are left out"));
            }
            return self.writer.finish();
        };
        self.after = Some((last.name.clone(), last.id));
        let descriptions = shared.context.get().map_or(&[][..], |context| &context.settings.descriptions);
        for (series, Sample { value, exemplars, .. }) in page {
            let is_it = |metadata: &&MetricMetadata| metadata.name == series.name;
            let metadata = descriptions.iter().find(is_it);
            self.writer.series(series, value, exemplars, metadata);
        }
    }
}

/// Portions of the text, none empty.
impl Iterator for ProcessExposition {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while !self.writer.fill() && !self.is_over {
            self.advance();
        }
        Some(self.writer.take()).filter(|text| !text.is_empty())
    }
}
