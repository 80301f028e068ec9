//! Incidents: opening, changing and discussing them.

use std::slice;

use uuid::Uuid;

use super::record_audit;
use super::texts::Texts;
use crate::auth::{Permission, Principal};
use crate::error::{Error, Result};
use crate::incidents::{Revision, open, revise};
use crate::model::{
    Comment, CommentId, CreateIncidentRequest, Event, EventId, Incident, IncidentChange, IncidentFilter,
    IncidentId, Invalid, Page, Slice, UpdateIncidentRequest,
};
use crate::store::incidents::{Attachment, IncidentStore as _};
use crate::store::{AsConnection, Connection, Context, Store, Transaction};

/// Changes of one incident that are shown.
const CHANGES_MAX: u32 = 1_000;
/// Events that may be attached to one incident.
const ATTACHMENTS_MAX: i64 = 1_000;

/// Opens an incident, which starts now.
///
/// ```
/// # async fn example(conn: &mut sqlx::SqliteConnection, on_call: uuid::Uuid) -> monitoring_core::Result<()> {
/// use monitoring_core::{CreateIncidentRequest, IncidentSeverity, services};
///
/// let incident = services::create_incident(conn, CreateIncidentRequest {
///     title: "Payments are slow".to_string(),
///     description: Some("The gateway answers in seconds".to_string()),
///     severity: IncidentSeverity::High,
///     assigned_to: Some(on_call),
/// }, Some(on_call)).await?;
/// # let _ = incident; Ok(()) }
/// ```
///
/// # Errors
///
/// [`Error::Invalid`] if a text is missing or too long. Storage failed, and nothing was stored; only
/// [`Error::Unconfirmed`] leaves that open, because the connection broke at the very commit.
pub async fn create_incident(
    conn: &mut impl AsConnection,
    request: CreateIncidentRequest,
    created_by: Option<Uuid>,
) -> Result<Incident> {
    create(&mut conn.as_connection(), request, created_by).await
}

async fn create(
    connection: &mut Connection<'_>,
    request: CreateIncidentRequest,
    created_by: Option<Uuid>,
) -> Result<Incident> {
    let context = connection.context();
    let mut texts = Texts::new(context);
    let request = CreateIncidentRequest {
        title: texts.title("title", &request.title),
        description: texts.optional("description", request.description),
        ..request
    };
    texts.finish()?;
    let Revision { incident, change } = open(request, created_by, context.settings.clock.now());
    let mut transaction = connection.begin().await?;
    transaction.store().put_incidents(slice::from_ref(&incident)).await?;
    transaction.store().insert_incident_changes(slice::from_ref(&change)).await?;
    let states = (None::<&Incident>, &incident);
    record_audit(&mut transaction.connection(), created_by, "incident.create", incident.id, states).await?;
    transaction.commit().await?;
    Ok(incident)
}

/// The incident with this id.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none. Storage failed.
pub async fn incident(conn: &mut impl AsConnection, id: impl Into<IncidentId>) -> Result<Incident> {
    find(&mut conn.as_connection().store(), id.into()).await
}

pub(super) async fn find(store: &mut Store<'_>, id: IncidentId) -> Result<Incident> {
    store.incident(id).await?.ok_or_else(|| not_found(id))
}

/// Incidents, the last started first.
///
/// # Errors
///
/// Storage failed.
pub async fn query_incidents(
    conn: &mut impl AsConnection,
    filter: &IncidentFilter,
    page: &Page,
) -> Result<Slice<Incident>> {
    Ok(conn.as_connection().store().incidents(filter, page).await?)
}

/// Changes an incident. What is absent stays, an empty description or root cause is removed, and a
/// change to what is already so does nothing. Changes made at the same time by several people wait
/// for each other; none is lost.
///
/// # Errors
///
/// [`Error::Invalid`] if a text is missing or too long; [`Error::NotFound`] if there is no such
/// incident; [`Error::IllegalStatus`] if the status may not follow the present one;
/// [`Error::Conflict`] if the request names a version that is no longer the present one. Storage
/// failed, and nothing changed; only [`Error::Unconfirmed`] leaves that open.
pub async fn update_incident(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    request: UpdateIncidentRequest,
    actor: Option<Uuid>,
) -> Result<Incident> {
    update(&mut conn.as_connection(), id.into(), request, Actor::Trusted(actor)).await
}

/// Like [`update_incident`], on behalf of a user, after checking that they may. For those who may not see
/// the incident there is none.
///
/// # Errors
///
/// As [`update_incident`]; [`Error::Forbidden`] if the caller may not hand the incident to whom
/// they want to.
pub async fn update_incident_as(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    request: UpdateIncidentRequest,
    caller: &Principal,
) -> Result<Incident> {
    update(&mut conn.as_connection(), id.into(), request, Actor::Caller(caller)).await
}

