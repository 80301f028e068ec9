//! Which request the running code belongs to.
//!
//! The context lives in the request's future and moves into a thread-local while that future is
//! polled. Compared with the request's extensions this needs no allocation, and code far below the
//! handler can ask for it too.

use std::cell::RefCell;
use std::mem;

use super::RequestContext;

thread_local!(static CURRENT: RefCell<Option<RequestContext>> = const { RefCell::new(None) });

/// The context of the request being polled on this thread.
pub(super) fn context() -> Option<RequestContext> {
    CURRENT.try_with(|current| current.try_borrow().ok()?.clone()).ok().flatten()
}

/// Makes the context in `slot` the current one until the guard is dropped, also by a panic.
/// Meanwhile `slot` keeps the one that was current before.
pub(super) fn enter(slot: &mut Option<RequestContext>) -> Entered<'_> {
    swap(slot);
    Entered { slot }
}

pub(super) struct Entered<'s> {
    slot: &'s mut Option<RequestContext>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        swap(self.slot);
    }
}

/// Does nothing on a thread whose locals are already gone.
fn swap(slot: &mut Option<RequestContext>) {
    let _ = CURRENT.try_with(|current| {
        if let Ok(mut current) = current.try_borrow_mut() {
            mem::swap(&mut *current, slot);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use http::HeaderMap;

    use super::*;

    fn new_context() -> Option<RequestContext> {
        Some(RequestContext::of(&HeaderMap::new(), true))
    }

    #[test]
    fn the_inner_request_hides_the_outer_one_only_while_it_runs() {
        let (mut outer, mut inner) = (new_context(), new_context());
        let (outer_id, inner_id) = (outer.clone(), inner.clone());
        {
            let _outer = enter(&mut outer);
            {
                let _inner = enter(&mut inner);
                assert_eq!(context(), inner_id);
            }
            assert_eq!(context(), outer_id);
        }
        assert_eq!(context(), None);
        assert_eq!(outer, outer_id, "the context is back in its future");
    }

    #[test]
    fn a_panic_leaves_no_context_behind() {
        let panicked = catch_unwind(|| {
            let mut slot = new_context();
            let _entered = enter(&mut slot);
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(context(), None);
    }
}
