//! What a query has where something else should be, in Prometheus's words.
//!
//! Source: `Item.desc` and the `error` rules of `promql/parser` in Prometheus.

use super::tokens::{Kind, Token};

const KEYWORDS: [&str; 8] =
    ["bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "without"];
const OPERATORS: [&str; 4] = ["and", "or", "unless", "atan2"];
const AGGREGATIONS: [&str; 14] = [
    "avg",
    "bottomk",
    "count",
    "count_values",
    "group",
    "limit_ratio",
    "limitk",
    "max",
    "min",
    "quantile",
    "stddev",
    "stdvar",
    "sum",
    "topk",
];
/// Words behind which a list of labels follows.
const GROUPINGS: [&str; 4] = ["by", "ignoring", "on", "without"];
/// Characters of a text shown.
const SHOWN_MAX: usize = 10;

/// What is wrong with the token at this place, or with the end if there is none.
pub(super) fn unexpected(tokens: &[Token<'_>], place: usize) -> String {
    let found = tokens.get(place).map_or_else(|| "end of input".to_owned(), described);
    format!("unexpected {found}{}", context(&tokens[..place.min(tokens.len())]))
}

fn described(token: &Token<'_>) -> String {
    let is_among = |words: &[&str]| words.iter().any(|word| token.is_word(word));
    let text = token.text;
    match token.kind {
        Kind::Word if is_among(&KEYWORDS) => format!("<{text}>"),
        Kind::Word if is_among(&OPERATORS) => format!("<op:{text}>"),
        Kind::Word if is_among(&AGGREGATIONS) => format!("<aggr:{text}>"),
        Kind::Word if text.contains(':') => format!("metric identifier {text:?}"),
        Kind::Word => format!("identifier {text:?}"),
        Kind::Number if is_duration(text) => format!("duration {}", shown(text)),
        Kind::Number => format!("number {}", shown(text)),
        Kind::String => format!("string {}", shown(text)),
        Kind::Sign if is_operator(text) => format!("<op:{text}>"),
        Kind::Sign => shown(text),
    }
}

fn is_duration(text: &str) -> bool {
    text.ends_with(|last: char| last.is_ascii_alphabetic())
        && !text.starts_with("0x")
        && !text.starts_with("0X")
}

fn is_operator(sign: &str) -> bool {
    !matches!(sign, "(" | ")" | "[" | "]" | "{" | "}" | "," | ":" | "=")
}

/// In quotes, and cut if it is long.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Where that is, and what should be there.
fn context(before: &[Token<'_>]) -> String {
    let Some(last) = before.last() else { return String::new() };
    let open = innermost(before);
    let expected = match open.map(|place| before[place].text) {
        Some("{") => in_matchers(last),
        Some("(") if is_grouping(&before[..open.unwrap_or_default()]) => in_grouping(last),
        _ if is_grouping(before) => ("grouping opts", r#""(""#),
        _ if last.is_word("offset") => ("offset", "duration"),
        _ => return String::new(),
    };
    format!(" in {}, expected {}", expected.0, expected.1)
}

fn in_matchers(last: &Token<'_>) -> (&'static str, &'static str) {
    const CONTEXT: &str = "label matching";
    match (last.kind, last.text) {
        (Kind::Sign, "{" | ",") => (CONTEXT, r#"identifier or "}""#),
        (Kind::Sign, _) => (CONTEXT, "string"),
        (Kind::String, _) => (CONTEXT, r#""," or "}""#),
        _ => (CONTEXT, "label matching operator"),
    }
}

fn in_grouping(last: &Token<'_>) -> (&'static str, &'static str) {
    const CONTEXT: &str = "grouping opts";
    if last.kind == Kind::Sign { (CONTEXT, "label") } else { (CONTEXT, r#""," or ")""#) }
}

/// Whether a list of labels follows.
fn is_grouping(before: &[Token<'_>]) -> bool {
    before.last().is_some_and(|last| GROUPINGS.iter().any(|word| last.is_word(word)))
}

/// The last bracket that is open.
fn innermost(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.iter().rposition(|token| {
        if token.closes() {
            depth += 1;
        } else if token.opens() {
            if depth == 0 {
                return true;
            }
            depth -= 1;
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use crate::promql::parse;

    #[test]
    fn what_is_there_is_named_as_prometheus_names_it() {
        for (query, refusal) in [
            ("github stars", r#"1:8: parse error: unexpected identifier "stars""#),
            ("a:b c:d", r#"1:5: parse error: unexpected metric identifier "c:d""#),
            ("1 2", r#"1:3: parse error: unexpected number "2""#),
            ("x 5m", r#"1:3: parse error: unexpected duration "5m""#),
            ("*1", "1:1: parse error: unexpected <op:*>"),
            ("x bool", "1:3: parse error: unexpected <bool>"),
            ("x offset", "1:9: parse error: unexpected end of input in offset, expected duration"),
            ("x sum", "1:3: parse error: unexpected <aggr:sum>"),
            ("x 'a string of many'", r#"1:3: parse error: unexpected string "'a string "..."#),
            ("x +", "1:4: parse error: unexpected end of input"),
            ("x{a=}", r#"1:5: parse error: unexpected "}" in label matching, expected string"#),
            (
                "x{a}",
                r#"1:4: parse error: unexpected "}" in label matching, expected label matching operator"#,
            ),
            (
                r#"x{a="b" c="d"}"#,
                r#"1:9: parse error: unexpected identifier "c" in label matching, expected "," or "}""#,
            ),
            (r#"x{,}"#, r#"1:3: parse error: unexpected "," in label matching, expected identifier or "}""#),
            ("sum by x (y)", r#"1:8: parse error: unexpected identifier "x" in grouping opts, expected "(""#),
            ("sum by (1) (y)", r#"1:9: parse error: unexpected number "1" in grouping opts, expected label"#),
        ] {
            assert_eq!(parse(query).unwrap_err().in_prometheus_words(), refusal, "{query}");
        }
    }
}
