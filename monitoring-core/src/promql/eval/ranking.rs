//! Aggregations that choose among rows instead of joining them.

use std::cmp::Ordering;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use super::matching::Groups;
use super::rows::nothing;
use crate::promql::error::QueryResult;
use crate::promql::functions::Order;
use crate::promql::limits::Budget;
use crate::promql::plan::AggregateOp;
use crate::promql::value::{Row, is_present};

/// Rows in groups, of which some are chosen at each step.
pub(super) struct Ranked<'r> {
    pub op: AggregateOp,
    /// How many, or which part, at each step.
    pub parameter: &'r [f64],
    pub rows: &'r [Row],
    pub groups: &'r Groups,
}

impl Ranked<'_> {
    /// The rows with their values at the steps at which they are chosen. If there is but one step,
    /// rows come in the order of their rank.
    pub(super) async fn chosen(&self, budget: &mut Budget) -> QueryResult<Vec<Row>> {
        let mut chosen = Vec::new();
        for members in &self.groups.members {
            chosen.extend(self.chosen_of(members, budget).await?);
        }
        Ok(chosen)
    }

    async fn chosen_of(&self, members: &[usize], budget: &mut Budget) -> QueryResult<Vec<Row>> {
        let steps = self.parameter.len();
        // To sort them takes several looks at each.
        let cells = members.len() * (members.len().checked_ilog2().unwrap_or_default() as usize + 1);
        let mut columns = vec![None; members.len()];
        let mut order = Vec::new();
        for step in 0..steps {
            budget.spend(cells).await?;
            let mut present: Vec<_> =
                (0..members.len()).filter(|n| is_present(self.rows[members[*n]].values[step])).collect();
            self.choose(&mut present, members, step);
            for n in &present {
                if columns[*n].is_none() {
                    budget.take(steps)?;
                }
                let column = columns[*n].get_or_insert_with(|| nothing(steps));
                column[step] = self.rows[members[*n]].values[step];
            }
            if step == 0 {
                order = present;
            }
        }
        let order: Vec<_> = if steps == 1 { order } else { (0..members.len()).collect() };
        let row = |n: usize| {
            let Row { labels, drops_name, .. } = &self.rows[members[n]];
            Some(Row { labels: labels.clone(), drops_name: *drops_name, values: columns[n].take()? })
        };
        Ok(order.into_iter().filter_map(row).collect())
    }

    /// Leaves those of `present` that are chosen at this step, in the order of their rank.
    fn choose(&self, present: &mut Vec<usize>, members: &[usize], step: usize) {
        let parameter = self.parameter[step];
        let row = |n: usize| &self.rows[members[n]];
        // Of equal values the first by labels is chosen, whichever series was registered first.
        let mut rank = |order| {
            present.sort_by(|a, b| {
                let ordering = compare(row(*a).values[step], row(*b).values[step], order);
                ordering.then_with(|| row(*a).labels.cmp(&row(*b).labels))
            });
        };
        match self.op {
            AggregateOp::TopK => rank(Order::Descending),
            AggregateOp::BottomK => rank(Order::Ascending),
            AggregateOp::LimitRatio => return present.retain(|n| is_in_ratio(row(*n), parameter)),
            _ => {}
        }
        // Negative numbers and fractions become zero.
        present.truncate(parameter as usize);
    }
}

/// NaN comes last either way.
pub(super) fn compare(a: f64, b: f64, order: Order) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) if order == Order::Ascending => a.total_cmp(&b),
        (false, false) => b.total_cmp(&a),
        (a, b) => a.cmp(&b),
    }
}

/// Whether a row is in the part of all rows that a ratio stands for. Each row has a place of its
/// own between 0 and 1 that depends on its labels only; a negative ratio takes the rows that the
/// ratio one greater leaves.
fn is_in_ratio(row: &Row, ratio: f64) -> bool {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&row.labels);
    let place = hash as f64 / u64::MAX as f64;
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_ranked_last_either_way() {
        for order in [Order::Ascending, Order::Descending] {
            let mut values = [f64::NAN, 1.0, f64::INFINITY, f64::NAN, -1.0];
            values.sort_by(|a, b| compare(*a, *b, order));
            assert!(values[3].is_nan() && values[4].is_nan());
        }
    }

    #[test]
    fn a_ratio_and_its_complement_share_all_rows() {
        for n in 0..100 {
            let labels = [("n", n.to_string().as_str())].into_iter().collect();
            let row = Row { labels, drops_name: false, values: vec![1.0] };
            assert!(is_in_ratio(&row, 0.3) != is_in_ratio(&row, -0.7));
        }
    }
}
