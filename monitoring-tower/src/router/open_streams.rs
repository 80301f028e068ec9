//! How many event streams are open: in all, and of each caller, so that nobody takes them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::error::{Answer, Code, Problem};

/// The streams of one router; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct OpenStreams {
    by_caller: Arc<Mutex<HashMap<Uuid, usize>>>,
    max: usize,
    per_caller_max: usize,
}

impl OpenStreams {
    pub(super) fn new(max: usize, per_caller_max: usize) -> Self {
        Self { by_caller: Arc::default(), max, per_caller_max }
    }

    /// Counts one more, for as long as the ticket is kept.
    pub(super) fn open(&self, caller: Uuid) -> Answer<StreamTicket> {
        let refuse = |why: String| Err(Problem::new(Code::Overloaded, why));
        let mut by_caller = self.lock();
        let own = by_caller.get(&caller).copied().unwrap_or_default();
        if own >= self.per_caller_max {
            return refuse(format!("you have {own} streams open already; close one, or try again later"));
        }
        if by_caller.values().sum::<usize>() >= self.max {
            return refuse("too many streams are open; try again later".to_owned());
        }
        by_caller.insert(caller, own + 1);
        drop(by_caller);
        Ok(StreamTicket { streams: self.clone(), caller })
    }

    fn close(&self, caller: Uuid) {
        let mut by_caller = self.lock();
        if let Some(open) = by_caller.get_mut(&caller) {
            *open -= 1;
            if *open == 0 {
                by_caller.remove(&caller);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, usize>> {
        self.by_caller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream.
#[derive(Debug)]
pub(super) struct StreamTicket {
    streams: OpenStreams,
    caller: Uuid,
}

impl Drop for StreamTicket {
    fn drop(&mut self) {
        self.streams.close(self.caller);
    }
}
