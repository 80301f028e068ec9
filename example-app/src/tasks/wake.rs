//! When a worker looks for jobs: at once when this process queued one, else regularly,
//! because another replica may have.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use apalis::prelude::{IntervalStrategy, PollSnapshot, PollStrategy};
use tokio::sync::mpsc::{self, Receiver, Sender};

const INTERVAL: Duration = Duration::from_secs(1);

/// Wakes the worker of this process; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Waker(Sender<()>);

impl Waker {
    /// Wakes the worker, or leaves it be when it is about to wake anyway.
    pub(super) fn wake(&self) {
        let _ = self.0.try_send(());
    }
}

/// The worker's side; a restarted worker goes on with a clone.
#[derive(Debug, Clone)]
pub(super) struct WakeStrategy {
    woken: Arc<Mutex<Receiver<()>>>,
    interval: IntervalStrategy,
}

pub(super) fn channel() -> (Waker, WakeStrategy) {
    let (sender, receiver) = mpsc::channel(1);
    let woken = Arc::new(Mutex::new(receiver));
    (Waker(sender), WakeStrategy { woken, interval: IntervalStrategy::new(INTERVAL) })
}

impl PollStrategy for WakeStrategy {
    /// Polls both sources every time, so that both know whom to wake.
    fn poll_drive(&mut self, cx: &mut Context<'_>, snapshot: &PollSnapshot) -> Poll<Option<()>> {
        let interval = self.interval.poll_drive(cx, snapshot);
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        match woken.poll_recv(cx) {
            Poll::Ready(Some(())) => Poll::Ready(Some(())),
            Poll::Ready(None) | Poll::Pending => interval,
        }
    }
}
