//! Conditions on labels.

use regex::{Regex, RegexBuilder};

use super::error::{QueryError, QueryResult};

/// Memory of one compiled expression: a request may bring many.
const COMPILED_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A condition on one label. An absent label is an empty one.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    pub name: String,
    pub condition: Condition,
}

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Equal(String),
    NotEqual(String),
    /// The whole value must match.
    Matches(Regex),
    MatchesNot(Regex),
}

impl Matcher {
    /// Whether a label of this value fulfils it.
    pub(crate) fn accepts(&self, value: &str) -> bool {
        match &self.condition {
            Condition::Equal(expected) => value == expected,
            Condition::NotEqual(refused) => value != refused,
            Condition::Matches(regex) => regex.is_match(value),
            Condition::MatchesNot(regex) => !regex.is_match(value),
        }
    }

    /// The value it demands, if it demands one.
    pub(crate) fn demanded(&self) -> Option<&str> {
        match &self.condition {
            Condition::Equal(value) => Some(value),
            _ => None,
        }
    }
}

/// A regular expression that must match the whole text, a dot matching line ends too, as in
/// Prometheus.
pub(crate) fn anchored(pattern: &str) -> QueryResult<Regex> {
    anchored_within(pattern, COMPILED_BYTES_MAX)
}

/// The same, of so many bytes at most.
pub(crate) fn anchored_within(pattern: &str, bytes_max: usize) -> QueryResult<Regex> {
    let compiled =
        |pattern: &str| RegexBuilder::new(&format!("^(?s:{pattern})$")).size_limit(bytes_max).build();
    compiled(pattern)
        .or_else(|_| compiled(&escape_braces(pattern)))
        .map_err(|error| QueryError::bad_data(format!("error parsing regexp: {error}")))
}

/// Go takes a brace that begins no repetition for itself, Rust's `regex` does not.
fn escape_braces(pattern: &str) -> String {
    let mut escaped = String::with_capacity(pattern.len() + 4);
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '{' => {
                if !begins_repetition(rest) {
                    escaped.push('\\');
                }
                1
            }
            c => c.len_utf8(),
        };
        escaped.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    escaped
}

/// `{2}`, `{2,}` or `{2,3}`.
fn begins_repetition(text: &str) -> bool {
    let Some((inside, _)) = text[1..].split_once('}') else { return false };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && is_number(least) && is_number(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_value_must_match() {
        let regex = anchored("a|b.").unwrap();
        assert!(regex.is_match("a") && regex.is_match("b\n"));
        assert!(!regex.is_match("ab") && !regex.is_match("xa"));
    }

    #[test]
    fn braces_that_repeat_nothing_are_text() {
        assert!(anchored("a{x}").unwrap().is_match("a{x}"));
        assert!(anchored(r"\{a{2}{{").unwrap().is_match("{aa{{"));
        assert!(anchored("(").is_err());
    }
}
