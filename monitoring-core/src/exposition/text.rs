//! The lines of a family.

use std::fmt::{Arguments, Write as _};

use super::ExpositionFormat;
use super::family::{Family, Kind};
use super::format::{Bound, ExemplarOf, Help, LabelSet, Number};
use super::layout::cumulated;
use crate::model::{
    Distribution, Exemplar, Labels, MetricMetadata, MetricType, SampleValue, default_metadata,
};

/// What a series comes to.
#[derive(Debug)]
pub(super) struct Shown {
    pub bounds: Vec<f64>,
    pub value: SampleValue,
    pub exemplars: Vec<Exemplar>,
}

/// Text in one of the formats, growing line by line.
#[derive(Debug)]
pub(super) struct Text {
    pub format: ExpositionFormat,
    text: String,
}

impl Text {
    pub(super) const fn new(format: ExpositionFormat) -> Self {
        Self { format, text: String::new() }
    }

    /// In bytes.
    pub(super) const fn len(&self) -> usize {
        self.text.len()
    }

    /// What there is, leaving nothing.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// What a family is and what it is about.
    pub(super) fn header(&mut self, family: &Family, metric: &str, metadata: Option<&MetricMetadata>) {
        let Family { name, kind } = family;
        let (mut help, mut unit) = default_metadata(metric);
        if let Some(metadata) = metadata {
            help = if metadata.help.is_empty() { help } else { &metadata.help };
            unit = if metadata.unit.is_empty() { unit } else { &metadata.unit };
        }
        if !help.is_empty() {
            let help = Help(help, self.format);
            self.line(format_args!("# HELP {name} {help}"));
        }
        self.line(format_args!("# TYPE {name} {}", kind.as_str()));
        let is_in_name = name.strip_suffix(unit).is_some_and(|name| name.ends_with('_'));
        if self.format == ExpositionFormat::OpenMetrics && !unit.is_empty() && is_in_name {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
    }

    /// Says that a metric does not appear.
    pub(super) fn left_out(&mut self, metric: &str) {
        self.remark(&format!("{metric} is left out: another metric appears under that name"));
    }

    /// Says something to people, where the format has a way to.
    pub(super) fn remark(&mut self, text: &str) {
        if self.format == ExpositionFormat::Prometheus {
            self.line(format_args!("# {text}"));
        }
    }

    pub(super) fn sample(&mut self, family: &Family, labels: &Labels, shown: &Shown) {
        match &shown.value {
            SampleValue::Number(number) => self.number(family, labels, *number, &shown.exemplars),
            SampleValue::Distribution(of) if family.kind == Kind::Is(MetricType::Histogram) => {
                self.histogram(&family.name, labels, of, shown);
            }
            SampleValue::Distribution(of) => self.summary(&family.name, labels, of),
        }
    }

    fn number(&mut self, family: &Family, labels: &Labels, value: f64, exemplars: &[Exemplar]) {
        let is_counter = family.kind == Kind::Is(MetricType::Counter);
        let is_total = is_counter && self.format == ExpositionFormat::OpenMetrics;
        let suffix = if is_total { "_total" } else { "" };
        let labels = LabelSet { labels, le: None };
        let exemplar = ExemplarOf(if is_total { newest(exemplars.iter()) } else { None });
        self.line(format_args!("{}{suffix}{labels} {}{exemplar}", family.name, Number(value)));
    }

    fn histogram(&mut self, family: &str, labels: &Labels, of: &Distribution, shown: &Shown) {
        let (bounds, mut lower) = (&*shown.bounds, f64::NEG_INFINITY);
        for (bound, below) in cumulated(bounds, of) {
            let exemplar = self.exemplar_between(lower, bound, &shown.exemplars);
            let labels = LabelSet { labels, le: Some(Bound(bound, self.format)) };
            self.line(format_args!("{family}_bucket{labels} {below}{exemplar}"));
            lower = bound;
        }
        let may_be_negative = of.sum < 0.0 || bounds.first().is_some_and(|bound| *bound < 0.0);
        if self.has_sum(may_be_negative) {
            let labels = LabelSet { labels, le: None };
            self.line(format_args!("{family}_sum{labels} {}", Number(of.sum)));
            self.line(format_args!("{family}_count{labels} {}", of.count));
        }
    }

    /// The newest exemplar of a bucket, by its bounds: those of merged histograms are not the ones the
    /// exemplars were made by.
    fn exemplar_between<'e>(&self, lower: f64, upper: f64, exemplars: &'e [Exemplar]) -> ExemplarOf<'e> {
        let is_shown = self.format == ExpositionFormat::OpenMetrics;
        let is_within = |one: &&Exemplar| is_shown && one.value <= upper && one.value > lower;
        ExemplarOf(newest(exemplars.iter().filter(is_within)))
    }

    fn summary(&mut self, family: &str, labels: &Labels, of: &Distribution) {
        let labels = LabelSet { labels, le: None };
        if self.has_sum(of.sum < 0.0) {
            self.line(format_args!("{family}_sum{labels} {}", Number(of.sum)));
        }
        self.line(format_args!("{family}_count{labels} {}", of.count));
    }

    /// To OpenMetrics a sum is a counter, which it cannot be where measurements are negative. A
    /// histogram then has no count either: one comes with the other.
    fn has_sum(&self, may_be_negative: bool) -> bool {
        self.format == ExpositionFormat::Prometheus || !may_be_negative
    }

    pub(super) fn end_of_file(&mut self) {
        if self.format == ExpositionFormat::OpenMetrics {
            self.line(format_args!("# EOF"));
        }
    }

    fn line(&mut self, line: Arguments<'_>) {
        let _ = self.text.write_fmt(line); // writing to a String cannot fail
        self.text.push('\n');
    }
}

fn newest<'e>(exemplars: impl Iterator<Item = &'e Exemplar>) -> Option<&'e Exemplar> {
    exemplars.max_by_key(|one| one.timestamp)
}
