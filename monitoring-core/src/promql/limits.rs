//! What one query may cost, checked before and during evaluation.

use std::time::Duration;

use tokio::time::Instant;

use super::error::{QueryError, QueryResult};

/// Bounds on one query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryLimits {
    /// Samples read, and values held at once, each of 8 to 16 bytes: 20 million by default, since all of
    /// them lie in the memory of the service.
    pub samples_max: usize,
    /// Series one selector may find.
    pub series_max: usize,
    /// Steps of a range query.
    pub steps_max: usize,
    /// How long it may take.
    pub timeout: Duration,
    /// How old the newest sample may be for an instant selector to see it.
    pub lookback: Duration,
    /// The step of a subquery that names none.
    pub subquery_interval: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            samples_max: 20_000_000,
            series_max: 200_000,
            steps_max: 11_000,
            timeout: Duration::from_secs(25),
            lookback: Duration::from_secs(5 * 60),
            subquery_interval: Duration::from_secs(60),
        }
    }
}

/// Cells handled between two looks at the clock: about a millisecond's work.
pub(crate) const CELLS_PER_BREATH: usize = 200_000;
/// Bytes of the values of labels that one query may make: 300 for each of as many series as a
/// selector may find.
const LABEL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a query under way has left.
#[derive(Debug)]
pub(crate) struct Budget {
    samples_left: usize,
    /// What was left when least was.
    least_left: usize,
    samples_max: usize,
    label_bytes_left: usize,
    cells_until_breath: usize,
    deadline: Instant,
}

impl Budget {
    pub(crate) fn new(limits: &QueryLimits) -> Self {
        Self {
            samples_left: limits.samples_max,
            least_left: limits.samples_max,
            samples_max: limits.samples_max,
            label_bytes_left: LABEL_BYTES_MAX,
            cells_until_breath: CELLS_PER_BREATH,
            deadline: Instant::now() + limits.timeout,
        }
    }

    /// Takes samples into memory.
    pub(crate) fn take(&mut self, samples: usize) -> QueryResult<()> {
        let left = self.samples_left.checked_sub(samples);
        self.samples_left = left.ok_or_else(QueryError::too_many_samples)?;
        self.least_left = self.least_left.min(self.samples_left);
        Ok(())
    }

    /// Gives back what was taken and is no longer held.
    pub(crate) fn give_back(&mut self, samples: usize) {
        self.samples_left += samples;
    }

    /// How many more may be taken.
    pub(crate) fn left(&self) -> usize {
        self.samples_left
    }

    /// How many were held when most were.
    pub(crate) fn held_max(&self) -> usize {
        self.samples_max - self.least_left
    }

    /// Gives back all that was taken since there were `before` left, but for what is still held.
    pub(crate) fn settle(&mut self, before: usize, held: usize) {
        self.samples_left = self.samples_left.max(before.saturating_sub(held));
    }

    /// Takes cells that are about to be written.
    pub(crate) async fn hold(&mut self, cells: usize) -> QueryResult<()> {
        self.take(cells)?;
        self.spend(cells).await
    }

    /// Takes the bytes of a label that is made. Many rows may come to share it, so it counts as
    /// held until the end.
    pub(crate) fn take_label(&mut self, value: &str) -> QueryResult<()> {
        let left = self.label_bytes_left.checked_sub(value.len());
        self.label_bytes_left = left.ok_or_else(|| {
            QueryError::execution(format!(
                "the query makes more than {LABEL_BYTES_MAX} bytes of label values"
            ))
        })?;
        Ok(())
    }

    /// Called as work goes on: now and then lets others have the thread, and sees whether the time
    /// is up. A query that nobody waits for any longer ends here, because it is dropped.
    pub(crate) async fn spend(&mut self, cells: usize) -> QueryResult<()> {
        if let Some(left) = self.cells_until_breath.checked_sub(cells) {
            self.cells_until_breath = left;
            return Ok(());
        }
        self.cells_until_breath = CELLS_PER_BREATH;
        tokio::task::yield_now().await;
        if Instant::now() >= self.deadline { Err(QueryError::Timeout) } else { Ok(()) }
    }
}
