//! New events as they arrive, from every replica, as server-sent events.
//!
//! Each stream asks the store again and again; nothing is spawned, and a stream that nobody reads
//! does nothing. Streams are bounded in number and in time: a client reconnects by itself and is
//! asked again who it is, so a right taken away ends within minutes.
//!
//! The id of each message is the stream's position after it. A client that reconnects sends the
//! last one it saw, in `last-event-id`, and gets what it missed, from whichever replica. Where that
//! cannot be, because the id is none of ours, of another database or more than an hour old, the
//! stream says so with a `gap` and goes on from now: an error would end the client's attempts.
//!
//! Where nothing matches, the position moves all the same, and what a client does not know of grows
//! old. So an id is also sent alone: browsers keep it, though they make no event of it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderName, HeaderValue};
use monitoring_core::{Arrival, AsConnection, EventFilter, StreamPosition, services};
use tokio::time::Instant;

use super::api;
use super::edge::own_work;
use super::error::Answer;
use super::open_streams::StreamTicket;
use super::params::Params;
use super::security::Caller;
use super::state::RouterState;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const LIFETIME_MAX: Duration = Duration::from_secs(15 * 60);
/// How long a stream counts if nobody reads it: somewhat longer than it lasts if somebody does.
pub(super) const COUNTED_FOR: Duration = LIFETIME_MAX.saturating_add(Duration::from_secs(60));
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a client whose stream has ended shall come back.
const RECONNECT: Duration = Duration::from_secs(2);
/// How old the id a client knows may become. Far below what an id is good for.
const ID_AGE_MAX: Duration = Duration::from_secs(60);
/// Events fetched at once; the rest follows at once. Few, because one may take 200 KB, and every
/// stream may hold so many.
const BATCH_MAX: u32 = 32;

/// Events that match the filters of `GET /events` and arrive from now on.
///
/// Browsers reconnect by themselves and miss nothing: each message has an id, and the last one seen
/// comes back in `last-event-id`. A message of type `gap` says that the id was unknown or more than
/// an hour old, so that events were missed and the list has to be asked again. Messages with an id and
/// without data say how far the stream has come where nothing matched.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/events/stream", tag = "events",
    params(super::openapi_params::EventQuery, super::openapi_params::Resumed),
    responses((status = 200, description = "Events as they arrive", body = monitoring_core::Event,
        content_type = "text/event-stream"))))]
pub(super) async fn events(
    State(state): State<RouterState>,
    caller: Caller,
    headers: HeaderMap,
    mut params: Params,
) -> Answer<Response> {
    let filter = api::events::filter(&mut params, &caller);
    params.finish()?;
    let ticket = state.streams().open(caller.id())?;
    let mut connection = state.read().await?;
    let start = start(&mut connection, headers.get(&LAST_EVENT_ID)).await?;
    drop(connection);
    let follower = Follower::new(state, filter, start, ticket);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let sse = Sse::new(follower.into_stream()).keep_alive(keep_alive);
    // A proxy in front must not gather what is meant to arrive at once; nginx has to be told.
    Ok(([(X_ACCEL_BUFFERING, HeaderValue::from_static("no"))], sse).into_response())
}

/// Where a stream begins.
enum Start {
    Now(StreamPosition),
    /// Where an earlier stream ended.
    Resumed(StreamPosition),
    /// Now, though the client wants to go on from elsewhere.
    AfterGap(StreamPosition),
}

async fn start(conn: &mut impl AsConnection, last: Option<&HeaderValue>) -> Answer<Start> {
    let Some(last) = last else { return Ok(Start::Now(services::event_position(conn).await?)) };
    let position: Option<StreamPosition> = last.to_str().ok().and_then(|text| text.parse().ok());
    let resumed = match position {
        Some(position) => services::resume_events(conn, &position).await?,
        None => None,
    };
    Ok(match resumed {
        Some(position) => Start::Resumed(position),
        None => Start::AfterGap(services::event_position(conn).await?),
    })
}