async fn update(
    connection: &mut Connection<'_>,
    id: IncidentId,
    request: UpdateIncidentRequest,
    actor: Actor<'_>,
) -> Result<Incident> {
    let context = connection.context();
    let request = checked(context, request)?;
    let mut transaction = connection.begin().await?;
    let before = lock(&mut transaction, id, actor).await?;
    if let Some(assignee) = request.assigned_to {
        actor.require_assigning(&before, assignee)?;
    }
    if let Some(expected) = request.version.filter(|expected| *expected != before.version) {
        return Err(Error::conflict("incident", expected, before.version));
    }
    let actor = actor.id();
    let Some(revision) = revise(&before, request, actor, context.settings.clock.now())? else {
        return Ok(before);
    };
    let Revision { incident, change } = revision;
    if transaction.store().put_incidents(slice::from_ref(&incident)).await? == 0 {
        return Err(Error::conflict("incident", before.version, incident.version));
    }
    transaction.store().insert_incident_changes(slice::from_ref(&change)).await?;
    let states = (&before, &incident);
    record_audit(&mut transaction.connection(), actor, "incident.update", id, states).await?;
    transaction.commit().await?;
    Ok(incident)
}

fn checked(context: &Context, request: UpdateIncidentRequest) -> Result<UpdateIncidentRequest, Invalid> {
    let mut texts = Texts::new(context);
    let request = UpdateIncidentRequest {
        title: request.title.map(|title| texts.title("title", &title)),
        description: texts.optional("description", request.description),
        root_cause: texts.optional("root_cause", request.root_cause),
        ..request
    };
    texts.finish()?;
    Ok(request)
}

/// What was changed on an incident, oldest first: the opening, then each update, a thousand at
/// most.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such incident. Storage failed.
pub async fn incident_changes(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
) -> Result<Vec<IncidentChange>> {
    let id = id.into();
    let mut connection = conn.as_connection();
    let mut store = connection.store();
    find(&mut store, id).await?;
    Ok(store.incident_changes(id, CHANGES_MAX).await?)
}

/// Adds a comment to an incident.
///
/// # Errors
///
/// [`Error::Invalid`] if it is empty or too long; [`Error::NotFound`] if there is no such
/// incident. Storage failed, and nothing was stored; only [`Error::Unconfirmed`] leaves that open.
pub async fn comment_on_incident(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    body: impl Into<String>,
    author: Option<Uuid>,
) -> Result<Comment> {
    comment(&mut conn.as_connection(), id.into(), body.into(), Actor::Trusted(author)).await
}

/// Like [`comment_on_incident`], on behalf of a caller. For those who may not see the incident there
/// is none.
///
/// # Errors
///
/// As [`comment_on_incident`].
pub async fn comment_on_incident_as(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    body: impl Into<String>,
    caller: &Principal,
) -> Result<Comment> {
    comment(&mut conn.as_connection(), id.into(), body.into(), Actor::Caller(caller)).await
}

async fn comment(
    connection: &mut Connection<'_>,
    incident_id: IncidentId,
    body: String,
    actor: Actor<'_>,
) -> Result<Comment> {
    let context = connection.context();
    let mut texts = Texts::new(context);
    let body = texts.body("body", &body);
    texts.finish()?;
    let created_at = context.settings.clock.now();
    let author = actor.id();
    let comment = Comment { id: CommentId::at(created_at), incident_id, author, body, created_at };
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, incident_id, actor).await?;
    transaction.store().insert_comment(&comment).await?;
    let states = (None::<&Comment>, &comment);
    record_audit(&mut transaction.connection(), author, "incident.comment", incident_id, states).await?;
    transaction.commit().await?;
    Ok(comment)
}

/// Comments on an incident, oldest first.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such incident. Storage failed.
pub async fn incident_comments(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    page: &Page,
) -> Result<Slice<Comment>> {
    let id = id.into();
    let mut connection = conn.as_connection();
    let mut store = connection.store();
    find(&mut store, id).await?;
    Ok(store.comments(id, page).await?)
}

/// Attaches a copy of an event to an incident, where it stays after the event itself has expired.
/// Attaching it again does nothing.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such incident; [`Error::Invalid`] if a thousand events are
/// attached already. Storage failed, and nothing was stored; only [`Error::Unconfirmed`] leaves that
/// open, and attaching again does no harm.
pub async fn attach_event(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    event: &Event,
    actor: Option<Uuid>,
) -> Result<()> {
    attach(&mut conn.as_connection(), id.into(), event, Actor::Trusted(actor)).await
}

