//! The selectors in a query, wherever they stand.

use promql_parser::parser::{AtModifier, Expr, VectorSelector};

use super::error::{QueryError, QueryResult};
use super::matcher::Matcher;
use super::planner::matchers;

/// The conditions of each selector in a query, in the order they are written.
///
/// # Errors
///
/// [`QueryError::BadData`] if the text is no query.
pub(crate) fn selections(query: &str) -> QueryResult<Vec<Vec<Matcher>>> {
    let expression =
        super::parse(query).map_err(|error| QueryError::bad_data(error.in_prometheus_words()))?;
    let mut found = Vec::new();
    each_selector(&expression, &mut |selector| {
        found.push(matchers(selector)?);
        Ok(())
    })?;
    Ok(found)
}

/// Hands over each selector of an expression, whose depth the parser has bounded.
pub(super) fn each_selector(
    expression: &Expr,
    take: &mut impl FnMut(&VectorSelector) -> QueryResult<()>,
) -> QueryResult<()> {
    match expression {
        Expr::VectorSelector(selector) => take(selector)?,
        Expr::MatrixSelector(matrix) => take(&matrix.vs)?,
        Expr::Subquery(subquery) => each_selector(&subquery.expr, take)?,
        Expr::Paren(paren) => each_selector(&paren.expr, take)?,
        Expr::Unary(unary) => each_selector(&unary.expr, take)?,
        Expr::Binary(binary) => {
            each_selector(&binary.lhs, take)?;
            each_selector(&binary.rhs, take)?;
        }
        Expr::Aggregate(aggregate) => {
            each_selector(&aggregate.expr, take)?;
            if let Some(parameter) = &aggregate.param {
                each_selector(parameter, take)?;
            }
        }
        Expr::Call(call) => {
            for argument in &call.args.args {
                each_selector(argument, take)?;
            }
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
    Ok(())
}

/// Whether what a query yields at an instant depends on which other instants it is asked for, by
/// `@ start()` or `@ end()`.
pub(crate) fn depends_on_range(query: &str) -> bool {
    super::parse(query).is_ok_and(|expression| names_ends(&expression))
}

fn names_ends(expression: &Expr) -> bool {
    let is_end = |at: &Option<AtModifier>| matches!(at, Some(AtModifier::Start | AtModifier::End));
    match expression {
        Expr::VectorSelector(selector) => is_end(&selector.at),
        Expr::MatrixSelector(matrix) => is_end(&matrix.vs.at),
        Expr::Subquery(subquery) => is_end(&subquery.at) || names_ends(&subquery.expr),
        Expr::Paren(paren) => names_ends(&paren.expr),
        Expr::Unary(unary) => names_ends(&unary.expr),
        Expr::Binary(binary) => names_ends(&binary.lhs) || names_ends(&binary.rhs),
        Expr::Aggregate(aggregate) => {
            names_ends(&aggregate.expr) || aggregate.param.as_ref().is_some_and(|param| names_ends(param))
        }
        Expr::Call(call) => call.args.args.iter().any(|argument| names_ends(argument)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_found_wherever_they_stand() {
        let query = r#"histogram_quantile(0.9, sum by (le) (rate(a{x="1"}[5m]))) > -(b)
            or topk(scalar(c), max_over_time(d[1h:5m])) + 1"#;
        let names = selections(query).unwrap().into_iter().map(|matchers| {
            let name = matchers.iter().find(|matcher| matcher.name == "__name__").unwrap();
            ["a", "b", "c", "d"].into_iter().find(|text| name.accepts(text)).unwrap()
        });
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert!(selections("1 + time()").unwrap().is_empty());
        assert!(selections("up{").is_err());
    }

    #[test]
    fn the_ends_of_the_range_are_found_wherever_they_are_named() {
        assert!(depends_on_range("sum(rate(x[5m] @ start())) > 1"));
        assert!(depends_on_range("a + max_over_time(b[1h:5m] @ end())"));
        assert!(!depends_on_range("sum(rate(x[5m] @ 100)) > 1"));
    }
}
