//! Checks the query of a rule.

use promql_parser::parser::value::ValueType;

use crate::model::Invalid;
use crate::promql;

/// Checks that `query` is PromQL and yields what a rule can watch: an instant vector or a scalar.
///
/// # Errors
///
/// What is wrong with the field `query`, and where: line and column count from 1, columns in
/// characters.
pub(crate) fn check_query(query: &str) -> Result<(), Invalid> {
    let expression = promql::parse(query).map_err(|error| Invalid::field("query", error.to_string()))?;
    match expression.value_type() {
        ValueType::Vector | ValueType::Scalar => Ok(()),
        other => {
            let message = format!("is a {other}; a rule needs an instant vector or a scalar");
            Err(Invalid::field("query", message))
        }
    }
}

#[cfg(test)]
mod tests;
