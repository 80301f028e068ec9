//! Where a query goes wrong.
//!
//! The parser says what is wrong, but not where. So we ask it again about beginnings of the query:
//! a beginning is fine as long as some ending makes the complaint go away, and the complaint is
//! about the first token behind which none does.

use promql_parser::parser;

use super::parse::UNEXPLAINED;
use super::tokens::{Kind, Token};

/// Most work spent on looking, in bytes handed to the parser. Past it the end of what is known to
/// be fine must do.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Place of the token behind which the parser complains, or behind the last where something is missing
/// there.
pub(super) fn position(query: &str, tokens: &[Token<'_>], complaint: &str) -> usize {
    let masked = mask(query, tokens, 0);
    let mut judge = Judge { complaint, budget: BYTES_MAX };
    if judge.accepts(&masked) {
        // With harmless strings all is well: the first string that is not harmless is to blame.
        let strings: Vec<_> = tokens.iter().filter(|token| token.kind == Kind::String).collect();
        let fine = strings.partition_point(|string| judge.accepts(&mask(query, tokens, string.end())));
        let to_blame = strings.get(fine).map_or(query.len(), |string| string.start);
        return tokens.partition_point(|token| token.start < to_blame);
    }
    partition_point(tokens.len(), |n| judge.is_beginning(&masked, &tokens[..=n]))
}

/// Place of the first token of what a complaint is about, which is known behind the token at `place`.
pub(super) fn to_blame(tokens: &[Token<'_>], place: usize, complaint: &str) -> usize {
    let before = &tokens[..place.min(tokens.len())];
    let quoted = |start: &str| complaint.split_once(start)?.1.split('\'').next();
    let call_of = |name: &str| {
        let is_call = |pair: &[Token<'_>]| pair[0].text == name && pair[1].text == "(";
        tokens[..tokens.len().min(place + 2)].windows(2).rposition(is_call)
    };
    let found = if let Some(name) =
        quoted("unknown function with name '").or(quoted("argument(s) in call to '"))
    {
        call_of(name)
    } else if complaint.contains(" in call to function ") {
        begin_of_argument(before)
    } else if complaint.starts_with("comparisons between scalars") {
        before.iter().rposition(|token| matches!(token.text, "==" | "!=" | ">" | "<" | ">=" | "<="))
    } else if complaint.starts_with("vector selector must contain") {
        before.iter().rposition(|token| token.text == "{")
    } else if complaint.starts_with("binary expression must") || complaint.starts_with("vector matching only")
    {
        Some(begin_of_argument(before).unwrap_or(0))
    } else {
        None
    };
    found.unwrap_or(place)
}

/// Behind the comma or bracket before the last argument.
fn begin_of_argument(before: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    let border = before.iter().rposition(|token| {
        depth += usize::from(token.closes());
        let is_border = depth == 0 && (token.opens() || token.text == ",");
        depth -= usize::from(token.opens() && depth > 0);
        is_border
    });
    border.map(|border| border + 1)
}

/// Behind the last character that is no blank.
pub(super) fn end_of_query(query: &str) -> usize {
    query.trim_end().len()
}

/// The first of `0..len` for which `holds` is false; it must be true before and false after.
fn partition_point(len: usize, mut holds: impl FnMut(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The query with the insides of strings after `from` replaced by as many bytes of `x`: strings
/// hold regular expressions, which are dear to compile. Those between backticks hold no mistakes.
fn mask(query: &str, tokens: &[Token<'_>], from: usize) -> String {
    let mut masked = query.to_owned();
    let is_masked = |token: &&Token<'_>| token.start >= from || token.text.starts_with('`');
    let strings = tokens.iter().filter(|token| token.kind == Kind::String).filter(is_masked);
    for string in strings {
        let quote = &string.text[..1];
        let is_closed = string.text.len() > 1 && string.text.ends_with(quote);
        let inside = string.start + 1..string.end() - usize::from(is_closed);
        masked.replace_range(inside.clone(), &"x".repeat(inside.len()));
    }
    masked
}

struct Judge<'c> {
    complaint: &'c str,
    budget: usize,
}

impl Judge<'_> {
    /// Whether the parser has no complaint, or only one that something later may still cause.
    fn accepts(&mut self, query: &str) -> bool {
        self.budget = self.budget.saturating_sub(query.len());
        match parser::parse(query) {
            Ok(_) => true,
            Err(message) => {
                message != self.complaint && message != UNEXPLAINED && parser::lexer(query).is_ok()
            }
        }
    }

    /// Whether a query may begin with these tokens.
    fn is_beginning(&mut self, masked: &str, tokens: &[Token<'_>]) -> bool {
        let Some(last) = tokens.last() else { return true };
        let beginning = &masked[..last.end()];
        let open = open_brackets(tokens);
        endings(open.last().copied()).any(|(piece, tail)| {
            if self.budget == 0 {
                return true;
            }
            let mut closers = open.iter().rev().map(|opener| closer(opener));
            let first = closers.next().unwrap_or_default();
            let rest: String = closers.collect();
            self.accepts(&format!("{beginning} {piece}{first} {tail}{rest}"))
        })
    }
}

fn open_brackets<'q>(tokens: &[Token<'q>]) -> Vec<&'q str> {
    let mut open = Vec::new();
    for token in tokens {
        if token.opens() {
            open.push(token.text);
        } else if token.closes() {
            open.pop();
        }
    }
    open
}

fn closer(opener: &str) -> &'static str {
    match opener {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

/// What may complete a beginning: a piece inside the innermost open bracket, and one behind it.
fn endings(open: Option<&str>) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    let pieces: &[&str] = match open {
        Some("{") => &["", "a=\"b\"", "=\"b\"", "\"b\""],
        Some("[") => &["", "5m"],
        _ => &["", "x", "1", "5m", "(a)", "(a) (x)", "(a) x", "()", ", x", "\"b\"", "x[5m]"],
    };
    // Behind a list of labels, such as that of `by`, something must follow.
    let tails: &[&str] = if open == Some("(") { &["", "(x)", "x"] } else { &[""] };
    tails.iter().flat_map(move |tail| pieces.iter().map(move |piece| (*piece, *tail)))
}
