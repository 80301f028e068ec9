//! A strict reader of exposition text: it panics at whatever a real one would refuse.

use std::collections::{BTreeMap, BTreeSet};

use monitoring_core::ExpositionFormat;

/// Families by name, in a text that kept all rules.
#[derive(Debug)]
pub(super) struct Scrape {
    pub families: BTreeMap<String, Family>,
    format: ExpositionFormat,
}

#[derive(Debug, Default)]
pub(super) struct Family {
    pub kind: String,
    pub help: Option<String>,
    pub unit: Option<String>,
    /// By name and labels, as in the text.
    pub samples: BTreeMap<String, f64>,
}

impl Scrape {
    pub(super) fn parse(text: &str, format: ExpositionFormat) -> Self {
        let mut scrape = Self { families: BTreeMap::new(), format };
        let mut current = None;
        assert!(text.ends_with('\n'), "the last line is not complete");
        let text = match format {
            ExpositionFormat::OpenMetrics => text.strip_suffix("# EOF\n").expect("no EOF"),
            _ => text,
        };
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                scrape.comment(comment, &mut current);
            } else {
                let name = current.as_deref().expect("a sample before any family");
                scrape.sample(line, name);
            }
        }
        scrape.check_names();
        scrape.families.iter().for_each(|(name, family)| family.check_histograms(name));
        scrape
    }

    /// The value of a sample, by its name and labels as in the text.
    pub(super) fn value(&self, sample: &str) -> f64 {
        let mut found = self.families.values().filter_map(|family| family.samples.get(sample));
        *found.next().unwrap_or_else(|| panic!("no sample {sample} in {self:#?}"))
    }

    pub(super) fn has(&self, sample: &str) -> bool {
        self.families.values().any(|family| family.samples.contains_key(sample))
    }

    fn comment(&mut self, comment: &str, current: &mut Option<String>) {
        let (word, rest) = comment.split_once(' ').expect("a comment of one word");
        if !matches!(word, "HELP" | "TYPE" | "UNIT") {
            assert_eq!(self.format, ExpositionFormat::Prometheus, "OpenMetrics has no comments: {comment}");
            return;
        }
        let (name, text) = rest.split_once(' ').expect("nothing after the name");
        if current.as_deref() != Some(name) {
            let earlier = self.families.insert(name.to_owned(), Family::default());
            assert!(earlier.is_none(), "the family {name} comes twice");
            *current = Some(name.to_owned());
        }
        let family = self.families.get_mut(name).expect("just looked at or added");
        assert!(family.samples.is_empty(), "{word} of {name} after its samples");
        match word {
            "HELP" => assert_eq!(family.help.replace(text.to_owned()), None, "two HELP of {name}"),
            "UNIT" => {
                assert!(name.ends_with(&format!("_{text}")), "{name} does not end in its unit");
                family.unit = Some(text.to_owned());
            }
            _ => {
                assert!(family.kind.is_empty(), "two TYPE of {name}");
                family.kind = text.to_owned();
            }
        }
    }

    fn sample(&mut self, line: &str, name: &str) {
        let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
        let (sample, labels) = key.split_at(key.find('{').unwrap_or(key.len()));
        check_labels(labels);
        let family = self.families.get_mut(name).expect("the current family is there");
        let suffix = sample.strip_prefix(name).unwrap_or_else(|| panic!("{sample} in the family {name}"));
        let is_openmetrics = self.format == ExpositionFormat::OpenMetrics;
        let allowed: &[&str] = match family.kind.as_str() {
            "counter" if is_openmetrics => &["_total"],
            "unknown" if is_openmetrics => &[""],
            "counter" | "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["_sum", "_count"],
            other => panic!("no such type: {other:?} of {name}"),
        };
        assert!(allowed.contains(&suffix), "{sample} in a {}", family.kind);
        let value = match value {
            "NaN" => f64::NAN,
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            number => {
                assert!(number.bytes().all(|b| b.is_ascii_digit() || b"+-.e".contains(&b)), "{number}");
                number.parse().unwrap()
            }
        };
        let earlier = family.samples.insert(key.to_owned(), value);
        assert!(earlier.is_none(), "{key} comes twice");
    }

    /// No sample may look like one of another family.
    fn check_names(&self) {
        let mut seen = BTreeSet::new();
        for (family, Family { samples, .. }) in &self.families {
            let names: BTreeSet<_> =
                samples.keys().map(|key| key.split('{').next().unwrap_or_default()).collect();
            for name in names.into_iter().chain([family.as_str()]).collect::<BTreeSet<_>>() {
                assert!(seen.insert(name.to_owned()), "{name} belongs to two families");
            }
        }
    }
}

impl Family {
    fn check_histograms(&self, name: &str) {
        if self.kind != "histogram" {
            return;
        }
        let mut buckets = BTreeMap::<String, Vec<(f64, f64)>>::new();
        for (key, value) in &self.samples {
            let Some(labels) = key.strip_prefix(&format!("{name}_bucket")) else { continue };
            let (others, le) = labels.rsplit_once("le=\"").expect("a bucket without bound");
            let le = le.strip_suffix("\"}").expect("the bound comes last");
            let le = if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() };
            let others = others.trim_start_matches('{').trim_end_matches(',');
            buckets.entry(others.to_owned()).or_default().push((le, *value));
        }
        for (labels, mut buckets) in buckets {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "not cumulated: {buckets:?}");
            let (last, all) = *buckets.last().unwrap();
            assert_eq!(last, f64::INFINITY, "no +Inf bucket");
            let set = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            match self.samples.get(&format!("{name}_count{set}")) {
                Some(count) => assert_eq!(*count, all),
                None => assert!(!self.samples.contains_key(&format!("{name}_sum{set}")), "a sum alone"),
            }
        }
    }
}

/// `{name="value",…}`, with what must be escaped escaped.
fn check_labels(labels: &str) {
    if labels.is_empty() {
        return;
    }
    let mut rest = labels.strip_prefix('{').unwrap();
    loop {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{labels}"));
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{labels}");
        rest = after_value(value);
        match rest.split_at(1) {
            (",", more) => rest = more,
            ("}", "") => return,
            _ => panic!("{labels}"),
        }
    }
}

/// What stands after the closing quote.
fn after_value(text: &str) -> &str {
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return &text[at + 1..],
            '\\' => assert!(matches!(chars.next(), Some((_, '\\' | 'n' | '"'))), "{text}"),
            _ => {}
        }
    }
    panic!("the value does not end: {text}");
}
