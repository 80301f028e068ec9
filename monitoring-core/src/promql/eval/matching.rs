//! Which rows belong together, by their labels.

use std::collections::HashMap;

use crate::promql::labels::{LabelSet, NAME};
use crate::promql::plan::Grouping;
use crate::promql::value::{Row, is_present};

impl Grouping {
    /// What the labels have in common with those of the same group.
    pub(super) fn key(&self, labels: &LabelSet) -> LabelSet {
        match self {
            Self::By(names) => labels.retain(|name| names.iter().any(|chosen| chosen == name)),
            Self::Without(names) => {
                labels.retain(|name| name != NAME && !names.iter().any(|ignored| ignored == name))
            }
        }
    }
}

/// Rows by group, groups in the order of their first rows.
pub(super) struct Groups {
    pub keys: Vec<LabelSet>,
    /// The numbers of the rows of each group.
    pub members: Vec<Vec<usize>>,
    places: HashMap<LabelSet, usize>,
}

impl Groups {
    pub(super) fn of(rows: &[Row], grouping: &Grouping) -> Self {
        Self::by(rows, |row| grouping.key(&row.labels))
    }

    pub(super) fn by(rows: &[Row], key: impl Fn(&Row) -> LabelSet) -> Self {
        let mut groups = Self { keys: Vec::new(), members: Vec::new(), places: HashMap::new() };
        for (number, row) in rows.iter().enumerate() {
            let place = groups.place(key(row));
            groups.members[place].push(number);
        }
        groups
    }

    fn place(&mut self, key: LabelSet) -> usize {
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        self.places.insert(key.clone(), self.keys.len());
        self.keys.push(key);
        self.members.push(Vec::new());
        self.keys.len() - 1
    }

    /// Which group has this key.
    pub(super) fn place_of(&self, key: &LabelSet) -> Option<usize> {
        self.places.get(key).copied()
    }
}

/// At which steps any of these rows has a value.
pub(super) fn presence<'r>(rows: impl IntoIterator<Item = &'r Row>, steps: usize) -> Vec<bool> {
    let mut presence = vec![false; steps];
    for row in rows {
        for (is_any, value) in presence.iter_mut().zip(&row.values) {
            *is_any |= is_present(*value);
        }
    }
    presence
}
