//! What the tests of a file may take together.

use crate::model::{RuleTestFailure, cut};

/// Samples that rules write, those of alerts among them: two of each alert and evaluation.
const WRITTEN_MAX: usize = 5_000_000;
/// Series there may be when a rule writes, those of the input among them.
const SERIES_MAX: usize = 100_000;
/// Bytes of what is told of expectations that are not met; then only that they are not.
const TOLD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of names that are told after that.
const NAME_CHARS_MAX: usize = 100;

/// What is left.
#[derive(Debug)]
pub(super) struct Allowance {
    written: usize,
    told_bytes: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { written: WRITTEN_MAX, told_bytes: TOLD_BYTES_MAX }
    }
}

impl Allowance {
    /// Rules are about to write so many samples, to so many series as there are.
    pub(super) fn write(&mut self, samples: usize, series: usize) -> Result<(), String> {
        if series > SERIES_MAX {
            return Err(format!("there are more than {SERIES_MAX} series"));
        }
        let left = self.written.checked_sub(samples);
        let too_many = || format!("rules write more than {WRITTEN_MAX} samples in the tests of a file");
        self.written = left.ok_or_else(too_many)?;
        Ok(())
    }

    /// As much of a failure as may be told.
    pub(super) fn told(&mut self, failure: RuleTestFailure) -> RuleTestFailure {
        let RuleTestFailure { test, subject, expected, found } = &failure;
        let bytes = test.len() + subject.len() + expected.len() + found.len();
        if let Some(left) = self.told_bytes.checked_sub(bytes) {
            self.told_bytes = left;
            return failure;
        }
        let left_out = || "left out: there is too much to tell".to_owned();
        RuleTestFailure {
            test: cut(test, NAME_CHARS_MAX),
            subject: cut(subject, NAME_CHARS_MAX),
            expected: left_out(),
            found: left_out(),
        }
    }

    /// One that lets rules write so many samples, and tells so many bytes.
    #[cfg(test)]
    pub(super) fn of(written: usize, told_bytes: usize) -> Self {
        Self { written, told_bytes }
    }
}
