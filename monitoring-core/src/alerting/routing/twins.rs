//! Alerts with equal labels, which are one to people.

use std::collections::BTreeMap;

use crate::model::{AlertInstance, AlertState, Fingerprint, ToldAlert};

/// Alerts with equal labels are one: it fires if one of them does, since the first of them did.
pub(crate) fn by_fingerprint(alerts: &[AlertInstance]) -> BTreeMap<Fingerprint, ToldAlert> {
    let mut found: BTreeMap<Fingerprint, ToldAlert> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert.state != AlertState::Pending) {
        let mut told = ToldAlert::of(alert);
        if alert.state == AlertState::Firing {
            told.ends_at = None;
        } else {
            told.ends_at = Some(told.ends_at.unwrap_or(alert.updated_at));
        }
        let is_better = |known: &ToldAlert| {
            let rank = |alert: &ToldAlert| (alert.ends_at.is_some(), alert.starts_at, alert.rule_id);
            rank(&told) < rank(known)
        };
        if found.get(&told.fingerprint).is_none_or(is_better) {
            found.insert(told.fingerprint, told);
        }
    }
    found
}
