//! A query cut into words, before the parser sees it.
//!
//! This knows just enough of PromQL to tell strings and comments from the rest: what it promises
//! is that cutting never fails, never recurses, and that no token spans two of the parser's.

/// One word, number, string or sign of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'q> {
    /// Offset of its first byte.
    pub start: usize,
    pub text: &'q str,
    pub kind: Kind,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    /// With its quotes; the closing one may be missing.
    String,
    Sign,
}

impl Token<'_> {
    /// Offset behind its last byte.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it opens a bracket of any kind.
    pub(super) fn opens(&self) -> bool {
        matches!(self.text, "(" | "[" | "{")
    }

    /// Whether it closes a bracket of any kind.
    pub(super) fn closes(&self) -> bool {
        matches!(self.text, ")" | "]" | "}")
    }

    /// Whether it is this keyword, in any case.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }
}

/// The tokens of `query`, without blanks and comments.
pub(super) fn tokens(query: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = query[start..].chars().next() {
        let rest = &query[start..];
        let (kind, length) = match first {
            ' ' | '\t' | '\n' | '\r' | '\x0c' => (None, 1),
            '#' => (None, rest.find(['\n', '\r']).unwrap_or(rest.len())),
            '"' | '\'' | '`' => (Some(Kind::String), string_length(rest, first)),
            '0'..='9' => (Some(Kind::Number), number_length(rest)),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                (Some(Kind::Number), number_length(rest))
            }
            'a'..='z' | 'A'..='Z' | '_' => (Some(Kind::Word), word_length(rest)),
            _ => (Some(Kind::Sign), sign_length(rest, first)),
        };
        tokens.extend(kind.map(|kind| Token { start, text: &rest[..length], kind }));
        start += length;
    }
    tokens
}

/// To the closing quote. Between backticks nothing is escaped.
fn string_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Digits, a unit, an exponent with its sign: whatever belongs together.
fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let is_hex = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].eq_ignore_ascii_case(&b'x');
    let mut length = 0;
    while let Some(&byte) = bytes.get(length) {
        let is_exponent_sign = !is_hex
            && matches!(byte, b'+' | b'-')
            && length > 0
            && bytes[length - 1].eq_ignore_ascii_case(&b'e');
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || is_exponent_sign) {
            break;
        }
        length += 1;
    }
    length
}

fn word_length(rest: &str) -> usize {
    rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len())
}

fn sign_length(rest: &str, first: char) -> usize {
    let pairs = ["==", "!=", "<=", ">=", "=~", "!~"];
    if pairs.iter().any(|pair| rest.starts_with(pair)) { 2 } else { first.len_utf8() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(query: &str) -> Vec<&str> {
        tokens(query).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn a_query_is_cut_where_the_parser_cuts_it() {
        assert_eq!(
            texts(r#"rate(a:b{c=~"d\"e"}[5m:1m]) >= -1.5e+3 # why"#),
            [
                "rate",
                "(",
                "a:b",
                "{",
                "c",
                "=~",
                r#""d\"e""#,
                "}",
                "[",
                "5m",
                ":",
                "1m",
                "]",
                ")",
                ">=",
                "-",
                "1.5e+3"
            ]
        );
        assert_eq!(texts("x==1"), ["x", "==", "1"]);
        assert_eq!(texts(r"{p=`C:\`}"), ["{", "p", "=", r"`C:\`", "}"]);
        assert_eq!(texts("0x1e+1"), ["0x1e", "+", "1"]);
    }

    #[test]
    fn brackets_in_strings_and_comments_are_text() {
        assert!(!tokens("'((((' # ((((").iter().any(Token::opens));
    }

    #[test]
    fn a_string_that_never_ends_takes_the_rest() {
        assert_eq!(texts(r#"x{a="b}\"#), ["x", "{", "a", "=", r#""b}\"#]);
    }
}
