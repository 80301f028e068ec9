//! What was wrong with a request, field by field.

use std::fmt;

use serde::Serialize;

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Path of the field, such as `tags.user_id` or `[3].source` in a batch.
    pub field: String,
    /// What was wrong and what would be right.
    pub message: String,
}

/// A request that breaks a rule. Nothing of it was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalid {
    errors: Vec<FieldError>,
}

impl Invalid {
    /// One error on one field.
    #[must_use]
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut invalid = Self::default();
        invalid.push(field, message);
        invalid
    }

    /// Adds an error.
    pub fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), message: message.into() });
    }

    /// Adds all errors of `other`.
    pub fn extend(&mut self, other: Invalid) {
        self.errors.extend(other.errors);
    }

    /// Adds all errors of `other`, their fields below `[index]`.
    pub fn push_item(&mut self, index: usize, other: Invalid) {
        for error in other.errors {
            self.push(format!("[{index}].{}", error.field), error.message);
        }
    }

    /// The same errors on fields below `place`, as `called` there.
    pub(crate) fn below(self, place: &str, called: impl Fn(&str) -> &str) -> Self {
        let moved = self.errors.into_iter().map(|error| FieldError {
            field: format!("{place}.{}", called(&error.field)),
            message: error.message,
        });
        Self { errors: moved.collect() }
    }

    /// The errors, in the order they were found.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// `Ok(value)` if nothing is wrong.
    ///
    /// # Errors
    ///
    /// `self`, if it holds any error.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.errors.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.errors.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", error.field, error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}
