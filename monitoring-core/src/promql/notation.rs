//! How Prometheus's tests write series down: `up{job="a"} 1 1+2x3 _ stale`.
//!
//! <https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series>

use super::value::ABSENT;
use super::{Label, LabelSet, NAME};

/// Values one line may stand for.
const VALUES_MAX: usize = 1_000_000;

/// Values as they are written: few words may stand for many.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The first value of each piece, what each step adds, if anything, and how many values there are.
    pieces: Vec<(Option<f64>, Option<f64>, usize)>,
}

impl Written {
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(|(.., count)| count).sum()
    }

    /// Values by step, absent ones `None`.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<f64>> {
        self.pieces.iter().flat_map(|(first, step, count)| {
            // A staleness marker is known by its bits; nothing may be added to it.
            let next =
                move |value: &Option<f64>| Some(value.map(|value| step.map_or(value, |step| value + step)));
            std::iter::successors(Some(*first), next).take(*count)
        })
    }
}

/// `name{label="value", …}`, and what follows it.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn series(text: &str) -> Result<(LabelSet, &str), String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let name_end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(name_end);
    let mut labels = vec![Label { name: NAME.into(), value: name.into() }];
    match rest.trim_start().strip_prefix('{') {
        Some(inside) if !inside.starts_with('{') => rest = inside,
        _ => return Ok((labels.into_iter().collect(), rest)),
    }
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels.into_iter().collect(), after));
        }
        let (name, after) = label_name(rest)?;
        let Some(after) = after.trim_start().strip_prefix('=') else {
            labels[0].value = name.as_str().into(); // `{"name"}`
            rest = after;
            continue;
        };
        let (value, after) = quoted(after.trim_start())?;
        labels.retain(|known| *known.name != *name);
        labels.push(Label { name: name.as_str().into(), value: value.as_str().into() });
        rest = after;
    }
}

fn label_name(text: &str) -> Result<(String, &str), String> {
    if text.starts_with(['"', '\'', '`']) {
        return quoted(text);
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    if end == 0 {
        return Err(format!("the name of a label or }} expected at {text:?}"));
    }
    Ok((text[..end].to_owned(), &text[end..]))
}

/// The text in quotes, and what follows.
///
/// # Errors
///
/// There are no quotes, or they do not end.
pub(crate) fn quoted(text: &str) -> Result<(String, &str), String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
    let quote = quote.ok_or_else(|| format!("a text in quotes expected at {text:?}"))?;
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((value, &text[at + 1..]));
        }
        if c != '\\' || quote == '`' {
            value.push(c);
            continue;
        }
        match chars.next() {
            Some((_, 'n')) => value.push('\n'),
            Some((_, 't')) => value.push('\t'),
            Some((_, other)) => value.push(other),
            None => break,
        }
    }
    Err(format!("a text is not closed at {text:?}"))
}

/// `1 2+3x4 _ _x2 stale`; nothing, if there are native histograms among them.
///
/// # Errors
///
/// What is no such value, or that there are too many.
pub(crate) fn values(text: &str) -> Result<Option<Written>, String> {
    let (mut values, mut length) = (Written::default(), 0);
    if text.contains("{{") {
        return Ok(None);
    }
    for item in text.split_whitespace() {
        let (item, times) = match item.rsplit_once('x') {
            Some((item, times)) if !times.is_empty() && times.bytes().all(|byte| byte.is_ascii_digit()) => {
                (item, Some(times.parse::<usize>().unwrap_or(usize::MAX)))
            }
            _ => (item, None),
        };
        // What is repeated n times is there once more; only gaps are not.
        let count = if item == "_" { times.unwrap_or(1) } else { times.unwrap_or(0).saturating_add(1) };
        if count > VALUES_MAX - length {
            return Err(format!("a series has more than {VALUES_MAX} values"));
        }
        length += count;
        values.pieces.push(match item {
            "_" => (None, None, count),
            "stale" => (Some(ABSENT), None, count),
            item => {
                let (first, step) = progression(item)?;
                (Some(first), Some(step), count)
            }
        });
    }
    Ok(Some(values))
}

/// `1+2`: where it begins and what each step adds.
fn progression(item: &str) -> Result<(f64, f64), String> {
    let signs = item
        .char_indices()
        .skip(1)
        .filter(|(at, c)| matches!(c, '+' | '-') && !item[..*at].ends_with(['e', 'E']));
    let wrong = || format!("{item:?} is no value; write it as 1, 1+2x3, _, _x3 or stale");
    match signs.last() {
        Some((at, _)) => number(&item[..at]).zip(number(&item[at..])).ok_or_else(wrong),
        None => number(item).map(|value| (value, 0.0)).ok_or_else(wrong),
    }
}

/// A number as PromQL writes it.
pub(crate) fn number(text: &str) -> Option<f64> {
    if let Some(hex) = text.strip_prefix("0x") {
        #[expect(clippy::cast_precision_loss, reason = "that is what a float of it is")]
        return i64::from_str_radix(hex, 16).ok().map(|value| value as f64);
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::is_present;

    #[test]
    fn values_are_told_one_by_one() {
        let told = |text| {
            let written = values(text)?.unwrap_or_default();
            assert_eq!(written.len(), written.iter().count(), "{text}");
            Ok::<_, String>(written.iter().collect::<Vec<_>>())
        };
        assert_eq!(
            told("1 2+3x2 _ _x2 -1e3"),
            Ok(vec![Some(1.0), Some(2.0), Some(5.0), Some(8.0), None, None, None, Some(-1000.0)])
        );
        assert_eq!(told("3-1x1 2x1"), Ok(vec![Some(3.0), Some(2.0), Some(2.0), Some(2.0)]));
        assert!(told("stalex2 1").unwrap()[..3].iter().flatten().all(|value| !is_present(*value)));
        assert!(values("{{schema:0}}").unwrap().is_none());
        for wrong in ["1+", "x", "1 two", "0x99999999999"] {
            assert!(values(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_series_has_a_name_and_labels() {
        let labels: LabelSet = [(NAME, "up"), ("job", "a\"b"), ("x", "")].into_iter().collect();
        assert_eq!(series(r#"up{job="a\"b", x='',} 1"#), Ok((labels, " 1")));
        let named: LabelSet = [(NAME, "a.b")].into_iter().collect();
        assert_eq!(series(r#"{"a.b"}"#), Ok((named, "")));
        for wrong in ["up{job=a}", "up{job=\"a", "up{=\"a\"}", "up{"] {
            assert!(series(wrong).is_err(), "{wrong}");
        }
    }
}
