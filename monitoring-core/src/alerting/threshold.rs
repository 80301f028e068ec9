//! Whether a rule's threshold counts: it does where the query has no comparison of its own.

use promql_parser::parser::Expr;
use promql_parser::parser::token::{
    T_EQLC, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_NEQ, TokenId,
};

use crate::model::AlertRule;
use crate::promql;

/// The query of a rule with its threshold as a comparison, for people to read.
pub(crate) fn full_query(rule: &AlertRule) -> String {
    match threshold(rule) {
        Some(threshold) => {
            // A comment goes on to the end of its line.
            let end = if rule.query.contains('#') { "\n" } else { "" };
            format!("({}{end}) > {}", rule.query, promql::format_value(threshold))
        }
        None => rule.query.clone(),
    }
}

/// The threshold of a rule, if it counts.
pub(crate) fn threshold(rule: &AlertRule) -> Option<f64> {
    rule.threshold_value.filter(|_| promql::parse(&rule.query).is_ok_and(|query| !compares(&query)))
}

/// Whether what a query yields went through a comparison that filters. One inside a function or an
/// aggregation is about something else, and one with `bool` filters nothing.
fn compares(query: &Expr) -> bool {
    const COMPARISONS: [TokenId; 6] = [T_EQLC, T_NEQ, T_GTR, T_LSS, T_GTE, T_LTE];
    match query {
        Expr::Paren(paren) => compares(&paren.expr),
        Expr::Unary(unary) => compares(&unary.expr),
        Expr::Binary(binary) => {
            let op = binary.op.id();
            let is_bool = binary.modifier.as_ref().is_some_and(|modifier| modifier.return_bool);
            if COMPARISONS.contains(&op) && !is_bool {
                return true;
            }
            let is_set = [T_LAND, T_LOR, T_LUNLESS].contains(&op);
            // What only decides which series stay says nothing of their values.
            compares(&binary.lhs) || (op == T_LOR || !is_set) && compares(&binary.rhs)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_of_the_querys_own_is_found() {
        for (query, has) in [
            ("cpu > 80", true),
            ("(cpu > 80) and on() up", true),
            ("cpu and (mem > 1)", false),
            ("a or b > 1", true),
            ("-(cpu < 3)", true),
            ("sum(rate(x[5m]))", false),
            ("sum(x > 5)", false),
            ("up == bool 0", false),
            ("(a > 1) / b", true),
            ("absent(up)", false),
        ] {
            assert_eq!(compares(&promql::parse(query).unwrap()), has, "{query}");
        }
    }
}
