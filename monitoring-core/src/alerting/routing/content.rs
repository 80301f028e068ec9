//! What there is to say about a group, and what of it fits into one message.

use crate::model::{Fingerprint, NotificationKind, ToldAlert};

/// Alerts in one message.
pub(super) const MESSAGE_ALERTS_MAX: usize = 500;

/// Alerts of a group, by what they are to its receiver.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// They fire, and the receiver has not heard of them.
    pub news: Vec<ToldAlert>,
    /// They fire, and it has.
    pub known: Vec<ToldAlert>,
    /// They are over, and it heard that they fire.
    pub over: Vec<ToldAlert>,
    /// They are over before it has heard of them: what told of them did not arrive.
    pub missed: Vec<ToldAlert>,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.news.len() + self.known.len() + self.over.len() + self.missed.len()
    }

    /// What a message of this says as a whole.
    pub(super) fn kind(&self) -> NotificationKind {
        let nothing_fires = self.news.is_empty() && self.known.is_empty();
        if nothing_fires { NotificationKind::Resolved } else { NotificationKind::Firing }
    }

    /// Takes out as much as one message holds. What is known comes last, for it was said already; what is
    /// over gets at least half, so that neither it nor what is new waits for the other for long.
    pub(super) fn take(&mut self, max: usize) -> Self {
        let firing = self.news.len() + self.known.len();
        let room = if firing == 0 { max } else { max.saturating_sub(firing).max(max / 2) };
        let over = take(&mut self.over, room);
        let missed = take(&mut self.missed, room - over.len());
        let news = take(&mut self.news, max - over.len() - missed.len());
        let known = take(&mut self.known, max - over.len() - missed.len() - news.len());
        Self { news, known, over, missed }
    }

    /// Those the receiver hears of for the first time.
    pub(super) fn heard_first(&self) -> Vec<Fingerprint> {
        self.news.iter().chain(&self.missed).map(|alert| alert.fingerprint).collect()
    }

    /// All of it, those that fire first.
    pub(super) fn into_alerts(self) -> Vec<ToldAlert> {
        [self.news, self.known, self.over, self.missed].concat()
    }
}

fn take(from: &mut Vec<ToldAlert>, max: usize) -> Vec<ToldAlert> {
    let rest = from.split_off(max.min(from.len()));
    std::mem::replace(from, rest)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::Labels;

    fn alerts(number: usize) -> Vec<ToldAlert> {
        let alert = |at: usize| ToldAlert {
            rule_id: uuid::Uuid::nil().into(),
            fingerprint: Fingerprint::new(i64::try_from(at).unwrap()),
            labels: Labels::new(),
            annotations: Labels::new(),
            value: String::new(),
            starts_at: DateTime::UNIX_EPOCH,
            ends_at: None,
        };
        (0..number).map(alert).collect()
    }

    fn taken(news: usize, known: usize, over: usize, missed: usize) -> (usize, usize, usize, usize) {
        let mut content =
            Content { news: alerts(news), known: alerts(known), over: alerts(over), missed: alerts(missed) };
        let all = content.len();
        let taken = content.take(10);
        assert_eq!(taken.len() + content.len(), all, "nothing is lost");
        assert!(taken.len() == all.min(10), "and no room is left empty");
        (taken.news.len(), taken.known.len(), taken.over.len(), taken.missed.len())
    }

    #[test]
    fn what_was_said_already_makes_room() {
        assert_eq!(taken(2, 3, 1, 1), (2, 3, 1, 1));
        assert_eq!(taken(4, 9, 3, 0), (4, 3, 3, 0));
        assert_eq!(taken(20, 9, 0, 0), (10, 0, 0, 0));
        assert_eq!(taken(0, 20, 3, 4), (0, 5, 3, 2));
        assert_eq!(taken(20, 0, 20, 0), (5, 0, 5, 0));
        assert_eq!(taken(1, 0, 20, 0), (1, 0, 9, 0));
        assert_eq!(taken(0, 0, 20, 7), (0, 0, 10, 0));
    }
}
