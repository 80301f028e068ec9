//! Writes families one after the other.

use std::collections::{BTreeMap, HashSet};

use super::ExpositionFormat;
use super::family::{Family, Names};
use super::layout::Layout;
use super::text::Text;
use crate::model::{Labels, MetricMetadata, MetricType, SampleValue, Series};

/// Gathers text. What is complete can be taken at any time, so little is held at once.
#[derive(Debug)]
pub(crate) struct Writer {
    text: Text,
    names: Names,
    /// Histograms of which some series may differ in nothing but their bounds.
    mixed: HashSet<String>,
    current: Option<Current>,
}

/// The metric whose series are being written.
#[derive(Debug)]
struct Current {
    metric: String,
    metric_type: MetricType,
    /// `None` if its names are taken, so that it does not appear.
    family: Option<Family>,
    /// Of a mixed histogram: what has been merged so far, by labels.
    merged: Option<BTreeMap<Labels, Layout>>,
}

impl Writer {
    pub(crate) fn new(format: ExpositionFormat) -> Self {
        Self { text: Text::new(format), names: Names::default(), mixed: HashSet::new(), current: None }
    }

    /// Merges the series of these histograms where they differ in nothing but their bounds. It
    /// holds all series of such a metric at once, so it is not done for every histogram.
    pub(crate) fn merge_layouts_of(&mut self, mixed: Vec<String>) {
        self.mixed = mixed.into_iter().collect();
    }

    /// A metric with one series without labels.
    pub(crate) fn single(&mut self, name: &str, metric_type: MetricType, value: f64) {
        self.begin(name, metric_type, None);
        self.sample(&Labels::new(), &[], &SampleValue::Number(value));
    }

    /// A line for people.
    pub(crate) fn remark(&mut self, text: &str) {
        self.end();
        self.text.remark(text);
    }

    /// One series of a metric. Those of one metric must follow each other.
    pub(crate) fn series(&mut self, series: &Series, value: &SampleValue, metadata: Option<&MetricMetadata>) {
        if self.current.as_ref().is_none_or(|current| current.metric != series.name) {
            self.begin(&series.name, series.metric_type, metadata);
        }
        // Two writers that register a name at the same instant can give it two types; a family has
        // one.
        if self.current.as_ref().is_some_and(|current| current.metric_type == series.metric_type) {
            self.sample(&series.labels, &series.bounds, value);
        }
    }

    /// What is complete so far.
    pub(crate) fn take(&mut self) -> String {
        self.text.take()
    }

    /// The rest.
    pub(crate) fn finish(&mut self) -> String {
        self.end();
        self.text.end_of_file();
        self.take()
    }

    fn begin(&mut self, metric: &str, metric_type: MetricType, metadata: Option<&MetricMetadata>) {
        self.end();
        let family = self.names.claim(metric, metric_type, self.text.format);
        match &family {
            Some(family) => self.text.header(family, metric, metadata),
            None => self.text.left_out(metric),
        }
        let is_mixed = metric_type == MetricType::Histogram && self.mixed.contains(metric);
        let merged = is_mixed.then(BTreeMap::new);
        self.current = Some(Current { metric: metric.to_owned(), metric_type, family, merged });
    }

    fn sample(&mut self, labels: &Labels, bounds: &[f64], value: &SampleValue) {
        let Some(Current { family: Some(family), merged, .. }) = &mut self.current else {
            return;
        };
        let (Some(merged), SampleValue::Distribution(distribution)) = (merged, value) else {
            return self.text.sample(family, labels, bounds, value);
        };
        let layout = Layout { bounds: bounds.to_vec(), distribution: distribution.clone() };
        match merged.get_mut(labels) {
            Some(others) => *others = others.merge(&layout),
            None => drop(merged.insert(labels.clone(), layout)),
        }
    }

    fn end(&mut self) {
        if let Some(Current { family: Some(family), merged: Some(merged), .. }) = self.current.take() {
            for (labels, Layout { bounds, distribution }) in merged {
                self.text.histogram(&family.name, &labels, &bounds, &distribution);
            }
        }
    }
}
