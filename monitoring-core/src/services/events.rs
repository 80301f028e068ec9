//! Events: store one or many, find them again, follow them live.

use uuid::Uuid;

use super::count_events;
use crate::error::{Error, Result};
use crate::ingest::Recorder;
use crate::model::{
    Arrival, CreateEventRequest, Event, EventFilter, EventId, IntoEventType, Invalid, Page, Slice,
    StreamPosition, check_chars, clean,
};
use crate::store::events::EventStore as _;
use crate::store::{AsConnection, Connection, Context};

/// Stores an event. Inside an open transaction of the host's, it exists exactly if that commits.
///
/// A timestamp older than what is kept, or more than a day ahead, is refused; any other finds a
/// home, however late the event comes.
///
/// ```no_run
/// # async fn example(conn: &mut impl monitoring_core::AsConnection) -> monitoring_core::Result<()> {
/// use std::collections::HashMap;
///
/// use monitoring_core::{CreateEventRequest, EventType, services};
///
/// let event = services::create_event(conn, CreateEventRequest {
///     event_type: EventType::Log, // or "log".to_string()
///     source: "order-service".to_string(),
///     message: Some("order placed".to_string()),
///     level: Some("info".to_string()),
///     tags: HashMap::from([("request_id".to_string(), "req-123".into())]),
///     payload: HashMap::new(),
///     timestamp: None,
/// }).await?;
/// # let _ = event;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The request breaks a rule, or storage failed: nothing was stored. Only where the connection broke
/// at the very commit, and no transaction of the host's was open, that is not known:
/// [`Error::Unconfirmed`] has the id under which to look.
pub async fn create_event<T: IntoEventType>(
    conn: &mut impl AsConnection,
    request: CreateEventRequest<T>,
) -> Result<Event> {
    create_event_as(conn, request, None).await
}

/// Like [`create_event`], on behalf of a user.
///
/// # Errors
///
/// As [`create_event`].
pub async fn create_event_as<T: IntoEventType>(
    conn: &mut impl AsConnection,
    request: CreateEventRequest<T>,
    created_by: Option<Uuid>,
) -> Result<Event> {
    let mut connection = conn.as_connection();
    let mut event = connection.context().event(request, created_by)?;
    insert(&mut connection, std::slice::from_ref(&event)).await?;
    event.show_ids();
    Ok(event)
}

/// Stores many events: all of them, or none.
///
/// # Errors
///
/// As [`create_event`], or there are too many. Fields are named like `[3].source`.
pub async fn create_events<T: IntoEventType>(
    conn: &mut impl AsConnection,
    requests: Vec<CreateEventRequest<T>>,
) -> Result<Vec<Event>> {
    let mut connection = conn.as_connection();
    let mut events = check_all(connection.context(), requests, None)?;
    insert(&mut connection, &events).await?;
    events.iter_mut().for_each(Event::show_ids);
    Ok(events)
}

/// Hands events to the pipeline and returns once they are stored, all or none. Concurrent callers
/// share a transaction, which makes this the fastest way to be sure.
///
/// # Errors
///
/// Nothing was stored: as [`create_events`], or too many callers are waiting, or the pipeline is not
/// running.
///
/// Only [`Error::Unconfirmed`] leaves it open: the connection broke at the very commit, the database
/// took longer than [`IngestSettings::write_timeout`](crate::IngestSettings), or shutdown's deadline
/// passed meanwhile. Then all of it is stored, or nothing, and the same call again, which makes events
/// with new ids, may store it twice. To know, look up one of the ids the error holds. Whoever drops the
/// future before it is done does not know either.
pub async fn submit_events<T: IntoEventType>(
    recorder: &Recorder,
    requests: Vec<CreateEventRequest<T>>,
    created_by: Option<Uuid>,
) -> Result<Vec<Event>> {
    let mut events = check_all(recorder.context(), requests, created_by)?;
    recorder.commit(events.clone(), Vec::new()).await.map_err(|error| error.about(&events))?;
    events.iter_mut().for_each(Event::show_ids);
    Ok(events)
}

/// Stores an event of a logger's, cut to fit rather than refused.
///
/// # Errors
///
/// The source is empty, or storage failed.
pub(crate) async fn log_event(conn: &mut impl AsConnection, request: CreateEventRequest) -> Result<()> {
    let mut connection = conn.as_connection();
    let context = connection.context();
    let (mut event, _) =
        request.into_event_leniently(context.settings.clock.now(), &context.settings.limits)?;
    context.redactor.event(&mut event);
    insert(&mut connection, &[event]).await
}

