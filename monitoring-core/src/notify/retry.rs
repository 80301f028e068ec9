//! What becomes of a notification after a try.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{Notification, NotificationAttempt, NotificationStatus, cut};

/// After the first failure.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// After many.
const PAUSE_MAX: Duration = Duration::from_secs(10 * 60);
/// Longer than that no receiver puts us off.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);
/// Tries of one notification.
const ATTEMPTS_MAX: u32 = 100;
/// Whatever is older helps nobody any more.
const AGE_MAX: TimeDelta = TimeDelta::hours(24);
/// Characters kept of what went wrong.
const ERROR_CHARS_MAX: usize = 500;

/// What came back from a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Of HTTP, if it got that far.
    pub status: Option<u16>,
    pub verdict: Verdict,
    /// What was wrong though it was taken.
    pub note: Option<String>,
    /// Recipients of an e-mail that are to be tried again, where others took it.
    pub unreached: Vec<String>,
}

/// Whether it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    /// Not now.
    Again {
        error: String,
        after: Option<Duration>,
    },
    /// The same would be refused again.
    Never {
        error: String,
    },
}

impl Answer {
    pub(super) const fn taken() -> Self {
        Self { status: None, verdict: Verdict::Taken, note: None, unreached: Vec::new() }
    }

    /// It was taken, but not for everybody.
    #[cfg(feature = "email")]
    pub(super) fn taken_but(note: String) -> Self {
        Self { note: Some(note), ..Self::taken() }
    }

    /// It was taken, but not yet for these.
    #[cfg(feature = "email")]
    pub(super) fn again_for(unreached: Vec<String>, error: String) -> Self {
        Self { unreached, ..Self::again(error) }
    }

    pub(super) fn again(error: impl Into<String>) -> Self {
        Self::again_after(error, None)
    }

    /// The same after a while, if the receiver asked for one.
    pub(super) fn again_after(error: impl Into<String>, after: Option<Duration>) -> Self {
        Self { verdict: Verdict::Again { error: error.into(), after }, ..Self::taken() }
    }

    pub(super) fn never(error: impl Into<String>) -> Self {
        Self { verdict: Verdict::Never { error: error.into() }, ..Self::taken() }
    }

    /// What an answer of HTTP means.
    pub(super) fn of_http(status: u16, after: Option<Duration>, body: &str) -> Self {
        let said = || match body.trim() {
            "" => format!("it answered {status}"),
            body => format!("it answered {status}: {body}"),
        };
        let verdict = match status {
            200..=299 => Verdict::Taken,
            300..=399 => {
                Verdict::Never { error: format!("it answered {status}; redirects are not followed") }
            }
            408 | 429 | 500..=599 => Verdict::Again { error: said(), after },
            _ => Verdict::Never { error: said() },
        };
        Self { status: Some(status), verdict, ..Self::taken() }
    }

    /// What went wrong, in a length that can be kept.
    pub(super) fn error(&self) -> Option<String> {
        let said = match &self.verdict {
            Verdict::Taken => self.note.as_ref(),
            Verdict::Again { error, .. } | Verdict::Never { error } => Some(error),
        };
        said.map(|error| cut(&error.replace('\0', "\u{fffd}"), ERROR_CHARS_MAX))
    }

    /// The line of the log about a try.
    pub(super) fn attempt(&self, at: DateTime<Utc>, duration: Duration) -> NotificationAttempt {
        let duration_ms = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        NotificationAttempt { at, duration_ms, status: self.status, error: self.error() }
    }

    /// The same without texts that nobody may see, the longest of them first.
    pub(super) fn without(mut self, secrets: &[String]) -> Self {
        let said = match &mut self.verdict {
            Verdict::Taken => self.note.as_mut(),
            Verdict::Again { error, .. } | Verdict::Never { error } => Some(error),
        };
        if let Some(error) = said {
            // An answer is not read to its end, which may be within one.
            let begun = secrets.iter().filter_map(|secret| begun_at_the_end(error, secret)).min();
            error.truncate(begun.unwrap_or(error.len()));
            // Not the word at once, for a secret may be part of it.
            *error = error.replace('\0', "\u{fffd}");
            for secret in secrets {
                *error = error.replace(secret, "\0");
            }
            *error = error.replace('\0', "<secret>");
        }
        self
    }
}

