//! Which spans and events the layer is shown at all.

use tracing_core::{Interest, LevelFilter, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter};

/// What a callsite is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The host's, or a library's.
    Host,
    /// The span in which the middleware handles a request.
    RequestSpan,
    /// A span in which the pipeline works.
    PipelineSpan,
    /// Our own talk, of interest to other layers only.
    Ours,
}

impl Kind {
    pub(crate) fn of(metadata: &Metadata<'_>) -> Self {
        match metadata.target() {
            "monitoring::request" if metadata.is_span() => Self::RequestSpan,
            "monitoring::internal" if metadata.is_span() => Self::PipelineSpan,
            "monitoring::internal" => Self::Ours,
            target if is_our_crate(target.split("::").next().unwrap_or_default()) => Self::Ours,
            _ => Self::Host,
        }
    }
}

fn is_our_crate(name: &str) -> bool {
    matches!(name, "monitoring_core" | "monitoring_tower" | "monitoring_tracing")
}

/// The levels and targets to record, `INFO` and worse by default. It decides for our layer alone:
/// what it leaves out, other layers still see.
///
/// The marks of the middleware and of the pipeline pass at any level. A filter put on top with
/// `with_filter`, or one for the whole subscriber, has to let the target `monitoring::request` pass,
/// or what is logged during a request does not know which; and with a SQLite pool of the host's that
/// is shared and logs its statements, `monitoring::internal` too.
#[derive(Clone, Debug)]
pub struct RecordFilter {
    targets: Targets,
}

impl RecordFilter {
    pub(crate) fn new(targets: Targets) -> Self {
        Self { targets }
    }

    fn admits(&self, metadata: &Metadata<'_>) -> bool {
        match Kind::of(metadata) {
            Kind::Host => self.targets.would_enable(metadata.target(), metadata.level()),
            Kind::RequestSpan | Kind::PipelineSpan => true,
            Kind::Ours => false,
        }
    }
}

impl Default for RecordFilter {
    fn default() -> Self {
        Self::new(Targets::new().with_default(LevelFilter::INFO))
    }
}

impl<S> Filter<S> for RecordFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.admits(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.admits(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Never below INFO, or the marks would be disabled before anybody asks about them.
        Filter::<S>::max_level_hint(&self.targets).map(|hint| hint.max(LevelFilter::INFO))
    }
}