/// Like [`attach_event`], on behalf of a user, after checking that they may work on the incident. For those
/// who may not see it there is none. Whether they may see the *event* is not checked here: do so before.
///
/// # Errors
///
/// As [`attach_event`].
pub async fn attach_event_as(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    event: &Event,
    caller: &Principal,
) -> Result<()> {
    attach(&mut conn.as_connection(), id.into(), event, Actor::Caller(caller)).await
}

async fn attach(
    connection: &mut Connection<'_>,
    incident_id: IncidentId,
    event: &Event,
    actor: Actor<'_>,
) -> Result<()> {
    let attached_at = connection.context().settings.clock.now();
    let attachment = Attachment { incident_id, event: event.clone(), attached_by: actor.id(), attached_at };
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, incident_id, actor).await?;
    let actor = actor.id();
    if !transaction.store().insert_attachment(&attachment).await? {
        return Ok(());
    }
    if transaction.store().count_attachments(incident_id).await? > ATTACHMENTS_MAX {
        let message = format!("an incident holds at most {ATTACHMENTS_MAX} attached events");
        return Err(Invalid::field("event_id", message).into());
    }
    let states = (None::<EventId>, event.id);
    record_audit(&mut transaction.connection(), actor, "incident.attach_event", incident_id, states).await?;
    Ok(transaction.commit().await?)
}

/// Events attached to an incident, oldest first.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such incident. Storage failed.
pub async fn attached_events(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    page: &Page,
) -> Result<Slice<Event>> {
    let id = id.into();
    let mut connection = conn.as_connection();
    let mut store = connection.store();
    find(&mut store, id).await?;
    Ok(store.attached_events(id, page).await?)
}

/// Detaches an event from an incident. The event itself is not touched.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such incident, or the event is not attached to it. Storage
/// failed.
pub async fn detach_event(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    event: impl Into<EventId>,
    actor: Option<Uuid>,
) -> Result<()> {
    detach(&mut conn.as_connection(), id.into(), event.into(), Actor::Trusted(actor)).await
}

/// Like [`detach_event`], on behalf of a caller. For those who may not see the incident there is
/// none.
///
/// # Errors
///
/// As [`detach_event`].
pub async fn detach_event_as(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    event: impl Into<EventId>,
    caller: &Principal,
) -> Result<()> {
    detach(&mut conn.as_connection(), id.into(), event.into(), Actor::Caller(caller)).await
}

async fn detach(
    connection: &mut Connection<'_>,
    incident_id: IncidentId,
    event: EventId,
    actor: Actor<'_>,
) -> Result<()> {
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, incident_id, actor).await?;
    let actor = actor.id();
    if !transaction.store().delete_attachment(incident_id, event).await? {
        return Err(Error::not_found("attached event", event));
    }
    let states = (event, None::<EventId>);
    record_audit(&mut transaction.connection(), actor, "incident.detach_event", incident_id, states).await?;
    Ok(transaction.commit().await?)
}

/// On whose behalf something is done.
#[derive(Clone, Copy)]
pub(super) enum Actor<'p> {
    /// Whoever it is, or the system; the host has checked that they may.
    Trusted(Option<Uuid>),
    /// Somebody whose rights are checked here.
    Caller(&'p Principal),
}

impl Actor<'_> {
    pub(super) fn id(self) -> Option<Uuid> {
        match self {
            Self::Trusted(id) => id,
            Self::Caller(caller) => Some(caller.id),
        }
    }

    pub(super) fn may_see(self, incident: &Incident) -> bool {
        match self {
            Self::Trusted(_) => true,
            Self::Caller(caller) => caller.may_see(incident),
        }
    }

    fn require_assigning(self, incident: &Incident, assignee: Option<Uuid>) -> Result<()> {
        match self {
            Self::Caller(caller) if !caller.may_assign(incident, assignee) => {
                Ok(caller.require(Permission::AllIncidents)?)
            }
            _ => Ok(()),
        }
    }
}

/// The incident, which exists and stays as it is until the transaction ends. Who may see it is
/// decided here, of what is locked: a moment before, it may have been somebody else's.
pub(super) async fn lock(
    transaction: &mut Transaction<'_>,
    id: IncidentId,
    actor: Actor<'_>,
) -> Result<Incident> {
    let incident = transaction.store().lock_incident(id).await?;
    incident.filter(|incident| actor.may_see(incident)).ok_or_else(|| not_found(id))
}

fn not_found(id: IncidentId) -> Error {
    Error::not_found("incident", id)
}