/// Where the beginning of a text stands at the end of another, if it is enough to tell.
fn begun_at_the_end(text: &str, secret: &str) -> Option<usize> {
    const BYTES_MIN: usize = 4;
    let ends = secret.char_indices().map(|(at, _)| at).filter(|at| *at >= BYTES_MIN);
    ends.filter(|end| text.ends_with(&secret[..*end])).map(|end| text.len() - end).min()
}

/// The notification after a try. `chance` is anything; it keeps those that failed together from coming
/// back together.
pub(super) fn after(
    notification: &Notification,
    answer: &Answer,
    now: DateTime<Utc>,
    chance: u64,
) -> Notification {
    let attempts = notification.attempts.saturating_add(1);
    let mut after = Notification { attempts, error: answer.error(), ..notification.clone() };
    if answer.verdict == Verdict::Taken || !answer.unreached.is_empty() {
        after.unreached.clone_from(&answer.unreached);
    }
    let pause = match &answer.verdict {
        Verdict::Taken => None,
        Verdict::Never { .. } => None,
        Verdict::Again { after, .. } => Some(pause(attempts, *after, chance)),
    };
    let is_too_old = now - notification.revived_at.unwrap_or(notification.created_at) >= AGE_MAX;
    match pause {
        Some(pause) if attempts < ATTEMPTS_MAX && !is_too_old => after.next_attempt_at = now + pause,
        _ => {
            let is_heard = answer.verdict == Verdict::Taken || after.is_heard();
            after.status = if is_heard { NotificationStatus::Sent } else { NotificationStatus::Dead };
            after.finished_at = Some(now);
        }
    }
    after
}

fn pause(attempts: u32, asked: Option<Duration>, chance: u64) -> Duration {
    let doubled = PAUSE_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(PAUSE_MAX);
    // Between half as long and half as long again.
    let part = (chance % 1_000) as f64 / 1_000.0;
    let jittered = doubled / 2 + doubled.mul_f64(part);
    // What was put off together does not come back together either.
    let asked = asked.unwrap_or_default().min(RETRY_AFTER_MAX);
    jittered.max(asked + (asked / 10).mul_f64(part))
}

