//! Which settings a bare connection of the host's is used with.
//!
//! Such a connection does not say whose it is. To guess from what runs in the process would make a
//! line of code write elsewhere, or redact less, because of what was started before it, beside it in
//! another test, or not at all. So the defaults apply until somebody names the settings once for
//! the whole process, and where that looks forgotten, the log says so.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use std::sync::Arc;

use super::Context;
use crate::model::Invalid;

/// The choice for one kind of database.
#[derive(Debug)]
pub(crate) struct BareConnections {
    chosen: OnceLock<Arc<Context>>,
    /// Whether a system with settings of its own was started, and nobody has been told yet that they
    /// do not apply.
    passed_over: AtomicBool,
}

#[cfg(feature = "postgres")]
pub(super) static POSTGRES: BareConnections = BareConnections::new();
#[cfg(feature = "sqlite")]
pub(super) static SQLITE: BareConnections = BareConnections::new();

impl BareConnections {
    const fn new() -> Self {
        Self { chosen: OnceLock::new(), passed_over: AtomicBool::new(false) }
    }

    /// What a bare connection is used with.
    pub(super) fn context(&self) -> &Arc<Context> {
        if let Some(chosen) = self.chosen.get() {
            return chosen;
        }
        if self.passed_over.load(Ordering::Relaxed) && self.passed_over.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                target: "monitoring::internal",
                "a bare connection is used with the default settings, but a Monitoring with others was \
                 started here; pass `monitoring.connection(&mut conn)` to services, or start it with \
                 `process_default()`"
            );
        }
        Context::shared_default()
    }

    /// Makes these the settings of all bare connections, for good.
    ///
    /// # Errors
    ///
    /// Others have been chosen before.
    pub(crate) fn choose(&self, context: &Arc<Context>) -> Result<(), Invalid> {
        let chosen = self.chosen.get_or_init(|| context.clone());
        if chosen.settings.serve_alike(&context.settings) {
            return Ok(());
        }
        let message = "another Monitoring with other settings is the process's default already";
        Err(Invalid::field("process_default", message))
    }

    /// Notes that these are in use, but not for bare connections.
    pub(crate) fn pass_over(&self, context: &Context) {
        if !context.settings.serve_alike(&Context::shared_default().settings) {
            self.passed_over.store(true, Ordering::Relaxed);
        }
    }
}
