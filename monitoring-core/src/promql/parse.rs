//! From the text of a query to its syntax tree, or to the place where it goes wrong.

use std::borrow::Cow;
use std::fmt;

use promql_parser::parser::Expr;

use super::matcher::check_regex;
use super::numbers;
use super::position::{end_of_query, position, to_blame};
use super::tokens::{Kind, Token, tokens};
use super::unexpected::unexpected;

/// Characters of a query.
const CHARS_MAX: usize = 10_000;
/// Brackets inside brackets. The parser itself does not recurse, but whoever walks, prints or
/// drops its tree does.
const DEPTH_MAX: usize = 100;
/// Operators and subqueries, each of which may deepen the tree by one.
const OPERATORS_MAX: usize = 300;
/// Regular expressions, which the parser keeps compiled, and so do we.
pub(crate) const REGEXES_MAX: usize = 50;

/// What the parser says where it has nothing to say.
pub(super) const UNEXPLAINED: &str = "invalid promql query";

/// Text that is no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Where it goes wrong: line and column count from 1, columns in characters. `None` if it is
    /// wrong as a whole.
    pub place: Option<(usize, usize)>,
    pub message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => {
                write!(f, "parse error at line {line}, column {column}: {}", self.message)
            }
            None => f.write_str(&self.message),
        }
    }
}

impl SyntaxError {
    /// As Prometheus words it.
    pub(crate) fn in_prometheus_words(&self) -> String {
        let (line, column) = self.place.unwrap_or((1, 1));
        format!("{line}:{column}: parse error: {}", in_prometheus_words(&self.message))
    }
}

/// The parser's message as Prometheus words it.
fn in_prometheus_words(message: &str) -> String {
    const WORDS: [(&str, &str); 9] = [
        ("must not be empty", "no expression found in input"),
        ("expected type vector", "expected type instant vector"),
        ("expected type matrix", "expected type range vector"),
        (", got vector", ", got instant vector"),
        (", got matrix", ", got range vector"),
        ("only allowed on vector", "only allowed on instant vector"),
        ("allowed between vectors", "allowed between instant vectors"),
        ("an vector selector or matrix selector", "an instant vector selector or range vector selector"),
        ("scalar or vector, got: matrix", "scalar or instant vector, got \"range vector\""),
    ];
    let words = WORDS.iter().fold(message.to_owned(), |text, (ours, theirs)| text.replace(ours, theirs));
    with_double_quotes(&words)
}

/// Names between single quotes get double ones; single characters, such as `'('`, keep theirs.
fn with_double_quotes(text: &str) -> String {
    let pieces: Vec<_> = text.split('\'').collect();
    let is_name =
        |piece: &str| piece.len() > 1 && piece.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
    let mut quoted = pieces[0].to_owned();
    for (n, piece) in pieces.iter().enumerate().skip(1) {
        let name = if n % 2 == 1 { piece } else { &pieces[n - 1] };
        quoted.push(if is_name(name) { '"' } else { '\'' });
        quoted.push_str(piece);
    }
    quoted
}

/// The syntax tree of `query`, whose depth is bounded.
///
/// # Errors
///
/// What is wrong, and where.
pub(crate) fn parse(query: &str) -> Result<Expr, SyntaxError> {
    let refuse = |message: String| Err(SyntaxError { place: None, message });
    if query.trim().is_empty() {
        return refuse("must not be empty".to_owned());
    }
    if query.len() > CHARS_MAX && query.chars().count() > CHARS_MAX {
        return refuse(format!("must have at most {CHARS_MAX} characters"));
    }
    if query.contains('\0') {
        return refuse("must not contain NUL".to_owned()); // PostgreSQL cannot store it
    }
    let tokens = tokens(query);
    if let Err((at, message)) = check_bounds(&tokens) {
        return Err(located(query, at, message));
    }
    let readable = match readable(query, &tokens) {
        Ok(readable) => readable,
        Err(at) => return Err(located(query, at, "the bytes of the string are no UTF-8".to_owned())),
    };
    check_regexes(query, &readable)?;
    promql_parser::parser::parse(&readable).map_err(|message| {
        let place = position(query, &tokens, &message);
        let is_explained = message != UNEXPLAINED && !message.contains("label match");
        let (place, message) = match is_explained {
            true => (to_blame(&tokens, place, &message), message),
            false => (place, unexpected(&tokens, place)),
        };
        let at = tokens.get(place).map_or(query.len(), |token| token.start);
        located(query, at, message)
    })
}

