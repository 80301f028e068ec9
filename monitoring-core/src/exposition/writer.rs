//! Writes families one after the other.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use super::ExpositionFormat;
use super::family::{Family, Names};
use super::layout::Layout;
use super::text::{Shown, Text};
use crate::model::{Exemplar, Labels, MetricMetadata, MetricType, SampleValue, Series};

/// A portion of the text is full at this size. It ends with a whole series, so it may be longer by one.
const PORTION_BYTES: usize = 256 * 1024;

/// Takes series and hands out text, a portion at a time. A series takes many times its size as text,
/// since a histogram repeats the labels on every line, so no more is written than is asked for.
#[derive(Debug)]
pub(crate) struct Writer {
    text: Text,
    /// What is not text yet.
    waiting: VecDeque<Piece>,
    names: Names,
    /// Histograms of which some series may differ in nothing but their bounds.
    mixed: HashSet<String>,
    current: Option<Current>,
}

/// Some lines that belong together.
#[derive(Debug)]
enum Piece {
    Header { family: Arc<Family>, metric: String, metadata: Option<MetricMetadata> },
    Sample { family: Arc<Family>, labels: Labels, shown: Shown },
    LeftOut { metric: String },
    Remark(String),
    EndOfFile,
}

/// The metric whose series are being written.
#[derive(Debug)]
struct Current {
    metric: String,
    metric_type: MetricType,
    /// `None` if its names are taken, so that it does not appear.
    family: Option<Arc<Family>>,
    /// Of a mixed histogram: what has been merged so far, by labels.
    merged: Option<BTreeMap<Labels, (Layout, Vec<Exemplar>)>>,
}

impl Writer {
    pub(crate) fn new(format: ExpositionFormat) -> Self {
        Self {
            text: Text::new(format),
            waiting: VecDeque::new(),
            names: Names::default(),
            mixed: HashSet::new(),
            current: None,
        }
    }

    /// Merges the series of these histograms where they differ in nothing but their bounds. It
    /// holds all series of such a metric at once, so it is not done for every histogram.
    pub(crate) fn merge_layouts_of(&mut self, mixed: Vec<String>) {
        self.mixed = mixed.into_iter().collect();
    }

    /// A metric with one series without labels.
    pub(crate) fn single(&mut self, name: &str, metric_type: MetricType, value: f64) {
        self.begin(name, metric_type, None);
        let value = SampleValue::Number(value);
        self.sample(Labels::new(), Shown { bounds: Vec::new(), value, exemplars: Vec::new() });
    }

    /// A line for people.
    pub(crate) fn remark(&mut self, text: String) {
        self.end();
        self.waiting.push_back(Piece::Remark(text));
    }

    /// Whether the next series is one of this metric's first, for which its metadata are needed.
    pub(crate) fn begins(&self, metric: &str) -> bool {
        self.current.as_ref().is_none_or(|current| current.metric != metric)
    }

    /// Whether exemplars are written.
    pub(crate) fn takes_exemplars(&self) -> bool {
        self.text.format == ExpositionFormat::OpenMetrics
    }

    /// One series of a metric. Those of one metric must follow each other.
    pub(crate) fn series(
        &mut self,
        series: Series,
        value: SampleValue,
        exemplars: Vec<Exemplar>,
        metadata: Option<&MetricMetadata>,
    ) {
        if self.begins(&series.name) {
            self.begin(&series.name, series.metric_type, metadata);
        }
        // Two writers that register a name at the same instant can give it two types; a family has
        // one.
        if self.current.as_ref().is_some_and(|current| current.metric_type == series.metric_type) {
            self.sample(series.labels, Shown { bounds: series.bounds, value, exemplars });
        }
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&mut self) {
        self.end();
        self.waiting.push_back(Piece::EndOfFile);
    }

    /// Writes what waits until a portion is full; false if it takes more than there is.
    pub(crate) fn fill(&mut self) -> bool {
        while self.text.len() < PORTION_BYTES {
            match self.waiting.pop_front() {
                Some(piece) => self.write(piece),
                None => return false,
            }
        }
        true
    }

    /// The portion written so far.
    pub(crate) fn take(&mut self) -> String {
        self.text.take()
    }

    fn write(&mut self, piece: Piece) {
        match piece {
            Piece::Header { family, metric, metadata } => {
                self.text.header(&family, &metric, metadata.as_ref());
            }
            Piece::Sample { family, labels, shown } => self.text.sample(&family, &labels, &shown),
            Piece::LeftOut { metric } => self.text.left_out(&metric),
            Piece::Remark(text) => self.text.remark(&text),
            Piece::EndOfFile => self.text.end_of_file(),
        }
    }

    fn begin(&mut self, metric: &str, metric_type: MetricType, metadata: Option<&MetricMetadata>) {
        self.end();
        let metric = metric.to_owned();
        let family = self.names.claim(&metric, metric_type, self.text.format).map(Arc::new);
        self.waiting.push_back(match &family {
            Some(family) => {
                Piece::Header { family: family.clone(), metric: metric.clone(), metadata: metadata.cloned() }
            }
            None => Piece::LeftOut { metric: metric.clone() },
        });
        let is_mixed = metric_type == MetricType::Histogram && self.mixed.contains(&metric);
        let merged = is_mixed.then(BTreeMap::new);
        self.current = Some(Current { metric, metric_type, family, merged });
    }

    fn sample(&mut self, labels: Labels, shown: Shown) {
        let Some(Current { family: Some(family), merged, .. }) = &mut self.current else {
            return;
        };
        match (merged, shown) {
            (Some(merged), Shown { bounds, value: SampleValue::Distribution(distribution), exemplars }) => {
                let layout = Layout { bounds, distribution };
                match merged.get_mut(&labels) {
                    Some((others, of_others)) => {
                        *others = others.merge(&layout);
                        of_others.extend(exemplars);
                    }
                    None => drop(merged.insert(labels, (layout, exemplars))),
                }
            }
            (_, shown) => self.waiting.push_back(Piece::Sample { family: family.clone(), labels, shown }),
        }
    }

    fn end(&mut self) {
        if let Some(Current { family: Some(family), merged: Some(merged), .. }) = self.current.take() {
            self.waiting.extend(merged.into_iter().map(|(labels, (layout, exemplars))| {
                let Layout { bounds, distribution } = layout;
                let value = SampleValue::Distribution(distribution);
                Piece::Sample { family: family.clone(), labels, shown: Shown { bounds, value, exemplars } }
            }));
        }
    }
}
