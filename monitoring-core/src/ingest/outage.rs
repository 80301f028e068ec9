//! Says in the log when the database goes away and when it is back: each once, however many
//! attempts fail in between.

use tokio::time::Instant;

use crate::store::StoreError;

/// Whether the database is away, and since when.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Beginning>,
}

#[derive(Debug)]
struct Beginning {
    at: Instant,
    attempts: u64,
    /// Records shed before.
    shed: u64,
}

impl Outage {
    /// A write failed because of the database. `shed` counts the records shed so far.
    pub(super) fn failed(&mut self, cause: &StoreError, now: Instant, shed: u64) {
        if let Some(beginning) = &mut self.since {
            beginning.attempts += 1;
            return;
        }
        self.since = Some(Beginning { at: now, attempts: 1, shed });
        let cause: &dyn std::error::Error = cause;
        tracing::warn!(
            target: "monitoring::internal",
            error = cause,
            "the database cannot be written to; records wait in memory"
        );
    }

    /// The database did what it was asked to. `waited` counts the records that had to wait for it.
    pub(super) fn worked(&mut self, now: Instant, waited: u64, shed: u64) {
        let Some(beginning) = self.since.take() else { return };
        tracing::info!(
            target: "monitoring::internal",
            seconds = now.saturating_duration_since(beginning.at).as_secs_f64(),
            failed_attempts = beginning.attempts,
            waited,
            shed = shed - beginning.shed,
            "the database can be written to again"
        );
    }
}
