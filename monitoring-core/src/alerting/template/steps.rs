//! How much work a template makes.

use super::TemplateError;

/// Steps one text may take.
const STEPS_MAX: usize = 100_000;

/// What is left of the steps a text may take. One is a node visited, or what takes about as long: some tenths
/// of a microsecond, and a few at the very worst.
#[derive(Debug)]
pub(crate) struct Steps {
    left: usize,
}

impl Steps {
    /// As many as one text may take, and no more than are left of something greater.
    pub(crate) fn within(left: usize) -> Self {
        Self { left: left.min(STEPS_MAX) }
    }

    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Once there are too few, there are none.
    pub(super) fn take(&mut self, steps: usize) -> Result<(), TemplateError> {
        let left = self.left.checked_sub(steps);
        self.left = left.unwrap_or(0);
        match left {
            Some(_) => Ok(()),
            None => Err(TemplateError::execution("the template takes too many steps")),
        }
    }
}
