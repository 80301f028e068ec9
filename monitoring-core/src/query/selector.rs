//! Which series are meant.

use std::str::FromStr;

use promql_parser::parser::Expr;

use crate::model::Labels;
use crate::promql::{Condition, Matcher, QueryError, QueryResult, anchored};

/// Which series: conditions on their labels, all of which hold.
///
/// ```
/// use monitoring_core::{Comparison, Selector};
///
/// # fn main() -> monitoring_core::QueryResult<()> {
/// let parsed: Selector = r#"orders_total{shop=~"north|south"}"#.parse()?;
/// let built = Selector::default()
///     .with("__name__", Comparison::Equal, "orders_total")?
///     .with("shop", Comparison::Matches, "north|south")?;
/// # let _ = (parsed, built);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Selector {
    matchers: Vec<Matcher>,
}

/// How a label is compared. An absent label is an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`: the whole value matches a regular expression.
    Matches,
    /// `!~`
    MatchesNot,
}

/// Selectors in one request: each looks through the whole index.
const SELECTORS_MAX: usize = 100;
/// Conditions of one selector.
const CONDITIONS_MAX: usize = 100;

/// Checks how many selectors a request has.
pub(super) fn check_count(selectors: usize) -> QueryResult<()> {
    if selectors > SELECTORS_MAX {
        return Err(QueryError::bad_data(format!("at most {SELECTORS_MAX} selectors are taken at once")));
    }
    Ok(())
}

impl Selector {
    /// The same with one more condition.
    ///
    /// # Errors
    ///
    /// [`QueryError::BadData`] if `value` has to be a regular expression and is none, or there are more
    /// than 100 conditions.
    pub fn with(mut self, label: &str, comparison: Comparison, value: &str) -> QueryResult<Self> {
        let condition = match comparison {
            Comparison::Equal => Condition::Equal(value.to_owned()),
            Comparison::NotEqual => Condition::NotEqual(value.to_owned()),
            Comparison::Matches => Condition::Matches(anchored(value)?),
            Comparison::MatchesNot => Condition::MatchesNot(anchored(value)?),
        };
        if self.matchers.len() >= CONDITIONS_MAX {
            return Err(QueryError::bad_data(format!("a selector has at most {CONDITIONS_MAX} conditions")));
        }
        self.matchers.push(Matcher { name: label.to_owned(), condition });
        Ok(self)
    }

    /// Whether labels fulfil all conditions.
    #[must_use]
    pub fn accepts(&self, labels: &Labels) -> bool {
        let value = |name: &str| labels.value(name).unwrap_or_default();
        self.matchers.iter().all(|matcher| matcher.accepts(value(&matcher.name)))
    }

    pub(super) fn into_matchers(self) -> Vec<Matcher> {
        self.matchers
    }

    pub(super) fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }
}

/// As PromQL writes an instant selector.
impl FromStr for Selector {
    type Err = QueryError;

    fn from_str(text: &str) -> QueryResult<Self> {
        match crate::promql::parse(text) {
            // Of a series there is no time to shift.
            Ok(Expr::VectorSelector(selector)) if selector.offset.is_none() && selector.at.is_none() => {
                Ok(Self { matchers: crate::promql::matchers(&selector)? })
            }
            Ok(_) => Err(QueryError::BadData(format!("{text:?} is no series selector"))),
            Err(error) => Err(QueryError::BadData(error.in_prometheus_words())),
        }
    }
}