/// Reads a `Retry-After`: seconds, or a date.
pub(super) fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Labels, Message, NotificationKind};
    use crate::notify::secret_parts::secret_parts;

    fn now() -> DateTime<Utc> {
        "2026-06-15T12:00:00Z".parse().unwrap()
    }

    fn notification(attempts: u32, age: TimeDelta) -> Notification {
        Notification {
            id: uuid::Uuid::nil().into(),
            receiver_id: uuid::Uuid::nil().into(),
            message: Message {
                id: uuid::Uuid::nil().into(),
                kind: NotificationKind::Firing,
                receiver: String::new(),
                group_key: String::new(),
                dedup_key: String::new(),
                group_labels: Labels::new(),
                alerts: Vec::new(),
                news: Vec::new(),
                truncated_alerts: 0,
                author: None,
                refused_since: None,
                at: now(),
            },
            status: NotificationStatus::Pending,
            attempts,
            created_at: now() - age,
            next_attempt_at: now(),
            finished_at: None,
            revived_at: None,
            unreached: Vec::new(),
            error: None,
        }
    }

    fn pause_after(attempts: u32, status: u16, asked: Option<Duration>, chance: u64) -> Option<Duration> {
        let before = notification(attempts, TimeDelta::zero());
        let after = after(&before, &Answer::of_http(status, asked, ""), now(), chance);
        let is_pending = after.status == NotificationStatus::Pending;
        is_pending.then(|| (after.next_attempt_at - now()).to_std().unwrap())
    }

    #[test]
    fn what_was_taken_is_done_and_what_is_refused_is_given_up() {
        for (status, becomes) in [
            (200, NotificationStatus::Sent),
            (202, NotificationStatus::Sent),
            (301, NotificationStatus::Dead),
            (400, NotificationStatus::Dead),
            (404, NotificationStatus::Dead),
            (408, NotificationStatus::Pending),
            (429, NotificationStatus::Pending),
            (500, NotificationStatus::Pending),
            (503, NotificationStatus::Pending),
        ] {
            let answer = Answer::of_http(status, None, "because");
            let after = after(&notification(0, TimeDelta::zero()), &answer, now(), 0);
            assert_eq!((after.status, after.attempts), (becomes, 1), "{status}");
            assert_eq!(after.finished_at.is_some(), becomes != NotificationStatus::Pending);
            assert_eq!(after.error.is_none(), becomes == NotificationStatus::Sent);
        }
    }

    #[test]
    fn pauses_grow_and_a_receiver_may_ask_for_longer_ones_within_bounds() {
        let seconds = Duration::from_secs;
        assert_eq!(pause_after(0, 500, None, 500), Some(seconds(5)));
        assert_eq!(pause_after(3, 500, None, 500), Some(seconds(40)));
        assert_eq!(pause_after(50, 500, None, 500), Some(PAUSE_MAX));
        assert_eq!(pause_after(0, 429, Some(seconds(90)), 0), Some(seconds(90)));
        assert_eq!(pause_after(0, 429, Some(seconds(1)), 500), Some(seconds(5)));
        assert_eq!(pause_after(0, 503, Some(seconds(1_000_000)), 0), Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn tries_end_by_number_and_by_age() {
        assert_eq!(pause_after(ATTEMPTS_MAX - 1, 500, None, 0), None);
        let old = after(&notification(1, AGE_MAX), &Answer::again("no"), now(), 0);
        assert_eq!(old.status, NotificationStatus::Dead);
        let mut revived = notification(1, AGE_MAX);
        revived.revived_at = Some(now() - TimeDelta::hours(1));
        let after = after(&revived, &Answer::again("no"), now(), 0);
        assert_eq!(after.status, NotificationStatus::Pending, "since it was sent again it is young");
    }

    #[cfg(feature = "email")]
    #[test]
    fn what_some_have_got_is_tried_again_for_the_others_and_counts_as_sent_in_the_end() {
        let but = |to: &str| Answer::again_for(vec![to.to_owned()], "full".to_owned());
        let first = after(&notification(0, TimeDelta::zero()), &but("boss"), now(), 0);
        assert_eq!(
            (first.status, first.unreached.clone()),
            (NotificationStatus::Pending, vec!["boss".to_owned()])
        );
        let second = after(&first, &Answer::again("no answer"), now(), 0);
        assert_eq!((second.status, &second.unreached), (NotificationStatus::Pending, &first.unreached));
        let reached = after(&second, &Answer::taken(), now(), 0);
        assert_eq!((reached.status, reached.unreached.len()), (NotificationStatus::Sent, 0));
        for end in [Answer::never("gone"), but("boss")] {
            let last = Notification { attempts: ATTEMPTS_MAX - 1, ..second.clone() };
            let last = after(&last, &end, now(), 0);
            assert_eq!((last.status, &last.unreached), (NotificationStatus::Sent, &first.unreached));
            assert!(last.error.is_some());
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("120", now()), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Mon, 15 Jun 2026 12:01:00 GMT", now()), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Mon, 15 Jun 2026 11:01:00 GMT", now()), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now()), None);
    }

    #[test]
    fn an_error_is_cut_and_shows_no_secret() {
        let parts = secret_parts(&["https://hooks.example/services/T1/secret"]);
        let answer =
            Answer::of_http(400, None, &format!("Cannot POST /services/T1/secret {}", "x".repeat(9_999)));
        let error = answer.without(&parts).error().unwrap();
        assert!(error.starts_with("it answered 400: Cannot POST <secret> x"), "{error}");
        assert!(error.chars().count() <= ERROR_CHARS_MAX);
        let answer = Answer::of_http(404, None, r#"{"path":"\/services\/T1\/secret"}"#);
        assert_eq!(
            answer.without(&parts).error().unwrap(),
            r#"it answered 404: {"path":"\/<secret>\/T1\/<secret>"}"#
        );
        let answer = Answer::of_http(404, None, "what do you want at /services/T1/secr");
        assert_eq!(answer.without(&parts).error().unwrap(), "it answered 404: what do you want at ");
    }

    proptest! {
        #[test]
        fn every_pause_is_bounded(attempts in 0..99_u32, chance: u64, asked in prop::option::of(any::<u64>())) {
            let asked = asked.map(Duration::from_secs);
            let pause = pause_after(attempts, 503, asked, chance).unwrap();
            prop_assert!(pause >= PAUSE_FIRST / 2 && pause <= RETRY_AFTER_MAX * 11 / 10);
        }
    }
}
