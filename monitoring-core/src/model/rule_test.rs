//! What came of a file of rules, or of one of tests of rules.

use std::fmt;

use serde::Serialize;

/// What reading a file of rules in changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct RuleImport {
    /// Groups in the file.
    pub groups: usize,
    /// Rules that are new.
    pub created: usize,
    /// Rules that were there and are different now.
    pub updated: usize,
    /// Rules that stayed as they were.
    pub unchanged: usize,
    /// Rules of these groups that are not in the file.
    pub removed: usize,
}

/// A rule asks for a metric that there is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct UnknownMetric {
    /// The group of the rule.
    pub group: String,
    /// Its name, or what it records.
    pub rule: String,
    /// The metric.
    pub metric: String,
}

/// What came of a file of tests.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct RuleTestReport {
    /// Expectations that were met.
    pub passed: usize,
    /// Those that were not.
    pub failures: Vec<RuleTestFailure>,
}

impl RuleTestReport {
    /// Whether every expectation was met, and there was one.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failures.is_empty() && self.passed > 0
    }
}

/// An expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct RuleTestFailure {
    /// The test: its name, or its place in the file.
    pub test: String,
    /// What was looked at, and when.
    pub subject: String,
    /// What should have been; empty if it could not be looked at.
    pub expected: String,
    /// What was, or why it could not be looked at.
    pub found: String,
}

impl fmt::Display for RuleTestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "{failure}")?;
        }
        write!(f, "{} passed, {} failed", self.passed, self.failures.len())
    }
}

impl fmt::Display for RuleTestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { test, subject, expected, found } = self;
        write!(f, "{test}: {subject}\n    expected: {expected}\n    found:    {found}")
    }
}
