//! New events as they arrive, from every replica, as server-sent events.
//!
//! Each stream asks the store again and again; nothing is spawned, and a stream that nobody reads
//! does nothing. Streams are bounded in number and in time: a client reconnects by itself and is
//! asked again who it is, so a right taken away ends within minutes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::unfold;
use http::{HeaderName, HeaderValue};
use monitoring_core::{Event, EventFilter, StreamPosition, services};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::api;
use super::edge::own_work;
use super::error::{Answer, Code, Problem};
use super::params::Params;
use super::security::Caller;
use super::state::RouterState;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const LIFETIME_MAX: Duration = Duration::from_secs(15 * 60);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a client whose stream has ended shall come back.
const RECONNECT: Duration = Duration::from_secs(2);
/// Events fetched at once; the rest follows at once.
const BATCH_MAX: u32 = 500;

/// Events that match the filters of `GET /events` and arrive from now on.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/events/stream", tag = "events",
    params(super::openapi::EventQuery),
    responses((status = 200, description = "Events as they arrive", body = Event,
        content_type = "text/event-stream"))))]
pub(super) async fn events(
    State(state): State<RouterState>,
    caller: Caller,
    mut params: Params,
) -> Answer<Response> {
    let filter = api::events::filter(&mut params, &caller);
    params.finish()?;
    let permit = state
        .streams()
        .clone()
        .try_acquire_owned()
        .map_err(|_| Problem::new(Code::Overloaded, "too many streams are open; try again later"))?;
    let mut connection = state.read().await?;
    let position = services::event_position(&mut connection).await?;
    drop(connection);
    let follower = Follower::new(state, filter, position, permit);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let sse = Sse::new(follower.into_stream()).keep_alive(keep_alive);
    // A proxy in front must not gather what is meant to arrive at once; nginx has to be told.
    Ok(([(X_ACCEL_BUFFERING, HeaderValue::from_static("no"))], sse).into_response())
}

/// One open stream.
struct Follower {
    state: RouterState,
    filter: EventFilter,
    position: StreamPosition,
    /// Fetched, not yet sent.
    pending: VecDeque<Event>,
    is_greeted: bool,
    ends_at: Instant,
    shutdown: Shared<BoxFuture<'static, ()>>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    fn new(
        state: RouterState,
        filter: EventFilter,
        position: StreamPosition,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let shutdown = state.options().shutdown.clone();
        Self {
            state,
            filter,
            position,
            pending: VecDeque::new(),
            is_greeted: false,
            ends_at: Instant::now() + LIFETIME_MAX,
            shutdown,
            _permit: permit,
        }
    }

    fn into_stream(self) -> impl Stream<Item = Result<Message, Infallible>> {
        unfold(self, |mut follower| async move {
            let message = follower.next().await?;
            Some((Ok(message), follower))
        })
    }

    /// The next message; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Message> {
        if !std::mem::replace(&mut self.is_greeted, true) {
            return Some(Message::default().retry(RECONNECT).comment("listening"));
        }
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(message(&event));
            }
            tokio::select! {
                biased;
                () = self.shutdown.clone() => return None,
                () = tokio::time::sleep_until(self.ends_at) => return None,
                () = tokio::time::sleep(self.pause()) => {}
            }
            if self.state.monitoring().is_shut_down() {
                return None;
            }
            self.fetch().instrument(own_work()).await;
        }
    }

    /// The interval, longer by up to a quarter, so that streams do not ask in step.
    fn pause(&self) -> Duration {
        let interval = self.state.options().stream_poll_interval;
        #[allow(clippy::cast_possible_truncation)] // any 32 bits are as random as the others
        let part = f64::from(monitoring_core::random_u64() as u32) / f64::from(u32::MAX);
        interval.mul_f64(1.0 + part / 4.0)
    }

    /// A database that is away for a while does not end the stream.
    async fn fetch(&mut self) {
        let fetched = async {
            let mut connection = self.state.monitoring().acquire_read().await?;
            services::follow_events(&mut connection, &mut self.position, &self.filter, BATCH_MAX).await
        };
        match fetched.await {
            Ok(events) => self.pending.extend(events),
            Err(error) => {
                tracing::debug!(target: "monitoring_tower", error = &error as &dyn std::error::Error,
                    "a stream of events is waiting for the database");
            }
        }
    }
}

fn message(event: &Event) -> Message {
    let json = serde_json::to_string(event).expect("an event is made of texts and numbers");
    Message::default().id(event.id.to_string()).data(json)
}
