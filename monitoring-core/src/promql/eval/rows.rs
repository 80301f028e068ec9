//! What can be done with rows whatever they mean.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::promql::error::{QueryError, QueryResult};
use crate::promql::labels::LabelSet;
use crate::promql::limits::{Budget, CELLS_PER_BREATH};
use crate::promql::value::{ABSENT, Row, is_present};

/// Two series cannot have the same labels.
pub(super) const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

/// Puts every value through `f`. What comes out is no sample of the series any longer.
pub(super) async fn map(
    budget: &mut Budget,
    rows: Vec<Row>,
    f: impl Fn(f64) -> f64 + Send + Sync,
) -> QueryResult<Vec<Row>> {
    map_at(budget, rows, |value, _| f(value)).await
}

/// Like [`map`], with the number of the step.
pub(super) async fn map_at(
    budget: &mut Budget,
    mut rows: Vec<Row>,
    f: impl Fn(f64, usize) -> f64 + Send + Sync,
) -> QueryResult<Vec<Row>> {
    for row in &mut rows {
        row.drops_name = true;
        put_through(budget, &mut row.values, &f).await?;
    }
    Ok(rows)
}

/// Puts every value of a column through `f`, with the number of the step; a long column in portions.
pub(super) async fn put_through<F: Fn(f64, usize) -> f64 + Send + Sync>(
    budget: &mut Budget,
    column: &mut [f64],
    f: &F,
) -> QueryResult<()> {
    let mut first = 0;
    while first < column.len() {
        let end = column.len().min(first + CELLS_PER_BREATH);
        budget.spend(end - first).await?;
        for (value, step) in
            column[first..end].iter_mut().zip(first..).filter(|(value, _)| is_present(**value))
        {
            *value = f(*value, step);
        }
        first = end;
    }
    Ok(())
}

/// Rows of the same labels as one, in the order of the first of each.
///
/// # Errors
///
/// `complaint`, if two of them have a value at the same step.
pub(super) fn merged(rows: Vec<Row>, complaint: &str) -> QueryResult<Vec<Row>> {
    let mut places: HashMap<(LabelSet, bool), usize> = HashMap::with_capacity(rows.len());
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        match places.entry((row.labels.clone(), row.drops_name)) {
            Entry::Vacant(entry) => {
                entry.insert(merged.len());
                merged.push(row);
            }
            Entry::Occupied(entry) => join(&mut merged[*entry.get()], &row, complaint)?,
        }
    }
    Ok(merged)
}

fn join(into: &mut Row, row: &Row, complaint: &str) -> QueryResult<()> {
    for (into, value) in into.values.iter_mut().zip(&row.values).filter(|(_, value)| is_present(**value)) {
        if is_present(*into) {
            return Err(QueryError::execution(complaint));
        }
        *into = *value;
    }
    Ok(())
}

/// The rows as they are answered: without the names that were to be dropped, and without rows that
/// are nowhere.
pub(in crate::promql) fn finished(rows: Vec<Row>) -> QueryResult<Vec<Row>> {
    let rows = rows.into_iter().filter(Row::is_anywhere).map(|row| {
        let labels = if row.drops_name { row.labels.without_name() } else { row.labels };
        Row { labels, drops_name: false, values: row.values }
    });
    merged(rows.collect(), SAME_LABELS)
}

/// A column without any value.
pub(super) fn nothing(steps: usize) -> Vec<f64> {
    vec![ABSENT; steps]
}
