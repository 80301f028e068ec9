//! `limit` and `offset` of lists.

use serde::Deserialize;

use crate::http::{AppError, FieldError};

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

/// A window into a list.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Page {
    limit: Option<u32>,
    offset: Option<u32>,
}

impl Page {
    /// Both numbers as SQL takes them.
    pub(crate) fn limit_and_offset(self) -> Result<(i64, i64), AppError> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let message = format!("must be from 1 to {LIMIT_MAX}");
            return Err(AppError::Invalid(vec![FieldError::new("limit", message)]));
        }
        Ok((limit.into(), self.offset.unwrap_or(0).into()))
    }
}
