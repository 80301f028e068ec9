//! Who is told of which alert.

use uuid::Uuid;

use super::record_audit;
use crate::alerting::routing::{Audience, Habits, Router, check_routing};
use crate::error::{Error, Result};
use crate::model::{Page, Routing, StoredRouting};
use crate::store::receivers::ReceiverStore as _;
use crate::store::routing::RoutingStore as _;
use crate::store::{AsConnection, Connection, Store};

/// The routing that holds. Before one is set it names no receiver, and nobody is told of anything.
///
/// # Errors
///
/// Storage failed.
pub async fn routing(conn: &mut impl AsConnection) -> Result<StoredRouting> {
    Ok(conn.as_connection().store().routing().await?)
}

/// Makes the routing what it says here, if it is still at `version` or whatever its version is.
///
/// # Errors
///
/// [`Error::Invalid`] with all that makes no sense, each under its path; [`Error::Conflict`] if its
/// version is another one by now. Storage failed.
pub async fn put_routing(
    conn: &mut impl AsConnection,
    routing: Routing,
    version: Option<i64>,
    actor: Option<Uuid>,
) -> Result<StoredRouting> {
    put(&mut conn.as_connection(), routing, version, actor).await
}

async fn put(
    connection: &mut Connection<'_>,
    routing: Routing,
    version: Option<i64>,
    actor: Option<Uuid>,
) -> Result<StoredRouting> {
    let now = connection.context().settings.clock.now();
    let mut transaction = connection.begin().await?;
    let before = transaction.store().lock_routing().await?;
    if let Some(expected) = version.filter(|expected| *expected != before.version) {
        return Err(Error::conflict("routing", expected, before.version));
    }
    let receivers = transaction.store().receivers(&Page::first(Page::LIMIT_MAX)).await?.items;
    let receivers = receivers.into_iter().map(|receiver| (receiver.name, receiver.receiver_type)).collect();
    check_routing(&routing, &receivers)?;
    if routing == before.routing {
        return Ok(before);
    }
    let version = before.version + 1;
    let after = StoredRouting { routing, version, updated_at: Some(now), updated_by: actor };
    transaction.store().put_routing(&after).await?;
    let states = (&before.routing, &after.routing);
    record_audit(&mut transaction.connection(), actor, "routing.update", "routing", states).await?;
    transaction.commit().await?;
    Ok(after)
}

/// Who could be told of alerts now; `None` if nobody.
pub(super) async fn audience(store: &mut Store<'_>) -> Result<Option<Audience>> {
    let Some(router) = Router::compile(&store.routing().await?.routing)? else { return Ok(None) };
    let receivers = Habits::of_all(&store.receivers(&Page::first(Page::LIMIT_MAX)).await?.items);
    Ok(Some(Audience { router, receivers }))
}
