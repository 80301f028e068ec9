//! `and`, `or` and `unless`: which rows stay, by whether the other side has a match.

use super::matching::{Groups, presence};
use super::rows::{SAME_LABELS, merged};
use crate::promql::error::QueryResult;
use crate::promql::plan::{BinaryOp, Grouping};
use crate::promql::value::{ABSENT, Row};

/// A set operator between two vectors.
pub(super) fn set_operation(
    op: BinaryOp,
    left: Vec<Row>,
    right: Vec<Row>,
    grouping: &Grouping,
    steps: usize,
) -> QueryResult<Vec<Row>> {
    match op {
        BinaryOp::And => Ok(kept(left, &right, grouping, steps, |matches| matches)),
        BinaryOp::Or => {
            let added = kept(right, &left, grouping, steps, |matches| !matches);
            merged(left.into_iter().chain(added).collect(), SAME_LABELS)
        }
        _ => Ok(kept(left, &right, grouping, steps, |matches| !matches)),
    }
}

/// The values of `rows` at steps where `keep` likes whether `others` have a match.
fn kept(
    mut rows: Vec<Row>,
    others: &[Row],
    grouping: &Grouping,
    steps: usize,
    keep: impl Fn(bool) -> bool,
) -> Vec<Row> {
    let groups = Groups::of(others, grouping);
    let presence_of = |members: &Vec<usize>| presence(members.iter().map(|n| &others[*n]), steps);
    let presences: Vec<_> = groups.members.iter().map(presence_of).collect();
    let nowhere = vec![false; steps];
    for row in &mut rows {
        let place = groups.place_of(&grouping.key(&row.labels));
        let presence = place.map_or(&nowhere, |place| &presences[place]);
        for (value, matches) in row.values.iter_mut().zip(presence) {
            if !keep(*matches) {
                *value = ABSENT;
            }
        }
    }
    rows.retain(Row::is_anywhere);
    rows
}