/// One event.
///
/// # Errors
///
/// There is none with this id, or storage failed.
pub async fn event(conn: &mut impl AsConnection, id: impl Into<EventId>) -> Result<Event> {
    let id = id.into();
    let event = conn.as_connection().store().event(id).await?;
    event.ok_or_else(|| Error::not_found("event", id))
}

/// Events that match, newest first.
///
/// # Errors
///
/// The filter makes no sense, or storage failed.
pub async fn query_events(
    conn: &mut impl AsConnection,
    filter: &EventFilter,
    page: &Page,
) -> Result<Slice<Event>> {
    let mut connection = conn.as_connection();
    let filter = checked(filter, connection.context())?;
    Ok(connection.store().events(&filter, page).await?)
}

/// The end of the stream of events: [`follow_events`] goes on from there.
///
/// # Errors
///
/// Storage failed.
pub async fn event_position(conn: &mut impl AsConnection) -> Result<StreamPosition> {
    let mut connection = conn.as_connection();
    let now = connection.context().settings.clock.now();
    Ok(connection.store().event_position(now).await?)
}

/// The position of an earlier stream, if [`follow_events`] can go on from there without missing
/// anything: it was reached within the last hour, and as far as can be told, in this database.
///
/// # Errors
///
/// Storage failed.
pub async fn resume_events(
    conn: &mut impl AsConnection,
    position: &StreamPosition,
) -> Result<Option<StreamPosition>> {
    let mut connection = conn.as_connection();
    let now = connection.context().settings.clock.now();
    let is_good = !position.is_expired(now) && connection.store().is_known_position(position).await?;
    Ok(is_good.then(|| position.clone()))
}

/// Up to `limit` (at least 1) events that match and arrived after `position`, from whichever
/// replica, in order of arrival. Moves `position` behind them. What matches another filter and was
/// passed before does not come again.
///
/// An event arrives when its transaction commits, however long that was open; only past a day, the
/// event is no news any more and does not come.
///
/// # Errors
///
/// The filter makes no sense, or storage failed; `position` stays where it is.
pub async fn follow_events(
    conn: &mut impl AsConnection,
    position: &mut StreamPosition,
    filter: &EventFilter,
    limit: u32,
) -> Result<Vec<Arrival>> {
    let mut connection = conn.as_connection();
    let context = connection.context();
    let filter = checked(filter, context)?;
    let now = context.settings.clock.now();
    let (arrivals, reached) = connection.store().events_after(position, &filter, now, limit.max(1)).await?;
    *position = reached;
    Ok(arrivals)
}

/// Stores and counts checked events as one, whatever transaction the connection is in.
async fn insert(connection: &mut Connection<'_>, events: &[Event]) -> Result<()> {
    let mut transaction = connection.begin().await?;
    transaction.store().insert_events(events).await?;
    count_events(&mut transaction.connection(), events).await?;
    transaction.commit().await.map_err(|error| Error::from(error).about(events))
}

fn check_all<T: IntoEventType>(
    context: &Context,
    requests: Vec<CreateEventRequest<T>>,
    created_by: Option<Uuid>,
) -> Result<Vec<Event>, Invalid> {
    let max = context.settings.limits.batch_items_max;
    if requests.len() > max {
        return Err(Invalid::field(
            "batch",
            format!("must have at most {max} items, not {}", requests.len()),
        ));
    }
    let mut invalid = Invalid::default();
    let mut events = Vec::with_capacity(requests.len());
    for (index, request) in requests.into_iter().enumerate() {
        match context.event(request, created_by) {
            Ok(event) => events.push(event),
            Err(wrong) => invalid.push_item(index, wrong),
        }
    }
    invalid.or(events)
}

/// The filter in the form in which events are stored: without NUL.
fn checked(filter: &EventFilter, context: &Context) -> Result<EventFilter, Invalid> {
    let mut invalid = Invalid::default();
    let mut filter = filter.clone();
    let EventFilter { source, request_id, trace_id, tags, text, .. } = &mut filter;
    check_chars(
        "q",
        text.as_deref().unwrap_or_default(),
        context.settings.limits.message_chars_max,
        &mut invalid,
    );
    if tags.len() > context.settings.limits.tags_max {
        invalid.push("tag", format!("must be given at most {} times", context.settings.limits.tags_max));
    }
    [source, request_id, trace_id, text].into_iter().flatten().for_each(clean);
    for (key, value) in tags {
        clean(key);
        clean(value);
    }
    invalid.or(filter)
}