/// The query in words the parser reads right: numbers and durations that it can count, strings between
/// backticks with the escapes it looks for there too, and the bytes that strings name as `\xc3\xa9` or
/// `\303\251` replaced by the characters they make up. The parser takes each for a character of its own.
///
/// # Errors
///
/// The offset of a string whose bytes make up no characters.
fn readable<'q>(query: &'q str, tokens: &[Token<'_>]) -> Result<Cow<'q, str>, usize> {
    let mut readable = Cow::Borrowed(query);
    for token in tokens.iter().rev() {
        let read = match token.kind {
            Kind::Number => numbers::readable(token.text),
            Kind::String if !token.text.contains('\\') => None,
            Kind::String if token.text.starts_with('`') => Some(escaped(token.text)),
            Kind::String => Some(read_bytes(token.text).ok_or(token.start)?),
            _ => None,
        };
        if let Some(read) = read.filter(|read| read != token.text) {
            readable.to_mut().replace_range(token.start..token.end(), &read);
        }
    }
    Ok(readable)
}

/// A string between backticks as one between double quotes.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    text.replace('`', "\"")
}

fn read_bytes(text: &str) -> Option<String> {
    let (mut read, mut bytes) = (Vec::with_capacity(text.len()), text.bytes().enumerate());
    while let Some((at, byte)) = bytes.next() {
        let escaped = (byte == b'\\').then(|| escaped_byte(&text[at + 1..])).flatten();
        match escaped {
            Some((value, length)) if value >= 0x80 => {
                read.push(value);
                bytes.nth(length - 1);
            }
            _ => {
                read.push(byte);
                if byte == b'\\' {
                    read.extend(bytes.next().map(|(_, next)| next));
                }
            }
        }
    }
    String::from_utf8(read).ok()
}

/// The byte an escape stands for, and its length: `xff` or `377`.
fn escaped_byte(text: &str) -> Option<(u8, usize)> {
    let (digits, radix, length) = match text.strip_prefix('x') {
        Some(rest) => (rest.get(..2)?, 16, 3),
        None => (text.get(..3)?, 8, 3),
    };
    u8::from_str_radix(digits, radix).ok().map(|byte| (byte, length))
}

/// Refuses what would overrun the stack of whoever handles the tree.
fn check_bounds(tokens: &[Token<'_>]) -> Result<(), (usize, String)> {
    let mut depth = 0_usize;
    let (mut operators, mut regexes) = (0, 0);
    for (n, token) in tokens.iter().enumerate() {
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth = depth.saturating_sub(1);
        }
        operators += usize::from(deepens(token));
        regexes += usize::from(announces_regex(token));
        if depth > DEPTH_MAX {
            return Err((token.start, format!("brackets are nested more than {DEPTH_MAX} deep")));
        }
        if operators > OPERATORS_MAX {
            return Err((token.start, format!("there are more than {OPERATORS_MAX} operators")));
        }
        if regexes > REGEXES_MAX {
            return Err((token.start, format!("there are more than {REGEXES_MAX} regular expressions")));
        }
        numbers::check(token, &tokens[..n]).map_err(|why| (token.start, why))?;
    }
    Ok(())
}

/// Refuses regular expressions that are none or too large, before the parser compiles them within a
/// limit of its own.
fn check_regexes(query: &str, readable: &str) -> Result<(), SyntaxError> {
    let (tokens, read) = (tokens(query), tokens(readable));
    for (n, token) in read.iter().enumerate().skip(1).filter(|(n, _)| announces_regex(&read[n - 1])) {
        let Ok(pattern) = promql_parser::util::unquote_string(token.text) else { continue };
        // About the condition as a whole.
        let at = tokens.get(n.saturating_sub(2)).map_or(0, |token| token.start);
        check_regex(&pattern).map_err(|message| located(query, at, message))?;
    }
    Ok(())
}

/// `=~` or `!~`.
fn announces_regex(token: &Token<'_>) -> bool {
    token.kind == Kind::Sign && token.text.ends_with('~')
}