/// One open stream.
struct Follower {
    state: RouterState,
    filter: EventFilter,
    position: StreamPosition,
    /// To be sent before any event.
    greetings: VecDeque<Message>,
    /// Fetched, not yet sent.
    pending: VecDeque<Arrival>,
    /// Whether there was more than could be fetched at once.
    is_behind: bool,
    /// When the last id was sent.
    told_at: Instant,
    ends_at: Instant,
    has_ended: bool,
    shutdown: Shared<BoxFuture<'static, ()>>,
    _ticket: StreamTicket,
}

impl Follower {
    fn new(state: RouterState, filter: EventFilter, start: Start, ticket: StreamTicket) -> Self {
        let greetings = greetings(&start);
        let is_behind = matches!(start, Start::Resumed(_));
        let (Start::Now(position) | Start::Resumed(position) | Start::AfterGap(position)) = start;
        let shutdown = state.options().shutdown.clone();
        Self {
            state,
            filter,
            position,
            greetings,
            pending: VecDeque::new(),
            is_behind,
            told_at: Instant::now(),
            ends_at: Instant::now() + LIFETIME_MAX,
            has_ended: false,
            shutdown,
            _ticket: ticket,
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
        if let Some(greeting) = self.greetings.pop_front() {
            return Some(greeting);
        }
        while !self.has_ended {
            if let Some(arrival) = self.pending.pop_front() {
                self.told_at = Instant::now();
                return Some(message(&arrival));
            }
            tokio::select! {
                biased;
                () = self.shutdown.clone() => return None,
                () = tokio::time::sleep_until(self.ends_at) => {
                    self.has_ended = true;
                    return Some(self.tell_position());
                }
                () = tokio::time::sleep(self.pause()) => {}
            }
            if self.state.monitoring().is_shut_down() {
                return None;
            }
            own_work(self.fetch()).await;
            if self.pending.is_empty() && self.told_at.elapsed() >= ID_AGE_MAX {
                return Some(self.tell_position());
            }
        }
        None
    }

    /// Says nothing but how far the stream has come; everything fetched has been sent.
    fn tell_position(&mut self) -> Message {
        self.told_at = Instant::now();
        Message::default().id(self.position.to_string())
    }

    /// The interval, longer by up to a quarter, so that streams do not ask in step. None while there
    /// is more to fetch.
    fn pause(&self) -> Duration {
        if self.is_behind {
            return Duration::ZERO;
        }
        let interval = self.state.options().stream_poll_interval;
        #[allow(clippy::cast_possible_truncation)] // any 32 bits are as random as the others
        let part = f64::from(monitoring_core::random_u64() as u32) / f64::from(u32::MAX);
        interval.mul_f64(1.0 + part / 4.0)
    }

    /// A database that is away for a while does not end the stream.
    async fn fetch(&mut self) {
        let fetched = async {
            let mut connection = self.state.lend().await?;
            services::follow_events(&mut connection, &mut self.position, &self.filter, BATCH_MAX).await
        };
        match fetched.await {
            Ok(arrivals) => {
                self.is_behind = arrivals.len() >= BATCH_MAX as usize;
                self.pending.extend(arrivals);
            }
            Err(error) => {
                self.is_behind = false;
                tracing::debug!(target: "monitoring_tower", error = &error as &dyn std::error::Error,
                    "a stream of events is waiting for the database");
            }
        }
    }
}

/// The id is there from the start, so that also a client that was cut off before the first event
/// misses none. A gap comes before it and has none: whoever is cut off between the two still has the
/// old id, and is told again.
fn greetings(start: &Start) -> VecDeque<Message> {
    let greeting = |position: &StreamPosition| {
        Message::default().retry(RECONNECT).comment("listening").id(position.to_string())
    };
    match start {
        Start::Now(position) | Start::Resumed(position) => [greeting(position)].into(),
        Start::AfterGap(position) => {
            let gap =
                Message::default().event("gap").data(r#"{"reason":"last-event-id is unknown or too old"}"#);
            [gap, greeting(position)].into()
        }
    }
}

fn message(Arrival { event, position, .. }: &Arrival) -> Message {
    let json = serde_json::to_string(event).expect("an event is made of texts and numbers");
    Message::default().id(position.to_string()).data(json)
}
