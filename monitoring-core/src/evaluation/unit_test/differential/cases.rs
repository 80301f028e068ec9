//! Random files of tests: series with gaps, resets and ends, and rules over them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::expressions::{alert_query, recorded_query};
use super::{quoted, seconds};
use crate::promql::format_value;

/// A file of tests with its rules. All times are seconds, and multiples of five.
#[derive(Clone, Debug)]
pub(super) struct Case {
    sample_seconds: i64,
    pub evaluation_seconds: i64,
    pub steps: i64,
    /// Whether series may be without samples for as long as an old one is seen.
    has_long_gaps: bool,
    series: Vec<MadeSeries>,
    rules: Vec<MadeRule>,
    /// How many of the rules are in the first group.
    in_first: usize,
    limit: u32,
}

#[derive(Clone, Debug)]
struct MadeSeries {
    name: &'static str,
    job: &'static str,
    instance: &'static str,
    pieces: Vec<Piece>,
    /// Whether it ends with its last piece, or goes on.
    ends: bool,
}

#[derive(Clone, Debug)]
enum Piece {
    Values(Vec<f64>),
    Same(f64, i64),
    Gap(i64),
    Stale,
}

#[derive(Clone, Debug)]
struct MadeRule {
    query: String,
    is_recording: bool,
    hold: &'static str,
    keep_firing: &'static str,
    labels: Vec<(&'static str, &'static str)>,
    annotations: Vec<(&'static str, &'static str)>,
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    any::<bool>().prop_flat_map(|has_long_gaps| {
        let times = (select(vec![10_i64, 15, 20, 30, 60]), select(vec![15_i64, 30, 60]), 8..45_i64);
        let limit = prop_oneof![12 => Just(0_u32), 1 => 1..4_u32];
        let parts = (vec(series(), 1..8), vec(rule(has_long_gaps), 1..7), 0..7_usize, limit);
        (times, parts).prop_map(move |(times, (series, rules, in_first, limit))| {
            let (sample_seconds, evaluation_seconds, steps) = times;
            let in_first = in_first.min(rules.len());
            let mut known = std::collections::BTreeSet::new();
            let mut series = series;
            series.retain(|one: &MadeSeries| known.insert((one.name, one.job, one.instance)));
            Case { sample_seconds, evaluation_seconds, steps, has_long_gaps, series, rules, in_first, limit }
        })
    })
}

fn series() -> impl Strategy<Value = MadeSeries> {
    let labels =
        (select(vec!["g", "g", "c"]), select(vec!["a", "b", "x y"]), select(vec!["", "1", "q\"2", "ü\\3"]));
    (labels, vec(piece(), 1..12), any::<bool>())
        .prop_map(|((name, job, instance), pieces, ends)| MadeSeries { name, job, instance, pieces, ends })
}

fn piece() -> impl Strategy<Value = Piece> {
    let value = prop_oneof![
        8 => (-24..48_i16).prop_map(|eighths| f64::from(eighths) / 8.0),
        6 => (-1..4_i16).prop_map(f64::from),
        1 => select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    ];
    prop_oneof![
        4 => vec(value.clone(), 1..6).prop_map(Piece::Values),
        5 => (value, 1..14_i64).prop_map(|(value, count)| Piece::Same(value, count)),
        3 => (1..40_i64).prop_map(Piece::Gap),
        1 => Just(Piece::Stale),
    ]
}

fn rule(has_long_gaps: bool) -> impl Strategy<Value = MadeRule> {
    let durations = vec!["0s", "0s", "15s", "30s", "37s", "1m", "90s", "2m", "5m"];
    let query = prop_oneof![
        5 => alert_query(has_long_gaps).prop_map(|query| (query, false)),
        1 => recorded_query(has_long_gaps).prop_map(|query| (query, true)),
    ];
    (query, select(durations.clone()), select(durations), labels(), annotations()).prop_map(
        |((query, is_recording), hold, keep_firing, labels, annotations)| MadeRule {
            query,
            is_recording,
            hold,
            keep_firing,
            labels,
            annotations,
        },
    )
}

/// None that may come to nothing: on the alert there is no such label then, in both; but Prometheus's series
/// `ALERTS` has the template itself as its value.
fn labels() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let one = select(vec![
        ("severity", "page"),
        ("severity", "{{ if gt $value 1.5 }}page{{ else }}ticket{{ end }}"),
        ("team", "{{ $labels.job }}/{{ .Labels.instance }}"),
        ("zone", "{{ $externalLabels.zone }}"),
        ("instance", "fixed"),
        ("job", "{{ $labels.job | toUpper }}!"),
    ]);
    prop_oneof![2 => Just(Vec::new()), 3 => vec(one, 1..3)]
}

