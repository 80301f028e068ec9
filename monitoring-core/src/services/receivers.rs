//! Receivers of notifications.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::kept::{audit, expect_version, not_found, unwritten};
use super::record_audit;
use crate::error::{Error, Result};
use crate::model::{
    Invalid, NotificationAttempt, Page, Receiver, ReceiverId, ReceiverRequest, ReceiverType, Secrets, Slice,
    check_chars, clean,
};
use crate::notify::check_receiver;
use crate::store::notification_groups::NotificationGroupStore as _;
use crate::store::notifications::NotificationStore as _;
use crate::store::receivers::ReceiverStore as _;
use crate::store::routing::RoutingStore as _;
use crate::store::{AsConnection, Connection, Context};

/// Receivers in all: as many as one page shows.
const RECEIVERS_MAX: usize = Page::LIMIT_MAX as usize;
/// Bytes of a configuration.
const CONFIG_BYTES_MAX: usize = 16 * 1024;

/// Stores a new receiver.
///
/// # Errors
///
/// [`Error::Invalid`] if a field breaks a rule or the address is not allowed;
/// [`Error::AlreadyExists`] if the name is taken. Storage failed.
pub async fn create_receiver(
    conn: &mut impl AsConnection,
    request: ReceiverRequest,
    actor: Option<Uuid>,
) -> Result<Receiver> {
    create(&mut conn.as_connection(), request, actor).await
}

async fn create(
    connection: &mut Connection<'_>,
    request: ReceiverRequest,
    actor: Option<Uuid>,
) -> Result<Receiver> {
    let context = connection.context();
    let now = context.settings.clock.now();
    let (name, config, secrets) = check(context, &request, &Secrets::default())?;
    let receiver = Receiver {
        id: ReceiverId::at(now),
        name,
        receiver_type: request.receiver_type,
        config,
        send_resolved: sends_resolved(&request),
        created_by: actor,
        created_at: now,
        updated_at: now,
        version: 1,
        quiet_until: None,
    };
    let mut transaction = connection.begin().await?;
    if transaction.store().receivers(&Page::first(Page::LIMIT_MAX)).await?.items.len() >= RECEIVERS_MAX {
        let message = format!("there are {RECEIVERS_MAX} receivers already; remove one first");
        return Err(Invalid::field("name", message).into());
    }
    let inserted = transaction.store().insert_receiver(&receiver, &secrets).await;
    inserted.map_err(|error| unwritten(error, &receiver))?;
    audit(&mut transaction, actor, (None, Some(&receiver))).await?;
    transaction.commit().await?;
    Ok(receiver)
}

/// The receiver with this id, without its secrets.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none. Storage failed.
pub async fn receiver(conn: &mut impl AsConnection, id: impl Into<ReceiverId>) -> Result<Receiver> {
    let id = id.into();
    conn.as_connection().store().receiver(id).await?.ok_or_else(|| not_found::<Receiver>(id))
}

/// Receivers, newest first, without their secrets.
///
/// # Errors
///
/// Storage failed.
pub async fn query_receivers(conn: &mut impl AsConnection, page: &Page) -> Result<Slice<Receiver>> {
    Ok(conn.as_connection().store().receivers(page).await?)
}

/// What was tried to reach a receiver, newest first; heartbeats and tests too.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such receiver. Storage failed.
pub async fn receiver_attempts(
    conn: &mut impl AsConnection,
    id: impl Into<ReceiverId>,
    page: &Page,
) -> Result<Slice<NotificationAttempt>> {
    let (id, mut connection) = (id.into(), conn.as_connection());
    connection.store().receiver(id).await?.ok_or_else(|| not_found::<Receiver>(id))?;
    Ok(connection.store().receiver_attempts(id, page).await?)
}

/// Makes a receiver what the request says. A secret that is given as `<secret>` stays as it is. What still waits for
/// one that tells nobody from now on is given up.
///
/// # Errors
///
/// As [`create_receiver`]; [`Error::NotFound`] if there is no such receiver; [`Error::Conflict`] if the
/// request names a version that is no longer the present one.
pub async fn update_receiver(
    conn: &mut impl AsConnection,
    id: impl Into<ReceiverId>,
    request: ReceiverRequest,
    actor: Option<Uuid>,
) -> Result<Receiver> {
    update(&mut conn.as_connection(), id.into(), request, actor).await
}

async fn update(
    connection: &mut Connection<'_>,
    id: ReceiverId,
    request: ReceiverRequest,
    actor: Option<Uuid>,
) -> Result<Receiver> {
    let context = connection.context();
    let mut transaction = connection.begin().await?;
    let locked = transaction.store().lock_receiver(id).await?.ok_or_else(|| not_found::<Receiver>(id))?;
    let before = locked.receiver;
    expect_version(request.version, &before)?;
    // A secret is kept for what it was given for, and sent nowhere else.
    let kept = if request.receiver_type == before.receiver_type && leads_the_same_way(&request, &before) {
        locked.secrets.clone()
    } else {
        Secrets::default()
    };
    let (name, config, secrets) = check(context, &request, &kept)?;
    let mut after = Receiver {
        name,
        receiver_type: request.receiver_type,
        config,
        send_resolved: sends_resolved(&request),
        ..before.clone()
    };
    let changed = secrets.changed(&locked.secrets);
    if after == before && changed.is_empty() {
        return Ok(before);
    }
    refuse_in_use(&mut transaction.connection(), &before, &after).await?;
    if after.name != before.name {
        // What it was told it still knows. Nobody decides meanwhile: the routing is locked.
        transaction.store().rename_notification_groups(&before.name, &after.name).await?;
    }
    after.updated_at = context.settings.clock.now();
    after.quiet_until = None;
    after.version += 1;
    let written = transaction.store().update_receiver(&after, &secrets, before.version).await;
    if !written.map_err(|error| unwritten(error, &after))? {
        return Err(Error::conflict("receiver", before.version, after.version));
    }
    if after.receiver_type == ReceiverType::None {
        transaction.store().give_up_notifications(id, after.updated_at, "nobody is told any more").await?;
    }
    let states = (json!(before), with_changed(&after, &changed));
    record_audit(&mut transaction.connection(), actor, "receiver.update", id, states).await?;
    transaction.commit().await?;
    Ok(after)
}

