//! Timelines of incidents.

use super::incidents::find;
use crate::error::Result;
use crate::incidents::{TimelineRows, entries, window};
use crate::model::{IncidentId, IncidentTimeline, Page, Pagination};
use crate::store::timeline::{Origin, Part, TimelineKey, TimelineStore as _, Window};
use crate::store::{AsConnection, Connection, Store};

/// What happened around an incident, oldest first: all events from one hour before its start to
/// its resolution (or now), events attached to it whenever they happened, alerts that began or ceased
/// to fire meanwhile, who was told of its alerts, who acknowledged or silenced them, and everything people did
/// to it. Of what happened at the same instant, events come first, then alerts, then changes, then comments,
/// then analyses, then what was told and said of alerts.
///
/// An event is an alert if its type says so, and marks a deployment if it has a tag `deploy`,
/// `deployment` or `deployment_id` (and that is neither empty nor `false`), or a tag `event` or
/// `kind` that is `deploy` or `deployment`.
///
/// ```
/// # async fn example(conn: &mut sqlx::SqliteConnection, incident_id: uuid::Uuid) -> monitoring_core::Result<()> {
/// let timeline =
///     monitoring_core::services::get_incident_timeline(conn, incident_id, Some(100), Some(0)).await?;
/// for entry in timeline.entries {
///     let line = format!("{}: {} - {}", entry.timestamp, entry.source, entry.message);
///     # let _ = line;
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`Error::Invalid`](crate::Error::Invalid) if `limit` is not 1 to 1,000 (100 if absent) or
/// `offset` not 0 to 100,000; [`Error::NotFound`](crate::Error::NotFound) if there is no such
/// incident. Storage failed.
pub async fn get_incident_timeline(
    conn: &mut impl AsConnection,
    id: impl Into<IncidentId>,
    limit: Option<i64>,
    offset: Option<i64>,
) -> Result<IncidentTimeline> {
    timeline(&mut conn.as_connection(), id.into(), &Page::checked(limit, offset)?).await
}

async fn timeline(connection: &mut Connection<'_>, id: IncidentId, page: &Page) -> Result<IncidentTimeline> {
    let now = connection.context().settings.clock.now();
    let mut store = connection.store();
    let window = window(&find(&mut store, id).await?, now);
    let mut keys = store.timeline_keys(&window, page).await?;
    let has_more = keys.len() > page.limit as usize;
    keys.truncate(page.limit as usize);
    let entries = entries(id, &keys, rows(&mut store, &window, &keys).await?);
    let pagination = Pagination {
        limit: page.limit,
        offset: page.offset,
        count: entries.len(),
        has_more,
        next_cursor: None,
    };
    let Window { incident_id, start, end } = window;
    Ok(IncidentTimeline { incident_id, start_time: start, end_time: end, entries, pagination })
}

/// The rows of a page lie between its first and last key of each origin.
async fn rows(store: &mut Store<'_>, window: &Window, keys: &[TimelineKey]) -> Result<TimelineRows> {
    let mut rows = TimelineRows::default();
    let part = |origin| part(window.incident_id, keys, origin);
    if let Some(part) = part(Origin::Event) {
        rows.events = store.events_between(&part).await?;
    }
    if let Some(part) = part(Origin::Attachment) {
        rows.attachments = store.attachments_between(&part).await?;
    }
    if let Some(part) = part(Origin::Transition) {
        rows.transitions = store.transitions_between(&part).await?;
    }
    if let Some(part) = part(Origin::Change) {
        rows.changes = store.changes_between(&part).await?;
    }
    if let Some(part) = part(Origin::Comment) {
        rows.comments = store.comments_between(&part).await?;
    }
    if let Some(part) = part(Origin::Analysis) {
        rows.analyses = store.analyses_between(&part).await?;
    }
    if let Some(part) = part(Origin::Step) {
        rows.steps = store.steps_between(&part).await?;
    }
    Ok(rows)
}

fn part(incident: IncidentId, keys: &[TimelineKey], origin: Origin) -> Option<Part> {
    let mut of_origin = keys.iter().filter(|key| key.origin == origin);
    let first = *of_origin.next()?;
    Some(Part { incident, first, last: of_origin.next_back().copied().unwrap_or(first) })
}
