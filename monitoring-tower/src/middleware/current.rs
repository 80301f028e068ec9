//! Which request the running code belongs to.
//!
//! The request belongs to its future, and is lent to a thread-local while that future is polled:
//! one pointer changes places. Compared with the request's extensions this costs no allocation,
//! and code far below the handler can ask for it too.

use std::cell::RefCell;
use std::mem;

use super::RequestContext;
use super::scope::Active;

thread_local!(static CURRENT: RefCell<Option<Box<Active>>> = const { RefCell::new(None) });

/// The context of the request being polled on this thread.
pub(super) fn context() -> Option<RequestContext> {
    CURRENT.try_with(|current| current.try_borrow().ok()?.as_ref()?.context.clone()).ok().flatten()
}

/// Makes the request in `slot` the current one until the guard is dropped, also by a panic.
/// Meanwhile `slot` keeps the one that was current before.
pub(super) fn enter(slot: &mut Option<Box<Active>>) -> Entered<'_> {
    swap(slot);
    Entered { slot }
}

pub(super) struct Entered<'s> {
    slot: &'s mut Option<Box<Active>>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        swap(self.slot);
    }
}

/// Does nothing on a thread whose locals are already gone.
fn swap(slot: &mut Option<Box<Active>>) {
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

    fn new_request() -> Option<Box<Active>> {
        let context = RequestContext::of(&HeaderMap::new(), true);
        Some(Active::new(context))
    }

    fn context_of(request: &Option<Box<Active>>) -> Option<RequestContext> {
        request.as_ref()?.context.clone()
    }

    #[test]
    fn the_inner_request_hides_the_outer_one_only_while_it_runs() {
        let (mut outer, mut inner) = (new_request(), new_request());
        let (outer_context, inner_context) = (context_of(&outer), context_of(&inner));
        {
            let _outer = enter(&mut outer);
            {
                let _inner = enter(&mut inner);
                assert_eq!(context(), inner_context);
            }
            assert_eq!(context(), outer_context);
        }
        assert_eq!(context(), None);
        assert_eq!(context_of(&outer), outer_context, "the request is back in its future");
    }

    #[test]
    fn a_panic_leaves_no_context_behind() {
        let panicked = catch_unwind(|| {
            let mut slot = new_request();
            let _entered = enter(&mut slot);
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(context(), None);
    }
}