/// Removes a receiver. What still waits for it is given up.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none; [`Error::Invalid`] if the routing names it;
/// [`Error::Conflict`] if its version is another one by now. Storage failed.
pub async fn delete_receiver(
    conn: &mut impl AsConnection,
    id: impl Into<ReceiverId>,
    version: Option<i64>,
    actor: Option<Uuid>,
) -> Result<()> {
    delete(&mut conn.as_connection(), id.into(), version, actor).await
}

async fn delete(
    connection: &mut Connection<'_>,
    id: ReceiverId,
    version: Option<i64>,
    actor: Option<Uuid>,
) -> Result<()> {
    let now = connection.context().settings.clock.now();
    let mut transaction = connection.begin().await?;
    let locked = transaction.store().lock_receiver(id).await?.ok_or_else(|| not_found::<Receiver>(id))?;
    expect_version(version, &locked.receiver)?;
    refuse_named(&mut transaction.connection(), &locked.receiver.name).await?;
    transaction.store().delete_receiver(id).await?;
    transaction.store().give_up_notifications(id, now, "the receiver was removed").await?;
    audit(&mut transaction, actor, (Some(&locked.receiver), None)).await?;
    Ok(transaction.commit().await?)
}

/// Checks a request and parts its secrets from what may be shown.
fn check(
    context: &Context,
    request: &ReceiverRequest,
    kept: &Secrets,
) -> Result<(String, Map<String, Value>, Secrets), Invalid> {
    let mut invalid = Invalid::default();
    let mut name = request.name.trim().to_owned();
    clean(&mut name);
    if name.is_empty() {
        invalid.push("name", "must not be empty");
    }
    check_chars("name", &name, context.settings.limits.title_chars_max, &mut invalid);
    let mut config = request.config.clone();
    let text = serde_json::to_string(&config).unwrap_or_default();
    if text.len() > CONFIG_BYTES_MAX {
        invalid.push("config", format!("must have at most {CONFIG_BYTES_MAX} bytes"));
    } else if text.contains("\\u0000") {
        invalid.push("config", "must not contain NUL");
    }
    let secrets = match Secrets::part(request.receiver_type, &mut config, kept) {
        Ok(secrets) => {
            let checked =
                check_receiver(request.receiver_type, &config, &secrets, &context.settings.receivers);
            invalid.extend(checked.err().unwrap_or_default());
            secrets
        }
        Err(wrong) => {
            invalid.extend(wrong);
            Secrets::default()
        }
    };
    invalid.or((name, config, secrets))
}

/// Whether the address is the same: otherwise whoever may not see a password could have it sent to
/// themselves.
fn leads_the_same_way(request: &ReceiverRequest, before: &Receiver) -> bool {
    if request.receiver_type == ReceiverType::Custom {
        // Only the host knows which field is an address.
        let others = |config: &Map<String, Value>| {
            let mut others = config.clone();
            others.remove("secret");
            others
        };
        return others(&request.config) == others(&before.config);
    }
    ["url", "smarthost", "tls", "notifier"]
        .iter()
        .all(|field| request.config.get(*field) == before.config.get(*field))
}

fn sends_resolved(request: &ReceiverRequest) -> bool {
    let by_default = !matches!(request.receiver_type, ReceiverType::Slack | ReceiverType::Email);
    request.send_resolved.unwrap_or(by_default)
}

/// What the audit log says of a change: which secrets were changed too, though not to what.
fn with_changed(receiver: &Receiver, changed: &[String]) -> Value {
    let mut state = json!(receiver);
    if !changed.is_empty() {
        state["secrets_changed"] = json!(changed);
    }
    state
}

/// A receiver that routes name keeps its name, and remains one that can be told of alerts.
async fn refuse_in_use(connection: &mut Connection<'_>, before: &Receiver, after: &Receiver) -> Result<()> {
    let becomes_deaf =
        after.receiver_type == ReceiverType::Heartbeat && before.receiver_type != ReceiverType::Heartbeat;
    if before.name != after.name || becomes_deaf {
        refuse_named(connection, &before.name).await?;
    }
    Ok(())
}

async fn refuse_named(connection: &mut Connection<'_>, name: &str) -> Result<()> {
    let routing = connection.store().lock_routing().await?.routing;
    let names = std::iter::once(&routing.receiver).flatten();
    if names.map(String::as_str).any(|used| used == name) || is_named(&routing.routes, name) {
        let message = format!("the routing names {name:?}; change the routing first");
        return Err(Invalid::field("name", message).into());
    }
    Ok(())
}

fn is_named(routes: &[crate::model::Route], name: &str) -> bool {
    routes.iter().any(|route| route.receiver.as_deref() == Some(name) || is_named(&route.routes, name))
}
