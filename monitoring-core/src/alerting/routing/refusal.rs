//! What a group forgets when what was said about it is not heard.
//!
//! A group remembers what was said when it is said, for nothing may be said twice. If the message does not
//! arrive, the receiver knows less than that: what it was to hear first it has not heard, and what was to end
//! has not ended for it.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::Router;
use super::plan::{ORPHAN_INTERVAL, RESEND};
use crate::model::{Message, NotificationGroup, NotificationKind};

/// So long what is refused is said again at the group's own pace; then only with what is new.
const REFUSED_MAX: TimeDelta = TimeDelta::hours(24);

/// Makes a group what it was to its receiver without this message, the last that was said or the last
/// before others that are unsaid too.
pub(super) fn unsay(group: &mut NotificationGroup, message: &Message) {
    let news: HashSet<_> = message.news.iter().copied().collect();
    for alert in &message.alerts {
        if news.contains(&alert.fingerprint) {
            group.told.remove(&alert.fingerprint);
            group.unheard.insert(alert.fingerprint, alert.clone());
        } else if !alert.is_firing() && !group.unheard.contains_key(&alert.fingerprint) {
            group.told.entry(alert.fingerprint).or_insert_with(|| alert.clone());
        }
    }
    match message.kind {
        NotificationKind::Firing | NotificationKind::Resolved => group.told_at = None,
        NotificationKind::Acknowledged => group.is_acknowledged = false,
        NotificationKind::Test => {}
    }
}

/// The group of a message that was given up: it says it again when it next may. `None` if that is not to be,
/// because it has been refused for long, or was about nothing that fires or ends.
pub(crate) fn refused(
    group: Option<NotificationGroup>,
    receiver: &str,
    message: &Message,
    router: Option<&Router>,
    is_forgetful: bool,
    now: DateTime<Utc>,
) -> Option<NotificationGroup> {
    let is_news = matches!(message.kind, NotificationKind::Firing | NotificationKind::Resolved);
    let since = message.refused_since.unwrap_or(now);
    if !is_news || now - since >= REFUSED_MAX {
        return None;
    }
    let mut group = group.unwrap_or_else(|| NotificationGroup {
        key: message.group_key.clone(),
        receiver: receiver.to_owned(),
        labels: message.group_labels.clone(),
        next_at: now,
        told_at: None,
        told: BTreeMap::new(),
        unheard: BTreeMap::new(),
        is_acknowledged: false,
        refused_since: None,
    });
    unsay(&mut group, message);
    group.refused_since = group.refused_since.or(Some(since));
    if group.next_at <= now {
        let node = router.and_then(|router| router.route_of(&group, now));
        let interval = node.map_or(ORPHAN_INTERVAL, |node| node.group_interval.delta());
        group.next_at = now + if is_forgetful { RESEND } else { interval };
    }
    Some(group)
}
