//! Writes families one after the other.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use super::ExpositionFormat;
use super::family::{Family, Kind, Names};
use super::format::{Bound, Help, LabelSet, Number};
use super::layout::Layout;
use crate::model::{Labels, MetricType, SampleValue, Series, default_help};
use crate::store::metrics::MetricMetadata;

/// Gathers text. What is complete can be taken at any time, so little is held at once.
#[derive(Debug)]
pub(crate) struct Writer {
    format: ExpositionFormat,
    text: String,
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
        Self { format, text: String::new(), names: Names::default(), mixed: HashSet::new(), current: None }
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

    /// One series of a metric. Those of one metric must follow each other.
    pub(crate) fn series(&mut self, series: &Series, value: &SampleValue, metadata: Option<&MetricMetadata>) {
        let is_same = self.current.as_ref().is_some_and(|current| current.metric == series.name);
        if !is_same {
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
        std::mem::take(&mut self.text)
    }

    /// The rest.
    pub(crate) fn finish(&mut self) -> String {
        self.end();
        if self.format == ExpositionFormat::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.take()
    }

    fn begin(&mut self, metric: &str, metric_type: MetricType, metadata: Option<&MetricMetadata>) {
        self.end();
        let family = self.names.claim(metric, metric_type, self.format);
        match &family {
            Some(family) => self.header(family, metric, metadata),
            None if self.format == ExpositionFormat::Prometheus => {
                self.line(format_args!("# {metric} is left out: another metric appears under that name"));
            }
            None => {} // OpenMetrics has no comments
        }
        let merged = self.mixed.contains(metric).then(BTreeMap::new);
        self.current = Some(Current { metric: metric.to_owned(), metric_type, family, merged });
    }

    fn end(&mut self) {
        let Some(Current { family: Some(family), merged: Some(merged), .. }) = self.current.take() else {
            return;
        };
        for (labels, layout) in merged {
            self.histogram(&family.name, &labels, &layout);
        }
    }

    fn header(&mut self, family: &Family, metric: &str, metadata: Option<&MetricMetadata>) {
        let Family { name, kind } = family;
        let described = metadata.map(|metadata| metadata.help.as_str()).filter(|help| !help.is_empty());
        let help = described.unwrap_or(default_help(metric));
        if !help.is_empty() {
            self.line(format_args!("# HELP {name} {}", Help(help, self.format)));
        }
        self.line(format_args!("# TYPE {name} {}", kind.as_str()));
        let unit = metadata.map_or("", |metadata| metadata.unit.as_str());
        let is_in_name = name.strip_suffix(unit).is_some_and(|name| name.ends_with('_'));
        if self.format == ExpositionFormat::OpenMetrics && !unit.is_empty() && is_in_name {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
    }

    fn sample(&mut self, labels: &Labels, bounds: &[f64], value: &SampleValue) {
        let Some(Current { family: Some(family), merged, .. }) = &mut self.current else {
            return;
        };
        let distribution = match value {
            SampleValue::Distribution(distribution) => distribution,
            SampleValue::Number(number) => {
                let (family, number) = (family.clone(), *number);
                return self.number(&family, labels, number);
            }
        };
        let layout = Layout { bounds: bounds.to_vec(), distribution: distribution.clone() };
        if let Some(merged) = merged {
            match merged.get_mut(labels) {
                Some(others) => *others = others.merge(&layout),
                None => drop(merged.insert(labels.clone(), layout)),
            }
            return;
        }
        let Family { name, kind } = family.clone();
        if kind == Kind::Is(MetricType::Histogram) {
            self.histogram(&name, labels, &layout);
        } else {
            self.sum_and_count(&name, labels, &layout);
        }
    }

    fn number(&mut self, family: &Family, labels: &Labels, value: f64) {
        let is_total =
            self.format == ExpositionFormat::OpenMetrics && family.kind == Kind::Is(MetricType::Counter);
        let suffix = if is_total { "_total" } else { "" };
        let labels = LabelSet { labels, le: None };
        self.line(format_args!("{}{suffix}{labels} {}", family.name, Number(value)));
    }

    fn histogram(&mut self, family: &str, labels: &Labels, layout: &Layout) {
        for (bound, below) in layout.cumulated() {
            let labels = LabelSet { labels, le: Some(Bound(bound, self.format)) };
            self.line(format_args!("{family}_bucket{labels} {below}"));
        }
        self.sum_and_count(family, labels, layout);
    }

    fn sum_and_count(&mut self, family: &str, labels: &Labels, layout: &Layout) {
        let Layout { bounds, distribution } = layout;
        let set = || LabelSet { labels, le: None };
        // To OpenMetrics a sum is a counter, which it cannot be where measurements are negative.
        let may_fall = distribution.sum < 0.0 || bounds.first().is_some_and(|bound| *bound < 0.0);
        if self.format == ExpositionFormat::Prometheus || !may_fall {
            self.line(format_args!("{family}_sum{} {}", set(), Number(distribution.sum)));
        }
        self.line(format_args!("{family}_count{} {}", set(), distribution.count));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }
}
