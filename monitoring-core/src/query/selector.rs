//! Which series are meant.

use std::str::FromStr;

use promql_parser::parser::Expr;

use crate::model::Labels;
use crate::promql::{Condition, Matcher, QueryError, QueryResult, REGEXES_MAX, anchored};

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
/// Regular expressions of all selectors in one request, which are compiled at the same time.
const REQUEST_REGEXES_MAX: usize = 100;

/// The selectors of a request. Between two of them others have the thread.
pub(super) async fn parsed(texts: &[String]) -> QueryResult<Vec<Selector>> {
    check_count(texts.len())?;
    let (mut selectors, mut regexes) = (Vec::with_capacity(texts.len()), 0);
    for text in texts {
        let selector: Selector = text.parse()?;
        regexes += selector.regexes();
        if regexes > REQUEST_REGEXES_MAX {
            let message = format!("at most {REQUEST_REGEXES_MAX} regular expressions are taken at once");
            return Err(QueryError::bad_data(message));
        }
        selectors.push(selector);
        tokio::task::yield_now().await;
    }
    Ok(selectors)
}

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
    /// than 100 conditions, or than 50 of that kind.
    pub fn with(mut self, label: &str, comparison: Comparison, value: &str) -> QueryResult<Self> {
        if self.matchers.len() >= CONDITIONS_MAX {
            return Err(QueryError::bad_data(format!("a selector has at most {CONDITIONS_MAX} conditions")));
        }
        let is_regex = matches!(comparison, Comparison::Matches | Comparison::MatchesNot);
        if is_regex && self.regexes() >= REGEXES_MAX {
            let message = format!("a selector has at most {REGEXES_MAX} regular expressions");
            return Err(QueryError::bad_data(message));
        }
        let condition = match comparison {
            Comparison::Equal => Condition::Equal(value.to_owned()),
            Comparison::NotEqual => Condition::NotEqual(value.to_owned()),
            Comparison::Matches => Condition::Matches(anchored(value)?),
            Comparison::MatchesNot => Condition::MatchesNot(anchored(value)?),
        };
        self.matchers.push(Matcher { name: label.to_owned(), condition });
        Ok(self)
    }

    /// Whether labels fulfil all conditions.
    #[must_use]
    pub fn accepts(&self, labels: &Labels) -> bool {
        let value = |name: &str| labels.value(name).unwrap_or_default();
        self.matchers.iter().all(|matcher| matcher.accepts(value(&matcher.name)))
    }

    fn regexes(&self) -> usize {
        let is_regex = |matcher: &&Matcher| {
            matches!(matcher.condition, Condition::Matches(_) | Condition::MatchesNot(_))
        };
        self.matchers.iter().filter(is_regex).count()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn regular_expressions_of_a_request_are_bounded_together() {
        let text = format!("{{{}}}", vec!["a=~'x|y'"; REGEXES_MAX].join(","));
        assert_eq!(parsed(&[text.clone(), text.clone()]).await.unwrap().len(), 2);
        let refused = parsed(&[text.clone(), text, "{a=~'x|y'}".to_owned()]).await.unwrap_err();
        assert_eq!(refused.to_string(), "at most 100 regular expressions are taken at once");
        // They are counted before any of them is read.
        let refused = parsed(&vec!["{".to_owned(); SELECTORS_MAX + 1]).await.unwrap_err();
        assert_eq!(refused.to_string(), "at most 100 selectors are taken at once");
    }

    #[test]
    fn regular_expressions_of_a_selector_are_bounded() {
        let with = |selector: Selector, comparison| selector.with("a", comparison, "x|y");
        let full =
            (0..REGEXES_MAX).try_fold(Selector::default(), |selector, _| with(selector, Comparison::Matches));
        let full = full.unwrap();
        assert!(with(full.clone(), Comparison::Equal).is_ok());
        assert!(with(full, Comparison::MatchesNot).is_err());
    }
}
