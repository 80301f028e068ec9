//! What each thread remembers: whether it is recording right now, and which spans it is in since
//! when.

use std::cell::{Cell, RefCell};

use monitoring_core::{Ticks, own_work};
use tracing_core::span;

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(false) };
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

/// Spans a thread is in at once. A program that forgets to leave its spans loses their busy time,
/// not its memory.
const DEPTH_MAX: usize = 128;

/// Held while field values are read. Their `Debug` may emit events of its own, which come back to
/// us; those are turned away.
#[derive(Debug)]
pub(crate) struct Recording(());

impl Recording {
    /// `None` if this thread is recording already, or does the monitoring's own work.
    #[inline]
    pub(crate) fn begin() -> Option<Self> {
        (!own_work::is_running() && !RECORDING.replace(true)).then_some(Self(()))
    }
}

impl Drop for Recording {
    #[inline]
    fn drop(&mut self) {
        RECORDING.set(false);
    }
}

#[derive(Debug)]
struct Entered {
    layer: u32,
    span: u64,
    since: Ticks,
}

/// Remembers that this thread entered the span.
#[inline]
pub(crate) fn enter(layer: u32, span: &span::Id) {
    let entered = Entered { layer, span: span.into_u64(), since: Ticks::now() };
    // A thread that is ending has nothing left to remember with.
    let _ = ENTERED.try_with(|stack| {
        if let Ok(mut stack) = stack.try_borrow_mut() {
            if stack.len() == DEPTH_MAX {
                stack.clear();
            }
            stack.push(entered);
        }
    });
}

/// Nanoseconds since this thread entered the span, if it remembers.
#[inline]
pub(crate) fn exit(layer: u32, span: &span::Id) -> Option<u64> {
    let id = span.into_u64();
    let entered = ENTERED
        .try_with(|stack| {
            let mut stack = stack.try_borrow_mut().ok()?;
            let at = stack.iter().rposition(|entered| entered.span == id && entered.layer == layer)?;
            Some(stack.remove(at))
        })
        .ok()??;
    u64::try_from(Ticks::now().since(entered.since).as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_does_not_nest() {
        let outer = Recording::begin();
        assert!(outer.is_some());
        assert!(Recording::begin().is_none());
        drop(outer);
        assert!(Recording::begin().is_some());
    }

    #[test]
    fn spans_may_be_left_out_of_order() {
        let [first, second] = [1, 2].map(span::Id::from_u64);
        enter(0, &first);
        enter(0, &second);
        assert!(exit(0, &first).is_some());
        assert!(exit(1, &second).is_none(), "another layer's");
        assert!(exit(0, &second).is_some());
        assert!(exit(0, &second).is_none());
    }

    #[test]
    fn spans_never_left_do_not_pile_up() {
        (1..1_000).map(span::Id::from_u64).for_each(|id| enter(0, &id));
        ENTERED.with_borrow(|stack| assert!(stack.len() <= DEPTH_MAX));
    }
}
