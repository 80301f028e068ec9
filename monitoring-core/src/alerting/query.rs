//! Checks the query of a rule.

use promql_parser::parser::value::ValueType;

use super::position::{end_of_query, position};
use super::tokens::{Kind, Token, tokens};
use crate::model::Invalid;

/// Characters of a query.
const CHARS_MAX: usize = 10_000;
/// Brackets inside brackets. The parser itself does not recurse, but whoever walks, prints or
/// drops its tree does.
const DEPTH_MAX: usize = 100;
/// Signs and operators, each of which may deepen the tree by one.
const OPERATORS_MAX: usize = 500;
/// Where a number stands for a duration, the most seconds it may mean: three hundred years. The
/// parser panics on some that are longer.
const DURATION_SECONDS_MAX: f64 = 1e10;

/// What the parser says where it has nothing to say.
pub(super) const UNEXPLAINED: &str = "invalid promql query";

/// Checks that `query` is PromQL and yields what a rule can watch: an instant vector or a scalar.
///
/// # Errors
///
/// What is wrong with the field `query`, and where: line and column count from 1, columns in
/// characters.
pub(crate) fn check_query(query: &str) -> Result<(), Invalid> {
    let refuse = |message: String| Err(Invalid::field("query", message));
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
        return refuse(located(query, at, &message));
    }
    match promql_parser::parser::parse(query) {
        Ok(expression) => match expression.value_type() {
            ValueType::Vector | ValueType::Scalar => Ok(()),
            other => refuse(format!("is a {other}; a rule needs an instant vector or a scalar")),
        },
        Err(message) => {
            let at = position(query, &tokens, &message);
            refuse(located(query, at, &explain(&tokens, at, message)))
        }
    }
}

/// Refuses what would overrun the stack of whoever handles the tree.
fn check_bounds(tokens: &[Token<'_>]) -> Result<(), (usize, String)> {
    let mut depth = 0_usize;
    let mut operators = 0;
    for (n, token) in tokens.iter().enumerate() {
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth = depth.saturating_sub(1);
        } else if is_operator(token) {
            operators += 1;
        }
        if depth > DEPTH_MAX {
            return Err((token.start, format!("brackets are nested more than {DEPTH_MAX} deep")));
        }
        if operators > OPERATORS_MAX {
            return Err((token.start, format!("there are more than {OPERATORS_MAX} operators")));
        }
        if stands_for_duration(&tokens[..n]) && !is_sane_duration(token) {
            return Err((token.start, "the duration is too long".to_owned()));
        }
    }
    Ok(())
}

fn is_operator(token: &Token<'_>) -> bool {
    const WORDS: [&str; 6] = ["and", "or", "unless", "atan2", "offset", "bool"];
    let is_sign = token.kind == Kind::Sign && token.text != ",";
    is_sign || WORDS.iter().any(|word| token.is_word(word))
}

/// Whether what comes next is the length of a range, a step or an offset.
fn stands_for_duration(before: &[Token<'_>]) -> bool {
    match before {
        [.., token] if matches!(token.text, "[" | ":") => true,
        [.., token] if token.is_word("offset") => true,
        [.., offset, sign] => offset.is_word("offset") && matches!(sign.text, "+" | "-"),
        _ => false,
    }
}

/// Plain numbers, `Inf` and `NaN` are what the parser takes for seconds unchecked.
fn is_sane_duration(token: &Token<'_>) -> bool {
    token.text.parse::<f64>().map_or(true, |seconds| seconds < DURATION_SECONDS_MAX)
}

fn explain(tokens: &[Token<'_>], at: usize, message: String) -> String {
    if message != UNEXPLAINED {
        return message;
    }
    match tokens.iter().find(|token| token.start == at) {
        Some(token) => format!("unexpected {:?}", crate::model::cut(token.text, 40)),
        None => "unexpected end of the query".to_owned(),
    }
}

fn located(query: &str, at: usize, message: &str) -> String {
    let at = at.min(end_of_query(query));
    let before = &query[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("parse error at line {line}, column {column}: {message}")
}

#[cfg(test)]
mod tests;
