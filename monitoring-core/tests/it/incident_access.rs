//! Whether somebody may touch an incident is decided together with the touch: a right taken away a
//! moment before is gone.

use monitoring_core::{
    CreateIncidentRequest, Error, Event, EventId, Incident, IncidentSeverity, Page, Principal, Result, Role,
    UpdateIncidentRequest, services,
};
use serde_json::json;
use uuid::Uuid;

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon};
#[cfg(feature = "postgres")]
use crate::support::until;

on_each_database!(
    an_incident_one_may_not_see_does_not_exist,
    what_callers_do_is_done_in_their_name,
    plain_users_hand_an_incident_only_to_themselves_or_back,
    a_right_taken_away_meanwhile_is_gone,
);

const OWNER: Principal = Principal::new(Uuid::from_u128(1), Role::User);
const STRANGER: Principal = Principal::new(Uuid::from_u128(2), Role::User);
const MODERATOR: Principal = Principal::new(Uuid::from_u128(3), Role::Moderator);

async fn incident(fixture: &Fixture, created_by: Option<Uuid>, assigned_to: Option<Uuid>) -> Incident {
    let request = CreateIncidentRequest {
        title: "slow".to_owned(),
        description: None,
        severity: IncidentSeverity::High,
        assigned_to,
    };
    services::create_incident(&mut fixture.conn().await, request, created_by).await.unwrap()
}

fn event() -> Event {
    serde_json::from_value(json!({
        "id": EventId::at(noon()), "event_type": "log", "source": "shop", "message": "m", "tags": {},
        "payload": {}, "timestamp": noon(), "created_at": noon(),
    }))
    .unwrap()
}

fn assign(assignee: Option<Uuid>) -> UpdateIncidentRequest {
    UpdateIncidentRequest { assigned_to: Some(assignee), ..Default::default() }
}

fn rename() -> UpdateIncidentRequest {
    UpdateIncidentRequest { title: Some("renamed".to_owned()), ..Default::default() }
}

/// Everything that can be done to an incident, on behalf of a caller.
async fn everything(
    fixture: &Fixture,
    incident: &Incident,
    event: &Event,
    who: &Principal,
) -> [Result<()>; 4] {
    let (mut conn, id) = (fixture.conn().await, incident.id);
    [
        services::update_incident_as(&mut conn, id, rename(), who).await.map(drop),
        services::comment_on_incident_as(&mut conn, id, "looking", who).await.map(drop),
        services::attach_event_as(&mut conn, id, event, who).await,
        services::detach_event_as(&mut conn, id, event.id, who).await,
    ]
}

async fn an_incident_one_may_not_see_does_not_exist(database: &Database) {
    let fixture = Fixture::start(database).await;
    let incident = incident(&fixture, Some(OWNER.id), None).await;
    let attached = event();
    services::attach_event(&mut fixture.conn().await, incident.id, &attached, None).await.unwrap();
    for outcome in everything(&fixture, &incident, &attached, &STRANGER).await {
        let error = outcome.unwrap_err();
        assert!(matches!(&error, Error::NotFound { what: "incident", .. }), "{error}");
    }
    let mut conn = fixture.conn().await;
    assert_eq!(services::incident(&mut conn, incident.id).await.unwrap(), incident);
    let comments = services::incident_comments(&mut conn, incident.id, &Page::default()).await.unwrap();
    assert!(comments.items.is_empty());
    let events = services::attached_events(&mut conn, incident.id, &Page::default()).await.unwrap();
    assert_eq!(events.items, [attached]);
}

