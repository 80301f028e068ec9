//! The language of the scripts:
//! <https://github.com/prometheus/prometheus/blob/main/promql/promqltest/README.md>.

use crate::promql::functions::seconds;
use crate::promql::memory::Loaded;
use crate::promql::notation::{self, number, quoted};
use crate::promql::{LabelSet, Memory, QueryValue, SeriesValues, parse as parse_query};

pub(crate) enum Command {
    Clear,
    Load(Vec<Loaded>),
    Eval(Eval),
}

/// A query, and what it must yield.
pub(crate) struct Eval {
    pub line: usize,
    pub query: String,
    pub start: i64,
    pub end: i64,
    /// Zero for an instant query.
    pub step: i64,
    pub expected: Expected,
    is_ordered: bool,
    needs_histograms: bool,
}

pub(crate) enum Expected {
    Failure(Option<String>),
    Scalar(f64),
    Text(String),
    /// Values by step; absent ones are `None`.
    Series(Vec<(LabelSet, Vec<Option<f64>>)>),
    /// Series of samples from so many milliseconds on, this far apart.
    Range(i64, i64, Vec<(LabelSet, Vec<Option<f64>>)>),
}

/// Features that are off in Prometheus unless switched on.
const EXPERIMENTAL: [&str; 12] = [
    "histogram_quantiles(",
    "info(",
    "max_of(",
    "min_of(",
    "anchored",
    "smoothed",
    "fill(",
    "fill_left(",
    "fill_right(",
    "start_timestamp(",
    "range()",
    "step()",
];

pub(crate) fn parse(text: &str) -> Vec<Command> {
    let lines: Vec<_> =
        text.lines().map(|line| if line.trim().starts_with('#') { "" } else { line.trim() }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let block: Vec<_> = lines[at + 1..].iter().take_while(|line| !line.is_empty()).copied().collect();
        match line.split_whitespace().next() {
            None => at += 1,
            Some("clear") => {
                commands.push(Command::Clear);
                at += 1;
            }
            Some(word) if word.starts_with("load") => {
                let interval = duration(line.split_whitespace().nth(1).expect("an interval"));
                let mut loaded: Vec<_> = block.iter().filter_map(|line| load(line, interval)).collect();
                if word == "load_with_nhcb" {
                    let native: Vec<_> = loaded.iter().filter_map(|(labels, _)| native(labels)).collect();
                    loaded.extend(native.into_iter().map(|labels| (labels, None)));
                }
                commands.push(Command::Load(loaded));
                at += block.len() + 1;
            }
            Some(word) if word.starts_with("eval") => {
                let (eval, used) = eval(at + 1, line, &block);
                commands.push(Command::Eval(eval));
                at += used + 1;
            }
            Some(other) => panic!("line {}: unknown command {other}", at + 1),
        }
    }
    commands
}

fn load(line: &str, interval: i64) -> Option<Loaded> {
    let (labels, rest) = series(line)?;
    let values = values(rest).map(|values| {
        let samples =
            values.into_iter().enumerate().filter_map(|(n, value)| Some((n as i64 * interval, value?)));
        samples.collect()
    });
    Some((labels, values))
}

/// The native histogram that a script makes beside a series of a classic one.
fn native(labels: &LabelSet) -> Option<LabelSet> {
    let name = labels.value("__name__");
    let base = ["_bucket", "_count", "_sum"].iter().find_map(|ending| name.strip_suffix(ending))?;
    Some(labels.with("le", "").with("__name__", base))
}

fn eval(line_number: usize, line: &str, block: &[&str]) -> (Eval, usize) {
    let (head, rest) = line.split_once(char::is_whitespace).expect("more than a word");
    let mut words = rest;
    let (mut start, mut end, mut step) = (0, 0, 0);
    if word(&mut words) == "instant" {
        if words.trim_start().starts_with("at ") {
            word(&mut words);
            start = duration(word(&mut words));
            end = start;
        }
    } else {
        for (keyword, time) in [("from", &mut start), ("to", &mut end), ("step", &mut step)] {
            assert_eq!(word(&mut words), keyword);
            *time = duration(word(&mut words));
        }
    }
    let mut eval = Eval {
        line: line_number,
        query: words.trim().to_owned(),
        start,
        end,
        step,
        expected: Expected::Series(Vec::new()),
        is_ordered: head == "eval_ordered",
        needs_histograms: false,
    };
    if head == "eval_fail" {
        eval.expected = Expected::Failure(None);
    }
    let mut used = 0;
    for line in block {
        used += 1;
        if eval.expect(line) {
            break;
        }
    }
    (eval, used)
}

fn word<'w>(words: &mut &'w str) -> &'w str {
    let (word, rest) = words.trim_start().split_once(char::is_whitespace).expect("another word");
    *words = rest;
    word
}

impl Eval {
    /// Takes in a line of what is expected. True if it is the last.
    fn expect(&mut self, line: &str) -> bool {
        if let Some(expectation) = line.strip_prefix("expect ") {
            self.expect_words(expectation);
            return false;
        }
        if line.starts_with("expected_fail") {
            return false;
        }
        if let Some(value) = number(line) {
            self.expected = Expected::Scalar(value);
            return true;
        }
        let (labels, rest) = series(line).expect("a series");
        match (values(rest), &mut self.expected) {
            (Some(values), Expected::Series(all) | Expected::Range(_, _, all)) => all.push((labels, values)),
            _ => self.needs_histograms = true,
        }
        false
    }

