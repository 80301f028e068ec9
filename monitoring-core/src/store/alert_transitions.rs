//! What a store promises about the history of alerts.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::model::{AlertRuleId, AlertTransition, Fingerprint, Page, Slice};

/// Which changes of state to return of a rule's alerts. Everything given must hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TransitionFilter {
    pub rule: AlertRuleId,
    pub fingerprint: Option<Fingerprint>,
    /// At or after this time.
    pub start_time: Option<DateTime<Utc>>,
    /// Before this time.
    pub end_time: Option<DateTime<Utc>>,
}

super::store_trait! {
    /// Every change of an alert's state. What is written stays.
    AlertTransitionStore {
        /// Adds to the history.
        fn insert_transitions(transitions: &[AlertTransition]) -> ();

        /// Changes, newest first.
        fn transitions(filter: &TransitionFilter, page: &Page) -> Slice<AlertTransition>;

        /// How many changes the alerts of these rules made since; rules with none are left out.
        fn transition_counts(rules: &[AlertRuleId], since: DateTime<Utc>) -> HashMap<AlertRuleId, u64>;
    }
}
