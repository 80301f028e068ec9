//! What a store promises about alert rules.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use crate::model::{AlertFilter, AlertRule, AlertRuleId, Page, Slice};

super::store_trait! {
    /// Alert rules. No two of a group have the same name and the same labels.
    AlertStore {
        /// Adds a rule; a conflict if its name is taken.
        fn insert_alert_rule(rule: &AlertRule) -> ();

        /// The rule with this id.
        fn alert_rule(id: AlertRuleId) -> Option<AlertRule>;

        /// The rule with this id, which nobody else changes until the transaction ends.
        fn lock_alert_rule(id: AlertRuleId) -> Option<AlertRule>;

        /// Rules, newest first.
        fn alert_rules(filter: &AlertFilter, page: &Page) -> Slice<AlertRule>;

        /// All rules that are evaluated, by group and place.
        fn enabled_alert_rules() -> Vec<AlertRule>;

        /// Writes a rule whose version is `version`; false if there is none. A conflict if its new
        /// name is taken.
        fn update_alert_rule(rule: &AlertRule, version: i64) -> bool;

        /// Removes a rule; false if there is none.
        fn delete_alert_rule(id: AlertRuleId) -> bool;

        /// Has a rule that is removed leave its incidents open.
        fn insert_removed_rule(id: AlertRuleId, at: DateTime<Utc>) -> ();

        /// Rules that are removed or disabled, and that leave their incidents open.
        fn rules_leaving_open() -> HashSet<AlertRuleId>;

        /// Forgets rules that were removed before `before` and have no alerts any more.
        fn forget_removed_rules(before: DateTime<Utc>) -> ();
    }
}
