//! What a store promises about the evaluation of rules.

use crate::model::{AlertRuleId, RuleState};

super::store_trait! {
    /// What came of the last evaluation of each rule.
    RuleStateStore {
        /// Of these rules, as far as they were evaluated.
        fn rule_states(rules: &[AlertRuleId]) -> Vec<RuleState>;

        /// Writes what came of evaluations, each rule once.
        fn put_rule_states(states: &[RuleState]) -> ();
    }
}
