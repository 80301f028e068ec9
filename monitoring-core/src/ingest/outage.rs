//! Says in the log when the database cannot be written to and when it can again: each once, however
//! many attempts fail in between, and whatever else it still does.

use tokio::time::Instant;

use super::writer::Kind;
use crate::store::StoreError;

/// Whether something cannot be written, and since when.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Beginning>,
}

#[derive(Debug)]
struct Beginning {
    at: Instant,
    /// What failed and has not worked since.
    failing: Vec<Kind>,
    attempts: u64,
    /// Most records that were seen waiting when something worked.
    waited: u64,
    /// Records shed before.
    shed: u64,
}

impl Outage {
    /// Whether there is one, as far as is known.
    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// A write failed because of the database. `shed` counts the records shed so far.
    pub(super) fn failed(&mut self, kind: Kind, cause: &StoreError, now: Instant, shed: u64) {
        if let Some(beginning) = &mut self.since {
            beginning.attempts += 1;
            if !beginning.failing.contains(&kind) {
                beginning.failing.push(kind);
            }
            return;
        }
        self.since = Some(Beginning { at: now, failing: vec![kind], attempts: 1, waited: 0, shed });
        let cause: &dyn std::error::Error = cause;
        tracing::warn!(
            target: "monitoring::internal",
            error = cause,
            "the database cannot be written to; records wait in memory"
        );
    }

    /// The database did what it was asked to, so it is not silent to callers either; what else failed
    /// may go on failing. `waited` counts the records that had to wait.
    pub(super) fn worked(&mut self, kind: Kind, now: Instant, waited: u64, shed: u64) {
        let Some(mut beginning) = self.since.take() else { return };
        beginning.waited = beginning.waited.max(waited);
        beginning.failing.retain(|failing| *failing != kind && *failing != Kind::Callers);
        if !beginning.failing.is_empty() {
            self.since = Some(beginning);
            return;
        }
        tracing::info!(
            target: "monitoring::internal",
            seconds = now.saturating_duration_since(beginning.at).as_secs_f64(),
            failed_attempts = beginning.attempts,
            waited = beginning.waited,
            shed = shed - beginning.shed,
            "the database can be written to again"
        );
    }
}
