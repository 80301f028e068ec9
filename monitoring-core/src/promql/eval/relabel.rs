//! Functions that change or sort by labels.

use std::cmp::Ordering;

use super::rows::{SAME_LABELS, merged};
use crate::model::is_any_label_name;
use crate::promql::error::{QueryError, QueryResult};
use crate::promql::functions::Order;
use crate::promql::labels::{LabelSet, NAME};
use crate::promql::limits::Budget;
use crate::promql::matcher::{CELLS_PER_COMPILATION, anchored, matching_cells};
use crate::promql::value::Row;

/// Bytes of the value of a label that is made: several times what a stored one may have.
const VALUE_BYTES_MAX: usize = 8 * 1024;

/// Sets a label to what a regular expression makes of another, where it matches.
pub(super) async fn label_replace(
    budget: &mut Budget,
    mut rows: Vec<Row>,
    texts: &[String],
) -> QueryResult<Vec<Row>> {
    let [target, replacement, source, pattern] = texts else {
        return Err(QueryError::bad_data("wrong number of arguments"));
    };
    let regex = anchored(pattern).map_err(|_| {
        QueryError::execution(format!("invalid regular expression in label_replace(): {pattern}"))
    })?;
    check_target("label_replace", target)?;
    // A query may have many of these.
    budget.spend(CELLS_PER_COMPILATION).await?;
    for row in &mut rows {
        let value = row.labels.value(source);
        budget.spend(matching_cells(value)).await?;
        if let Some(captures) = regex.captures(value) {
            let mut replaced = String::new();
            captures.expand(replacement, &mut replaced);
            set(budget, row, "label_replace", target, &replaced)?;
        }
    }
    merged(rows, SAME_LABELS)
}

/// Sets a label to others, joined.
pub(super) async fn label_join(
    budget: &mut Budget,
    mut rows: Vec<Row>,
    texts: &[String],
) -> QueryResult<Vec<Row>> {
    let [target, separator, sources @ ..] = texts else {
        return Err(QueryError::bad_data("wrong number of arguments"));
    };
    check_target("label_join", target)?;
    if let Some(source) = sources.iter().find(|source| !is_any_label_name(source)) {
        return Err(QueryError::execution(format!("invalid source label name in label_join(): {source}")));
    }
    for row in &mut rows {
        let values: Vec<_> = sources.iter().map(|source| row.labels.value(source)).collect();
        let joined = values.join(separator);
        budget.spend(joined.len()).await?;
        set(budget, row, "label_join", target, &joined)?;
    }
    merged(rows, SAME_LABELS)
}

fn check_target(function: &str, name: &str) -> QueryResult<()> {
    // Labels have the names they may be stored under; those of any characters are not known here.
    if is_any_label_name(name) {
        return Ok(());
    }
    Err(QueryError::execution(format!("invalid destination label name in {function}(): {name}")))
}

fn set(budget: &mut Budget, row: &mut Row, function: &str, name: &str, value: &str) -> QueryResult<()> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(QueryError::execution(format!(
            "{function}() makes a label value of {} bytes, it may have {VALUE_BYTES_MAX}",
            value.len()
        )));
    }
    budget.take_label(value)?;
    row.labels = row.labels.with(name, value);
    if name == NAME {
        row.drops_name = false;
    }
    Ok(())
}

/// By the values of these labels, numbers in them by size, and then by all labels.
pub(super) fn sorted_by_labels(mut rows: Vec<Row>, names: &[String], order: Order) -> Vec<Row> {
    let mut distinct: Vec<&str> = Vec::new();
    names.iter().for_each(|name| {
        if !distinct.contains(&&**name) {
            distinct.push(name)
        }
    });
    rows.sort_by(|a, b| {
        let ordering = by_labels(&a.labels, &b.labels, &distinct);
        if order == Order::Descending { ordering.reverse() } else { ordering }
    });
    rows
}

fn by_labels(a: &LabelSet, b: &LabelSet, names: &[&str]) -> Ordering {
    let mut chosen = names.iter().map(|name| natural(a.value(name), b.value(name)));
    chosen.find(|ordering| ordering.is_ne()).unwrap_or_else(|| a.cmp(b))
}

/// Compares texts, with runs of digits in them as numbers: `a2` comes before `a10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while let (Some(first_a), Some(first_b)) = (a.chars().next(), b.chars().next()) {
        let ordering = if first_a.is_ascii_digit() && first_b.is_ascii_digit() {
            let (number_a, rest_a) = split_number(a);
            let (number_b, rest_b) = split_number(b);
            (a, b) = (rest_a, rest_b);
            number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b))
        } else {
            (a, b) = (&a[first_a.len_utf8()..], &b[first_b.len_utf8()..]);
            first_a.cmp(&first_b)
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    a.len().cmp(&b.len())
}

/// The number a text begins with, without leading zeros, and what follows.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_compared_by_size() {
        assert_eq!(natural("a2", "a10"), Ordering::Less);
        assert_eq!(natural("a10b", "a10a"), Ordering::Greater);
        assert_eq!(natural("007", "7"), Ordering::Equal);
        assert_eq!(natural("a", "a1"), Ordering::Less);
    }
}