    fn expect_words(&mut self, expectation: &str) {
        let words: Vec<_> = expectation.split_whitespace().collect();
        match words[..] {
            ["fail", ..] => {
                let message = expectation.split_once("msg:").map(|(_, message)| message.trim().to_owned());
                self.expected = Expected::Failure(message);
            }
            ["ordered"] => self.is_ordered = true,
            ["string", ..] => {
                self.expected =
                    Expected::Text(quoted(expectation["string".len()..].trim_start()).expect("a text").0)
            }
            ["range", "vector", "from", start, "to", _, "step", step] => {
                self.expected = Expected::Range(duration(start), duration(step), Vec::new());
            }
            _ => {}
        }
    }

    /// Whether the case is about something this engine does not have.
    pub(crate) fn is_left_out(&self, memory: &Memory) -> bool {
        self.needs_histograms
            || EXPERIMENTAL.iter().any(|feature| self.query.contains(feature))
            || self.query.contains("start()")
                && !self.query.contains("@ start()")
                && !self.query.contains("@start()")
            || memory.incomplete.iter().any(|labels| self.may_select(labels))
            || self.query.contains("</")
            || self.query.contains(">/")
    }

    fn may_select(&self, labels: &LabelSet) -> bool {
        let Ok(expression) = parse_query(&self.query) else { return true };
        selectors(&expression)
            .iter()
            .any(|matchers| matchers.iter().all(|matcher| matcher.accepts(labels.value(&matcher.name))))
    }

    pub(crate) fn compare(&self, answer: &QueryValue) -> Result<(), String> {
        match (&self.expected, answer) {
            (Expected::Scalar(expected), QueryValue::Scalar(_, value)) if same(*expected, *value) => Ok(()),
            (Expected::Text(expected), QueryValue::Text(_, text)) if expected == text => Ok(()),
            (Expected::Series(expected), QueryValue::Vector(series) | QueryValue::Matrix(series)) => {
                compare_series(&at_times(expected, self.start, self.step), series, self.is_ordered)
            }
            (Expected::Range(start, step, expected), QueryValue::Matrix(series)) => {
                compare_series(&at_times(expected, *start, *step), series, false)
            }
            _ => Err(format!("yields {answer:?}")),
        }
    }
}

fn at_times(expected: &[(LabelSet, Vec<Option<f64>>)], start: i64, step: i64) -> Vec<SeriesValues> {
    let series = expected.iter().map(|(labels, values)| {
        let samples =
            values.iter().enumerate().filter_map(|(n, value)| Some((start + n as i64 * step, (*value)?)));
        SeriesValues { labels: labels.clone(), samples: samples.collect() }
    });
    series.filter(|series| !series.samples.is_empty()).collect()
}

/// Every instant and range selector in a query.
fn selectors(expression: &promql_parser::parser::Expr) -> Vec<Vec<crate::promql::Matcher>> {
    use promql_parser::parser::Expr;
    use promql_parser::util::{ExprVisitor, walk_expr};

    struct Collect(Vec<Vec<crate::promql::Matcher>>);
    impl ExprVisitor for Collect {
        type Error = std::convert::Infallible;

        fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Self::Error> {
            let selector = match expression {
                Expr::VectorSelector(selector) => Some(selector),
                Expr::MatrixSelector(matrix) => Some(&matrix.vs),
                _ => None,
            };
            self.0.extend(selector.and_then(|selector| crate::promql::planner::matchers(selector).ok()));
            Ok(true)
        }
    }
    let mut collect = Collect(Vec::new());
    let _ = walk_expr(&mut collect, expression);
    collect.0
}

/// Whether both have the same series with the same samples, in the same order if asked.
pub(crate) fn compare_series(
    expected: &[SeriesValues],
    actual: &[SeriesValues],
    is_ordered: bool,
) -> Result<(), String> {
    let shown = |series: &SeriesValues| {
        let samples = series.samples.iter().map(|(time, value)| format!("{value}@{}", seconds(*time)));
        format!("{} {}", series.labels, samples.collect::<Vec<_>>().join(" "))
    };
    let list = |series: &[SeriesValues]| series.iter().map(shown).collect::<Vec<_>>().join("\n      ");
    let same_series = |a: &SeriesValues, b: &SeriesValues| {
        let same_samples =
            |((a_time, a), (b_time, b)): (&(i64, f64), &(i64, f64))| a_time == b_time && same(*a, *b);
        a.labels == b.labels
            && a.samples.len() == b.samples.len()
            && a.samples.iter().zip(&b.samples).all(same_samples)
    };
    let is_same = expected.len() == actual.len()
        && expected.iter().enumerate().all(|(n, series)| {
            if is_ordered {
                same_series(series, &actual[n])
            } else {
                actual.iter().any(|other| same_series(series, other))
            }
        });
    if is_same {
        return Ok(());
    }
    Err(format!("expected\n      {}\n    but it yields\n      {}", list(expected), list(actual)))
}

/// Equal up to a millionth.
fn same(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    a == b || (a - b).abs() / (a.abs() + b.abs()).min(f64::MAX) < 1e-6 || (a - b).abs() < 1e-300
}

/// `name{label="value", …}`, and what follows; nothing if it has a start timestamp.
fn series(text: &str) -> Option<(LabelSet, &str)> {
    let (labels, rest) = notation::series(text).expect("a series");
    (!rest.starts_with('@')).then_some((labels, rest))
}

fn values(text: &str) -> Option<Vec<Option<f64>>> {
    Some(notation::values(text).expect("values")?.iter().collect())
}

/// `1m30s`, or a number of seconds; in milliseconds.
fn duration(text: &str) -> i64 {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds * 1000.0).round() as i64;
    }
    let (negative, mut rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let mut millis = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).expect("a unit");
        let (count, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let unit_millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "y" => 365 * 86_400_000,
            other => panic!("unknown unit {other}"),
        };
        millis += count.parse::<i64>().expect("a number") * unit_millis;
        rest = after;
    }
    if negative { -millis } else { millis }
}
