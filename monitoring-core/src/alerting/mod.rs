//! Alert rules: what a rule is made of, and whether it makes sense.

mod query;
pub(crate) mod routing;
mod rule;

pub(crate) use rule::{changed_rule, check_rule, new_rule, rule_texts};
