//! What a store promises about alerts.

use std::collections::BTreeSet;

use crate::model::{
    AlertCursor, AlertInstance, AlertInstanceFilter, AlertRuleId, AlertState, Fingerprint, IncidentId, Page,
    Slice,
};

super::store_trait! {
    /// Alerts that are pending, firing, or resolved a short while ago.
    AlertInstanceStore {
        /// Alerts, by rule and fingerprint. All that there are, if the filter allows: they are few
        /// enough to be kept in memory by whoever evaluates them.
        fn alert_instances(filter: &AlertInstanceFilter) -> Vec<AlertInstance>;

        /// Alerts in one of these states, by rule and fingerprint, those after `after`.
        fn alerts_in(states: &[AlertState], after: Option<AlertCursor>, page: &Page) -> Slice<AlertInstance>;

        /// How many alerts fire.
        fn firing_alerts() -> i64;

        /// Those of these incidents that an alert which fires is part of.
        fn kept_open(incidents: &BTreeSet<IncidentId>) -> Vec<IncidentId>;

        /// Writes alerts, each once.
        fn put_alert_instances(alerts: &[&AlertInstance]) -> ();

        /// Writes of alerts only their value and when they were updated, each once.
        fn put_alert_values(alerts: &[&AlertInstance]) -> ();

        /// Forgets alerts.
        fn delete_alert_instances(alerts: &[(AlertRuleId, Fingerprint)]) -> ();
    }
}
