//! Which part of a list a caller wants, and which part it got.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AlertRuleId, Fingerprint, Invalid, from_micros, to_micros};

/// The part of a list to return: `limit` items after `offset` items, or after a [`Cursor`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Most items to return, 1 to [`Page::LIMIT_MAX`].
    pub limit: u32,
    /// Items to skip. Deep offsets are slow; a cursor is not.
    pub offset: u64,
    /// Continue after this position. Excludes `offset`.
    pub after: Option<Cursor>,
}

impl Page {
    /// The most items one page may have. It is also what bounds a page in bytes: by it times the
    /// largest item that [`Limits`](super::Limits) allow.
    pub const LIMIT_MAX: u32 = 1_000;
    /// The deepest offset served.
    pub const OFFSET_MAX: u64 = 100_000;

    /// The first `limit` items.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { limit, offset: 0, after: None }
    }

    /// Checks numbers that came from outside; `None` takes the default (100 items from the start).
    ///
    /// # Errors
    ///
    /// A limit outside `1..=1000` or an offset past 100,000, with the field's name.
    pub fn checked(limit: Option<i64>, offset: Option<i64>) -> Result<Self, Invalid> {
        let mut invalid = Invalid::default();
        let limit = limit.map_or(Some(100), |limit| u32::try_from(limit).ok());
        let limit = limit.filter(|limit| (1..=Self::LIMIT_MAX).contains(limit));
        if limit.is_none() {
            invalid.push("limit", format!("must be a whole number from 1 to {}", Self::LIMIT_MAX));
        }
        let offset = offset.map_or(Some(0), |offset| u64::try_from(offset).ok());
        let offset = offset.filter(|offset| *offset <= Self::OFFSET_MAX);
        if offset.is_none() {
            let max = Self::OFFSET_MAX;
            invalid
                .push("offset", format!("must be a whole number from 0 to {max}; use a cursor to go deeper"));
        }
        invalid.or(Self { limit: limit.unwrap_or(100), offset: offset.unwrap_or(0), after: None })
    }

    /// Rows to fetch: one more than the limit, to see whether the list goes on.
    pub(crate) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Rows to skip. A cursor replaces the offset.
    pub(crate) fn skip(&self) -> i64 {
        if self.after.is_some() { 0 } else { i64::try_from(self.offset).unwrap_or(i64::MAX) }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::first(100)
    }
}

/// A position in a list ordered by time and id: rows after it stay after it, whatever arrives
/// meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Time of the last item seen.
    pub time: DateTime<Utc>,
    /// Id of the last item seen.
    pub id: Uuid,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", to_micros(self.time), self.id.simple())
    }
}

impl FromStr for Cursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parse = || {
            let (micros, id) = text.split_once('.')?;
            let time = from_micros(micros.parse().ok()?)?;
            Some(Self { time, id: Uuid::try_parse(id).ok()? })
        };
        parse().ok_or_else(no_cursor)
    }
}

fn no_cursor() -> Invalid {
    Invalid::field("cursor", "not a cursor; pass `next_cursor` of an earlier answer unchanged")
}

/// A position in a list of alerts, which are ordered by rule and fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertCursor {
    /// The rule of the last alert seen.
    pub rule_id: AlertRuleId,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
}

impl fmt::Display for AlertCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.rule_id.into_uuid().simple(), self.fingerprint)
    }
}

impl FromStr for AlertCursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parse = || {
            let (rule, fingerprint) = text.split_once('.')?;
            let rule_id = Uuid::try_parse(rule).ok()?.into();
            Some(Self { rule_id, fingerprint: fingerprint.parse().ok()? })
        };
        parse().ok_or_else(no_cursor)
    }
}

/// A page of items with what is needed to ask for the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the page stands.
    pub pagination: Pagination,
}

impl<T> Slice<T> {
    /// Makes a page of up to one item more than asked for, the way stores fetch it: the surplus
    /// item says that there is more.
    #[must_use]
    pub fn new<C: fmt::Display>(mut items: Vec<T>, page: &Page, cursor: impl Fn(&T) -> C) -> Self {
        let limit = page.limit as usize;
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| has_more).map(|item| cursor(item).to_string());
        let pagination =
            Pagination { limit: page.limit, offset: page.offset, count: items.len(), has_more, next_cursor };
        Self { items, pagination }
    }

    /// The same page of other items.
    #[must_use]
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Slice<U> {
        Slice { items: self.items.into_iter().map(f).collect(), pagination: self.pagination }
    }
}

/// Where a page stands in its list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pagination {
    /// Most items asked for.
    pub limit: u32,
    /// Items skipped.
    pub offset: u64,
    /// Items on this page.
    pub count: usize,
    /// Whether the list goes on.
    pub has_more: bool,
    /// Pass it as `cursor` to go on; absent at the end of the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_reads_back() {
        let cursor = Cursor { time: DateTime::UNIX_EPOCH, id: Uuid::max() };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        let cursor = AlertCursor { rule_id: Uuid::max().into(), fingerprint: Fingerprint::new(-2) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert!("1.2".parse::<AlertCursor>().is_err());
    }

    #[test]
    fn limit_zero_is_refused_by_name() {
        let invalid = Page::checked(Some(0), Some(-1)).unwrap_err();
        let fields: Vec<_> = invalid.errors().iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["limit", "offset"]);
    }

    #[test]
    fn surplus_item_means_more() {
        let cursor = |n: &u128| Cursor { time: DateTime::UNIX_EPOCH, id: Uuid::from_u128(*n) };
        let slice = Slice::new(vec![1, 2, 3], &Page::first(2), cursor);
        assert_eq!(slice.items, [1, 2]);
        assert!(slice.pagination.has_more);
        assert_eq!(slice.pagination.next_cursor, Some(cursor(&2).to_string()));
    }
}
