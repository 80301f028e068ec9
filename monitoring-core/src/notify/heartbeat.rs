//! Signs of life.

use std::sync::PoisonError;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::Deliverer;
use super::deliver::in_time;
use super::retry::Verdict;
use super::sender::heartbeat_interval;
use crate::model::{Page, ReachableReceiver, ReceiverType};
use crate::store::receivers::ReceiverStore as _;
use crate::store::{Access, AsConnection as _, StoreError};

/// How soon a sign of life that did not arrive is given again: one lost packet is no death.
const RETRY: TimeDelta = TimeDelta::seconds(5);

impl Deliverer {
    /// Gives the signs of life that are due, if there is life, and tells how many. Whether there is, is
    /// asked only where one is due.
    pub(crate) async fn beat(
        &self,
        is_alive: impl Future<Output = Result<bool, StoreError>> + Send,
    ) -> Result<usize, StoreError> {
        let now = self.now();
        let mut due = in_time(self.heartbeats()).await?;
        due.retain(|receiver| self.is_due(receiver, now));
        if due.is_empty() || !is_alive.await? {
            return Ok(0);
        }
        let beats = due.iter().map(|receiver| self.give(receiver, now));
        join_all(beats).await.into_iter().collect::<Result<(), StoreError>>()?;
        Ok(due.len())
    }

    async fn give(&self, receiver: &ReachableReceiver, now: DateTime<Utc>) -> Result<(), StoreError> {
        let (answer, duration) = self.timed(self.inner.sender.beat(receiver)).await;
        let interval = heartbeat_interval(receiver).and_then(|interval| TimeDelta::from_std(interval).ok());
        let interval = interval.unwrap_or(TimeDelta::MAX);
        let was_taken = answer.verdict == Verdict::Taken;
        let pause = if was_taken { interval } else { interval.min(RETRY) };
        let next = now.checked_add_signed(pause).unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.inner.beats.lock().unwrap_or_else(PoisonError::into_inner).insert(receiver.receiver.id, next);
        in_time(self.log(receiver.receiver.id, &answer.attempt(now, duration))).await
    }

    async fn heartbeats(&self) -> Result<Vec<ReachableReceiver>, StoreError> {
        let mut connection = self.inner.pool.acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        let receivers = connection.store().receivers(&Page::first(Page::LIMIT_MAX)).await?.items;
        let mut found = Vec::new();
        for receiver in receivers.iter().filter(|one| one.receiver_type == ReceiverType::Heartbeat) {
            found.extend(connection.store().reachable_receiver(receiver.id).await?);
        }
        Ok(found)
    }

    fn is_due(&self, receiver: &ReachableReceiver, now: DateTime<Utc>) -> bool {
        let beats = self.inner.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.get(&receiver.receiver.id).is_none_or(|next| *next <= now)
    }
}