/// Whether the tree may be one deeper for it, though nothing is nested.
fn deepens(token: &Token<'_>) -> bool {
    const WORDS: [&str; 4] = ["and", "or", "unless", "atan2"];
    const SIGNS: [&str; 13] = ["+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "["];
    let among = |signs: &[&str]| signs.contains(&token.text);
    match token.kind {
        Kind::Sign => among(&SIGNS),
        _ => WORDS.iter().any(|word| token.is_word(word)),
    }
}

fn located(query: &str, at: usize, message: String) -> SyntaxError {
    let at = at.min(end_of_query(query));
    let before = &query[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    SyntaxError { place: Some((line, column)), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_expressions_are_bounded_in_number_and_size() {
        let query = |count| format!("up{{{}}}", vec!["a=~'b|c'"; count].join(","));
        assert!(parse(&query(REGEXES_MAX)).is_ok());
        let refused = parse(&query(REGEXES_MAX + 1)).unwrap_err().to_string();
        assert!(refused.ends_with("there are more than 50 regular expressions"), "{refused}");
        for quote in ['"', '\'', '`'] {
            let query = |pattern: &str| format!("up{{a='1', a!~{quote}{pattern}{quote}}}");
            assert!(parse(&query("[[:alpha:]]{11}")).is_ok());
            for (pattern, message) in [
                ("[[:alpha:]\u{e9}-\u{fff}]{999}{99}", "takes more than 524288 bytes when it is compiled"),
                ("(", "illegal regex for ("),
            ] {
                let refused = parse(&query(pattern)).unwrap_err();
                assert_eq!(refused.place, Some((1, 11)), "{refused}");
                assert!(refused.message.ends_with(message), "{refused}");
            }
        }
    }

    #[test]
    fn terms_are_bounded_by_what_stands_between_them() {
        let sum = |terms: usize| vec![r#"sum(rate(x{a="b"}[5m]))"#; terms].join(" + ");
        assert!(parse(&sum(150)).is_ok());
        let refused = parse(&vec!["1"; OPERATORS_MAX + 2].join("+")).unwrap_err().to_string();
        assert!(refused.ends_with("there are more than 300 operators"), "{refused}");
    }

    #[test]
    fn nothing_is_escaped_between_backticks() {
        let same = |query: &str, other: &str| assert_eq!(parse(query).unwrap(), parse(other).unwrap());
        same(r"x{a=~`\d+`}", r#"x{a=~"\\d+"}"#);
        same(r"x{a=`C:\`, b=`\n`}", r#"x{a="C:\\", b="\\n"}"#);
        same("x{a=`say \"\\\n\"`}", r#"x{a="say \"\\\n\""}"#);
        let refused = parse(r#"x{a=`\d`, b="\d"}"#).unwrap_err();
        assert_eq!(refused.place, Some((1, 13)), "{refused}");
    }

    #[test]
    fn a_mistake_is_where_what_it_is_about_begins() {
        for (query, place) in [
            ("rate(up)", "1:6"),
            ("x + rate(sum(up) , 2)", "1:5"),
            ("foo(up)", "1:1"),
            ("x + rate(foo(up))", "1:10"),
            ("rate(x[1m], 1)", "1:1"),
            ("scalar(1)", "1:8"),
            ("1 == 2", "1:3"),
            ("x + {}", "1:5"),
            ("x{a=~'('}", "1:3"),
            ("abs(a[5m] + b[5m])", "1:5"),
            ("1 + on(a) x", "1:1"),
        ] {
            let refused = parse(query).unwrap_err().in_prometheus_words();
            assert!(refused.starts_with(&format!("{place}: ")), "{query}: {refused}");
        }
        let nothing = parse(" ").unwrap_err().in_prometheus_words();
        assert_eq!(nothing, "1:1: parse error: no expression found in input");
    }

    #[test]
    fn bytes_in_strings_are_characters_together() {
        assert_eq!(read_bytes(r#""\xc3\xa9 \303\251 \x41 \\xff""#).unwrap(), r#""é é \x41 \\xff""#);
        assert_eq!(read_bytes(r#""\xff""#), None);
        assert!(parse(r#"up{a="\xff"}"#).unwrap_err().to_string().contains("column 6"));
    }
}
