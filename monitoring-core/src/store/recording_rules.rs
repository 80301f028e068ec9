//! What a store promises about recording rules.

use crate::model::{AlertRuleId, Page, RecordingRule, Slice};

super::store_trait! {
    /// Recording rules. No two of a group record the same with the same labels.
    RecordingRuleStore {
        /// Adds a rule; a conflict if its group has one that records the same.
        fn insert_recording_rule(rule: &RecordingRule) -> ();

        /// The rule with this id.
        fn recording_rule(id: AlertRuleId) -> Option<RecordingRule>;

        /// The rule with this id, which nobody else changes until the transaction ends.
        fn lock_recording_rule(id: AlertRuleId) -> Option<RecordingRule>;

        /// Rules, newest first.
        fn recording_rules(group: Option<&str>, page: &Page) -> Slice<RecordingRule>;

        /// All rules that are evaluated, by group and place.
        fn enabled_recording_rules() -> Vec<RecordingRule>;

        /// Writes a rule whose version is `version`; false if there is none. A conflict as above.
        fn update_recording_rule(rule: &RecordingRule, version: i64) -> bool;

        /// Removes a rule; false if there is none.
        fn delete_recording_rule(id: AlertRuleId) -> bool;
    }
}
