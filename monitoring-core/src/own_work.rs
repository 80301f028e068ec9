//! Marks what the monitoring does for itself, so that it never records itself.
//!
//! While marked work runs, a flag of its thread is up, whoever subscribes to `tracing` and whatever
//! is filtered. Work that a driver does on threads of its own, as SQLite's, is known by a span around
//! it, of the target `monitoring::internal`. The span is made when somebody first listens: a
//! subscriber may be installed long after the work has begun.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tracing::Span;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is at work for the monitoring itself.
#[inline]
#[must_use]
pub fn is_running() -> bool {
    // A thread that is ending does nothing of ours.
    DEPTH.try_with(|depth| depth.get() > 0).unwrap_or(false)
}

/// Marks everything a future does while it is polled.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use monitoring_core::own_work;
///
/// let marked = own_work::mark("example", async { own_work::is_running() });
/// assert!(marked.await);
/// assert!(!own_work::is_running());
/// # }
/// ```
pub fn mark<F: Future>(name: &'static str, work: F) -> OwnWork<F> {
    OwnWork { work, name, span: Span::none() }
}

pin_project! {
    /// Work that [`mark`] has marked.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct OwnWork<F> {
        #[pin]
        work: F,
        name: &'static str,
        span: Span,
    }
}

impl<F: Future> Future for OwnWork<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this.span.is_disabled() {
            *this.span = tracing::error_span!(target: "monitoring::internal", "own_work", of = this.name);
        }
        let _entered = this.span.enter();
        let _raised = Raised::raise();
        this.work.poll(cx)
    }
}

/// The flag, up until this is dropped, by a panic too.
struct Raised(());

impl Raised {
    fn raise() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_flag_is_up_only_while_marked_work_is_polled() {
        let mut work = Box::pin(mark("outer", async {
            mark("inner", async { assert!(is_running()) }).await;
            assert!(is_running(), "the outer work goes on");
            tokio::task::yield_now().await;
            assert!(is_running());
        }));
        assert!(work.as_mut().now_or_never().is_none());
        assert!(!is_running());
        assert!(work.now_or_never().is_some());
    }

    #[test]
    fn a_panic_takes_the_flag_down() {
        let panicking = std::panic::AssertUnwindSafe(mark("panic", async { panic!("as expected") }));
        assert!(panicking.catch_unwind().now_or_never().unwrap().is_err());
        assert!(!is_running());
    }
}
