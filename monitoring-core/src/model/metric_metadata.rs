//! What people wrote about a metric.

use super::{Invalid, is_metric_name, is_own_metric};

/// Characters of a metric's description.
const HELP_CHARS_MAX: usize = 1_000;
const UNIT_CHARS_MAX: usize = 50;

/// What a metric is about, and in what it is measured. Both may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricMetadata {
    pub name: String,
    pub help: String,
    pub unit: String,
}

impl MetricMetadata {
    /// Checks what came from outside.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let Self { name, help, unit } = self;
        let mut invalid = Invalid::default();
        if !is_metric_name(name) {
            invalid.push("name", "must match [a-zA-Z_:][a-zA-Z0-9_:]*");
        } else if is_own_metric(name) {
            invalid.push("name", "is kept for a metric of the monitoring system itself");
        }
        if help.chars().count() > HELP_CHARS_MAX || help.contains('\0') {
            invalid.push("help", format!("must have at most {HELP_CHARS_MAX} characters, none of them NUL"));
        }
        let is_word = unit.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_word || unit.len() > UNIT_CHARS_MAX {
            invalid.push(
                "unit",
                format!("must match [a-zA-Z0-9_]* and have at most {UNIT_CHARS_MAX} characters"),
            );
        }
        invalid.or(())
    }
}