async fn what_callers_do_is_done_in_their_name(database: &Database) {
    let fixture = Fixture::start(database).await;
    for who in [&OWNER, &MODERATOR] {
        let incident = incident(&fixture, Some(OWNER.id), None).await;
        for outcome in everything(&fixture, &incident, &event(), who).await {
            outcome.unwrap();
        }
        let mut conn = fixture.conn().await;
        let changes = services::incident_changes(&mut conn, incident.id).await.unwrap();
        assert_eq!(changes[1].changed_by, Some(who.id));
        let comments = services::incident_comments(&mut conn, incident.id, &Page::default()).await.unwrap();
        assert_eq!(comments.items[0].author, Some(who.id));
        let log = services::query_audit_log(&mut conn, &Page::default()).await.unwrap().items;
        let subject = incident.id.to_string();
        let mut of_incident: Vec<_> = log.iter().filter(|entry| entry.subject == subject).collect();
        of_incident.retain(|entry| entry.action != "incident.create");
        assert_eq!(of_incident.len(), 4);
        assert!(of_incident.iter().all(|entry| entry.actor == Some(who.id)), "{of_incident:?}");
    }
}

async fn plain_users_hand_an_incident_only_to_themselves_or_back(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = incident(&fixture, Some(OWNER.id), None).await.id;
    let mut conn = fixture.conn().await;
    let refused = services::update_incident_as(&mut conn, id, assign(Some(STRANGER.id)), &OWNER).await;
    assert!(matches!(refused, Err(Error::Forbidden { needs: Role::Moderator })), "{refused:?}");
    for assignee in [Some(OWNER.id), None] {
        services::update_incident_as(&mut conn, id, assign(assignee), &OWNER).await.unwrap();
    }
    let handed = services::update_incident_as(&mut conn, id, assign(Some(STRANGER.id)), &MODERATOR).await;
    assert_eq!(handed.unwrap().assigned_to, Some(STRANGER.id));
    // Whom it is assigned to already may be said again.
    services::update_incident_as(&mut conn, id, assign(Some(STRANGER.id)), &OWNER).await.unwrap();
    let taken_back = services::update_incident_as(&mut conn, id, assign(None), &OWNER).await;
    assert!(matches!(taken_back, Err(Error::Forbidden { .. })), "{taken_back:?}");
}

/// The moderator's transaction holds the incident; the other's change has to wait for it, and then
/// the incident is no longer theirs.
async fn a_right_taken_away_meanwhile_is_gone(database: &Database) {
    let fixture = Fixture::start(database).await;
    for n in 0..4 {
        let incident = incident(&fixture, None, Some(OWNER.id)).await;
        let attached = event();
        services::attach_event(&mut fixture.conn().await, incident.id, &attached, None).await.unwrap();
        let change = async {
            let (mut conn, id, who) = (fixture.conn().await, incident.id, &OWNER);
            match n {
                0 => services::update_incident_as(&mut conn, id, rename(), who).await.map(drop),
                1 => services::comment_on_incident_as(&mut conn, id, "looking", who).await.map(drop),
                2 => services::attach_event_as(&mut conn, id, &event(), who).await,
                _ => services::detach_event_as(&mut conn, id, attached.id, who).await,
            }
        };
        let outcome = match database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => {
                let host = sqlx::SqlitePool::connect(&database.url()).await.unwrap();
                let mut transaction = host.begin_with("BEGIN IMMEDIATE").await.unwrap();
                services::update_incident(&mut transaction, incident.id, assign(None), None).await.unwrap();
                let commit = async {
                    for _ in 0..20 {
                        // The other gets as far as it can meanwhile: readers do not wait.
                        let mut conn = fixture.monitoring.acquire_read().await.unwrap();
                        services::incident(&mut conn, incident.id).await.unwrap();
                    }
                    transaction.commit().await.unwrap();
                };
                tokio::join!(change, commit).0
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(_) => {
                let host = sqlx::PgPool::connect(&database.url()).await.unwrap();
                let mut transaction = host.begin().await.unwrap();
                services::update_incident(&mut transaction, incident.id, assign(None), None).await.unwrap();
                let commit = async {
                    let locks = "SELECT count(*) FROM pg_stat_activity
                                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
                    until("the change waits", async || database.number(locks).await > 0).await;
                    transaction.commit().await.unwrap();
                };
                tokio::join!(change, commit).0
            }
        };
        assert!(matches!(outcome, Err(Error::NotFound { what: "incident", .. })), "{n}: {outcome:?}");
    }
}
