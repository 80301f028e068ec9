//! What the layer was told: what to skip, whom to trust, which requests make an event.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use monitoring_core::Level;

use super::RequestSummary;

/// Health checks and scrapes: frequent, and of no interest while they succeed.
const SKIPPED_PATHS: [&str; 6] = ["/livez", "/readyz", "/healthz", "/health", "/metrics", "/favicon.ico"];
/// Files, and the customary place of this crate's own router. Elsewhere its responses tell.
const SKIPPED_PREFIXES: [&str; 3] = ["/static", "/assets", "/api/v1/monitoring"];

type EventPolicy = dyn Fn(&RequestSummary<'_>) -> Option<Level> + Send + Sync;

#[derive(Clone)]
pub(super) struct Policy {
    pub source: String,
    pub slow_after: Duration,
    pub trust_incoming: bool,
    pub skip: Skip,
    pub event: Option<Arc<EventPolicy>>,
}

impl Policy {
    /// The level of the request's event, or `None` for no event. A policy that panics has no say.
    pub(super) fn event_level(&self, request: &RequestSummary<'_>) -> Option<Level> {
        match &self.event {
            Some(policy) => catch_unwind(AssertUnwindSafe(|| policy(request))).unwrap_or(Some(request.level)),
            None => Some(request.level),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            source: "http".to_owned(),
            slow_after: Duration::from_secs(1),
            trust_incoming: true,
            skip: Skip::default(),
            event: None,
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("source", &self.source)
            .field("slow_after", &self.slow_after)
            .field("trust_incoming", &self.trust_incoming)
            .field("skip", &self.skip)
            .finish_non_exhaustive()
    }
}

/// Requests that are not recorded.
#[derive(Clone, Debug)]
pub(super) struct Skip {
    paths: Vec<Box<str>>,
    /// Without a slash at the end.
    prefixes: Vec<Box<str>>,
    /// Whether this crate's own router is skipped, wherever it is nested: reading what was recorded
    /// must not record something.
    pub own_router: bool,
}

impl Skip {
    /// Skips nothing.
    pub(super) const fn nothing() -> Self {
        Self { paths: Vec::new(), prefixes: Vec::new(), own_router: false }
    }

    /// Also skips exactly this path.
    pub(super) fn add_path(&mut self, path: Box<str>) {
        self.paths.push(path);
    }

    /// Also skips this path and everything below it.
    pub(super) fn add_prefix(&mut self, prefix: &str) {
        self.prefixes.push(prefix.trim_end_matches('/').into());
    }

    /// Whether requests to `path` are not recorded.
    pub(super) fn covers(&self, path: &str) -> bool {
        self.paths.iter().any(|skipped| **skipped == *path)
            || self.prefixes.iter().any(|prefix| is_below(path, prefix))
    }
}

impl Default for Skip {
    fn default() -> Self {
        Self {
            paths: SKIPPED_PATHS.map(Into::into).into(),
            prefixes: SKIPPED_PREFIXES.map(Into::into).into(),
            own_router: true,
        }
    }
}

/// Whole segments only: `/static` covers `/static/app.js`, not `/statistics`.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_whole_segments() {
        let skip = Skip::default();
        assert!(skip.covers("/static/app.js"));
        assert!(skip.covers("/api/v1/monitoring"));
        assert!(skip.covers("/api/v1/monitoring/events"));
        assert!(!skip.covers("/statistics"));
        assert!(!skip.covers("/api/v1/monitoring-demo"));
    }

    #[test]
    fn a_path_covers_only_itself() {
        let skip = Skip::default();
        assert!(skip.covers("/health"));
        assert!(!skip.covers("/health/records"));
        assert!(!Skip::nothing().covers("/health"));
    }
}
