//! Conditions on labels.

use regex::{Regex, RegexBuilder};

use super::error::{QueryError, QueryResult};

/// Memory of one compiled expression, which is taken twice, to search either way: a request may bring
/// many. A dozen `\pL`, each some 45 kilobytes for all the letters there are, fit in.
const COMPILED_BYTES_MAX: usize = 512 * 1024;
/// To compile an expression takes as long as to handle so many cells.
pub(super) const CELLS_PER_COMPILATION: usize = 100_000;
/// To match a byte with a large expression takes as long as to handle so many cells.
const CELLS_PER_BYTE: usize = 50;

/// What it takes to match a value, in cells.
pub(crate) const fn matching_cells(value: &str) -> usize {
    (value.len() + 1) * CELLS_PER_BYTE
}

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
    compiled(pattern, bytes_max).map_err(|error| match error {
        regex::Error::CompiledTooBig(max) => QueryError::bad_data(too_large(max)),
        error => QueryError::bad_data(format!("error parsing regexp: {error}")),
    })
}

/// What is wrong with an expression, if [`anchored`] would not take it.
pub(super) fn check_regex(pattern: &str) -> Result<(), String> {
    compiled(pattern, COMPILED_BYTES_MAX).map(drop).map_err(|error| match error {
        regex::Error::CompiledTooBig(max) => too_large(max),
        _ => format!("illegal regex for {pattern}"),
    })
}

fn too_large(bytes_max: usize) -> String {
    format!("the regular expression takes more than {bytes_max} bytes when it is compiled")
}

fn compiled(pattern: &str, bytes_max: usize) -> Result<Regex, regex::Error> {
    let compile =
        |pattern: &str| RegexBuilder::new(&format!("^(?s:{pattern})$")).size_limit(bytes_max).build();
    let pattern = with_classes_of_go(pattern);
    compile(&pattern).or_else(|error| match error {
        regex::Error::Syntax(_) => compile(&escape_braces(&pattern)),
        error => Err(error),
    })
}

/// Go's classes are of ASCII, and within brackets it knows no others, neither their union nor what they share.
/// Source: the syntax of RE2, <https://github.com/google/re2/wiki/Syntax>.
fn with_classes_of_go(pattern: &str) -> String {
    let mut written = String::with_capacity(pattern.len() + 16);
    let (mut rest, mut in_brackets) = (pattern, false);
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let (escaped, after) = rest.split_at(rest.chars().next().map_or(0, char::len_utf8));
                write_escaped(escaped, in_brackets, &mut written);
                rest = after;
            }
            '[' if in_brackets => match rest.strip_prefix(':').and_then(|rest| rest.split_once(":]")) {
                Some((name, after)) => {
                    written.extend(["[:", name, ":]"]);
                    rest = after;
                }
                None => written.push_str(r"\["),
            },
            '[' => {
                written.push('[');
                for first in ["^", "]"] {
                    if let Some(after) = rest.strip_prefix(first) {
                        written.extend(["\\", first].iter().skip(usize::from(first == "^")).copied());
                        rest = after;
                    }
                }
                in_brackets = true;
            }
            '&' | '~' if in_brackets => written.extend(['\\', c]),
            c => {
                in_brackets &= c != ']';
                written.push(c);
            }
        }
    }
    written
}

/// What stood behind a backslash.
fn write_escaped(escaped: &str, in_brackets: bool, written: &mut String) {
    let class = match escaped {
        "d" | "D" => "0-9",
        "s" | "S" => r"\t\n\f\r ",
        "w" | "W" => "0-9A-Za-z_",
        "b" if !in_brackets => return written.push_str(r"(?-u:\b)"),
        other => return written.extend(["\\", other]),
    };
    // A class is no end of a range: before it, as before another one, `-` is a character.
    if in_brackets && written.ends_with('-') && !written.ends_with("[-") && !written.ends_with("[^-") {
        written.insert(written.len() - 1, '\\');
    }
    match escaped {
        "D" | "S" | "W" => written.extend(["[^", class, "]"]),
        _ if in_brackets => written.push_str(class),
        _ => written.extend(["[", class, "]"]),
    }
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
    fn classes_are_those_of_go() {
        let is_match = |pattern: &str, text: &str| anchored(pattern).unwrap().is_match(text);
        assert!(is_match(r"\w+\d\s", "Ab_9 ") && is_match(r"[\w.-]+", "a.b-c") && is_match(r"[^\d]", "x"));
        assert!(!is_match(r"\w+", "Köln") && !is_match(r"\d", "٣") && !is_match(r"\s", "\u{a0}"));
        assert!(is_match(r"\W\D\S", "öäü") && is_match(r".*\bx", "öx") && is_match("(?i)Ö", "ö"));
        assert!(is_match("[a&&b]+", "&ab") && is_match("[x[y]", "[") && is_match("[]a]", "]"));
        assert!(
            is_match("[[:alpha:]_]+", "ab_")
                && is_match("[a:]b", ":b")
                && !is_match("[[:alpha:]_]+", "1")
                && is_match("[^[:digit:]]", "[")
        );
        assert!(is_match(r"[+-\d]+", "+-7") && !is_match(r"[+-\d]", "A") && is_match(r"[\d-x]+", "7-x"));
        assert!(is_match(r"\[\]\\", r"[]\") && is_match(r"[\]\[]+", "[]") && is_match(r"\pL\x{41}", "öA"));
    }

    #[test]
    fn braces_that_repeat_nothing_are_text() {
        assert!(anchored("a{x}").unwrap().is_match("a{x}"));
        assert!(anchored(r"\{a{2}{{").unwrap().is_match("{aa{{"));
        assert!(anchored("(").is_err());
    }
}