fn annotations() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let one = select(vec![
        ("summary", "{{ $labels.instance }} of {{ $labels.job }} is at {{ printf \"%.2f\" $value }}"),
        ("summary", "{{ $value | humanize }}"),
        ("share", "{{ $value | humanizePercentage }}"),
        (
            "others",
            "{{ range query \"max by (job) (g offset 7s)\" | sortByLabel \"job\" }}{{ .Labels.job }} {{ end }}",
        ),
        ("description", "{{ with $labels.instance }}on {{ . }}{{ else }}nowhere{{ end }}"),
        ("first", "{{ with query \"count(g offset 7s)\" }}{{ . | first | value }}{{ end }}"),
    ]);
    prop_oneof![2 => Just(Vec::new()), 3 => vec(one, 1..3)]
}

impl Case {
    /// When the rules are evaluated for the last time.
    pub(super) fn end(&self) -> i64 {
        (self.steps - 1) * self.evaluation_seconds
    }

    /// The file of rules.
    pub(super) fn rules(&self) -> String {
        let (mut alerts, mut records) = (0, 0);
        let mut named = |rule: &MadeRule| {
            let count = if rule.is_recording { &mut records } else { &mut alerts };
            *count += 1;
            rule.shown(*count)
        };
        let rules: Vec<_> = self.rules.iter().map(&mut named).collect();
        let (first, second) = rules.split_at(self.in_first);
        let group =
            |(name, rules): (&str, &[Value])| json!({"name": name, "rules": rules, "limit": self.limit});
        let groups = [("first", first), ("second", second)].map(group);
        json!({"groups": groups}).to_string()
    }

    /// The file of tests, without any expectation.
    pub(super) fn tests(&self) -> Value {
        let series: Vec<_> = self
            .series
            .iter()
            .map(|series| json!({"series": series.notation(), "values": series.values(self)}))
            .collect();
        json!({
            "rule_files": ["rules.yml"],
            "evaluation_interval": seconds(self.evaluation_seconds),
            "group_eval_order": ["first", "second"],
            "tests": [{
                "interval": seconds(self.sample_seconds),
                "external_labels": {"zone": "eu"},
                "input_series": series,
            }],
        })
    }
}

impl MadeRule {
    /// The rule in its file, as the first or second or later of its kind.
    fn shown(&self, number: usize) -> Value {
        let texts = |texts: &[(&str, &str)]| {
            let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), json!(text)));
            Value::Object(texts.collect::<Map<_, _>>())
        };
        if self.is_recording {
            return json!({"record": format!("r{number}"), "expr": self.query, "labels": {"origin": "recorded"}});
        }
        json!({
            "alert": format!("A{number}"),
            "expr": self.query,
            "for": self.hold,
            "keep_firing_for": self.keep_firing,
            "labels": texts(&self.labels),
            "annotations": texts(&self.annotations),
        })
    }
}

impl MadeSeries {
    fn notation(&self) -> String {
        let labels = [("job", self.job), ("instance", self.instance)];
        let labels = labels.iter().filter(|(_, value)| !value.is_empty());
        let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={}", quoted(value))).collect();
        format!("{}{{{}}}", self.name, labels.join(","))
    }

    /// Its values as tests of rules write them, up to the end of the case at least, unless it ends.
    fn values(&self, case: &Case) -> String {
        // Short of five minutes, within which a selector sees the last sample: just then it would depend
        // on which end of that span counts.
        let gap_max = if case.has_long_gaps { i64::MAX } else { 240 / case.sample_seconds - 1 };
        let (mut values, mut gap, mut total, mut last) = (Vec::new(), 0, 0.0, 0.0);
        for piece in &self.pieces {
            let (readings, count) = match piece {
                Piece::Values(readings) => (readings.clone(), 1),
                Piece::Same(reading, count) => (vec![*reading], *count),
                Piece::Gap(count) => {
                    let count = (*count).min(gap_max.saturating_sub(gap)).max(0);
                    gap = gap.saturating_add(count);
                    values.extend((0..count).map(|_| "_".to_owned()));
                    continue;
                }
                Piece::Stale => (Vec::new(), 0),
            };
            gap = 0;
            if count == 0 {
                values.push("stale".to_owned());
            }
            for reading in readings.iter().cycle().take(readings.len() * count as usize) {
                last = if self.name == "c" { counted(&mut total, *reading) } else { *reading };
                values.push(written(last));
            }
        }
        if self.ends {
            values.push("stale".to_owned());
        } else {
            let count = case.end() / case.sample_seconds + 1;
            let missing = usize::try_from(count).unwrap_or(0).saturating_sub(values.len());
            values.extend((0..missing).map(|_| written(last)));
        }
        values.join(" ")
    }
}

/// A counter goes up, and begins anew when it is told to go down.
fn counted(total: &mut f64, reading: f64) -> f64 {
    *total = if reading < 0.0 || !reading.is_finite() { 0.0 } else { *total + reading };
    *total
}

fn written(value: f64) -> String {
    format_value(value).replace("+Inf", "Inf")
}
