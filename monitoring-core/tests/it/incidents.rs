//! Incidents live as they may, lose no change, and keep what is attached to them.

use std::time::Duration;

use chrono::TimeDelta;
use monitoring_core::{
    AsConnection, CreateIncidentRequest, Error, Event, EventId, EventType, Incident, IncidentFilter,
    IncidentSeverity, IncidentStatus, Page, Principal, Role, UpdateIncidentRequest, services,
};
use serde_json::json;
use sqlx::Connection as _;
use uuid::Uuid;

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon};

on_each_database!(
    an_incident_reads_back_as_it_was_created,
    an_incident_without_a_title_is_refused,
    legal_changes_of_status_happen_and_illegal_ones_do_not,
    an_update_to_what_is_already_so_is_no_change,
    an_update_of_an_old_version_is_refused,
    updates_at_the_same_time_all_survive,
    a_rolled_back_transaction_leaves_no_trace,
    a_failed_update_leaves_the_hosts_transaction_usable,
    incidents_are_found_by_what_the_filter_says,
    comments_are_kept_in_order,
    an_attached_event_is_kept_as_a_copy,
    changes_are_on_the_audit_log,
    secrets_people_write_are_not_stored,
    unknown_incidents_are_not_found,
);

const BOSS: Uuid = Uuid::from_u128(1);
const ON_CALL: Uuid = Uuid::from_u128(2);

fn slow() -> CreateIncidentRequest {
    CreateIncidentRequest {
        title: "Payment Processing Degraded".to_string(),
        description: Some("Stripe API latency increased".to_string()),
        severity: IncidentSeverity::High,
        assigned_to: Some(ON_CALL),
    }
}

fn to(status: IncidentStatus) -> UpdateIncidentRequest {
    UpdateIncidentRequest { status: Some(status), ..Default::default() }
}

async fn opened(fixture: &Fixture) -> Incident {
    services::create_incident(&mut fixture.conn().await, slow(), Some(BOSS)).await.unwrap()
}

fn event(message: &str) -> Event {
    Event {
        id: EventId::at(noon()),
        event_type: EventType::Log,
        source: "shop".to_owned(),
        message: Some(message.to_owned()),
        level: None,
        tags: json!({"user": 7}).as_object().unwrap().clone(),
        payload: json!({"deep": [1, {"x": null}]}).as_object().unwrap().clone(),
        request_id: Some("r-1".to_owned()),
        trace_id: None,
        span_id: None,
        timestamp: noon(),
        created_at: noon(),
        created_by: Some(BOSS),
    }
}

async fn an_incident_reads_back_as_it_was_created(database: &Database) {
    let fixture = Fixture::start(database).await;
    let created = opened(&fixture).await;
    let mut conn = fixture.conn().await;
    assert_eq!(created.status, IncidentStatus::Open);
    assert_eq!((created.started_at, created.resolved_at, created.version), (noon(), None, 1));
    assert_eq!((created.created_by, created.assigned_to), (Some(BOSS), Some(ON_CALL)));
    assert_eq!(services::incident(&mut conn, created.id).await.unwrap(), created);
    assert_eq!(services::incident(&mut conn, created.id.into_uuid()).await.unwrap(), created);
    let changes = services::incident_changes(&mut conn, created.id).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].changes["status"], json!({"from": null, "to": "open"}));
}

async fn an_incident_without_a_title_is_refused(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    for title in [" \n".to_owned(), "x".repeat(201)] {
        let request = CreateIncidentRequest { title, ..slow() };
        let error = services::create_incident(&mut conn, request, None).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid(invalid) if invalid.errors()[0].field == "title"), "{error}");
    }
    let filter = IncidentFilter::default();
    assert!(services::query_incidents(&mut conn, &filter, &Page::default()).await.unwrap().items.is_empty());
}

async fn legal_changes_of_status_happen_and_illegal_ones_do_not(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = opened(&fixture).await.id;
    let mut conn = fixture.conn().await;
    let error = services::update_incident(&mut conn, id, to(IncidentStatus::Closed), None).await.unwrap_err();
    assert!(error.to_string().ends_with("it can become investigating or resolved"), "{error}");
    let steps = [
        (IncidentStatus::Investigating, false),
        (IncidentStatus::Resolved, true),
        (IncidentStatus::Closed, true),
        (IncidentStatus::Open, false),
    ];
    for (n, (status, resolved)) in steps.into_iter().enumerate() {
        fixture.clock.advance(Duration::from_secs(60));
        let incident = services::update_incident(&mut conn, id, to(status), Some(ON_CALL)).await.unwrap();
        assert_eq!(incident.status, status);
        assert_eq!(incident.resolved_at, resolved.then(|| noon() + TimeDelta::minutes(2)));
        assert_eq!(incident.version, n as i64 + 2);
        assert_eq!(services::incident(&mut conn, id).await.unwrap(), incident);
    }
    let changes = services::incident_changes(&mut conn, id).await.unwrap();
    assert_eq!(changes.len(), 5, "the opening and four steps; the refused one is not there");
    assert_eq!(changes[4].changes, json!({"status": {"from": "closed", "to": "open"}}));
    assert_eq!(changes[4].changed_by, Some(ON_CALL));
}

async fn an_update_to_what_is_already_so_is_no_change(database: &Database) {
    let fixture = Fixture::start(database).await;
    let before = opened(&fixture).await;
    let mut conn = fixture.conn().await;
    let same = UpdateIncidentRequest {
        status: Some(IncidentStatus::Open),
        severity: Some(IncidentSeverity::High),
        assigned_to: Some(Some(ON_CALL)),
        ..Default::default()
    };
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(services::update_incident(&mut conn, before.id, same, None).await.unwrap(), before);
    assert_eq!(services::incident_changes(&mut conn, before.id).await.unwrap().len(), 1);
    let log = services::query_audit_log(&mut conn, &Page::default()).await.unwrap();
    assert_eq!(log.items.len(), 1);
}

async fn an_update_of_an_old_version_is_refused(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = opened(&fixture).await.id;
    let mut conn = fixture.conn().await;
    let at_one = |cause: &str| UpdateIncidentRequest {
        root_cause: Some(cause.to_owned()),
        version: Some(1),
        ..Default::default()
    };
    services::update_incident(&mut conn, id, at_one("pool"), None).await.unwrap();
    let error = services::update_incident(&mut conn, id, at_one("gremlins"), None).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { expected: 1, current: 2, .. }), "{error}");
    let incident = services::incident(&mut conn, id).await.unwrap();
    assert_eq!(incident.root_cause.as_deref(), Some("pool"));
}

async fn updates_at_the_same_time_all_survive(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = opened(&fixture).await.id;
    let update = |request| {
        let fixture = &fixture;
        async move { services::update_incident(&mut fixture.conn().await, id, request, None).await.unwrap() }
    };
    tokio::join!(
        update(UpdateIncidentRequest { title: Some("slower".to_owned()), ..Default::default() }),
        update(UpdateIncidentRequest { root_cause: Some("pool".to_owned()), ..Default::default() }),
        update(UpdateIncidentRequest { severity: Some(IncidentSeverity::Critical), ..Default::default() }),
        update(to(IncidentStatus::Investigating)),
        update(UpdateIncidentRequest { assigned_to: Some(None), ..Default::default() }),
    );
    let mut conn = fixture.conn().await;
    let incident = services::incident(&mut conn, id).await.unwrap();
    assert_eq!((incident.title.as_str(), incident.root_cause.as_deref()), ("slower", Some("pool")));
    assert_eq!(incident.severity, IncidentSeverity::Critical);
    assert_eq!((incident.status, incident.assigned_to), (IncidentStatus::Investigating, None));
    let changes = services::incident_changes(&mut conn, id).await.unwrap();
    let versions: Vec<_> = changes.iter().map(|change| change.version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    assert!(changes[1..].iter().all(|change| change.changes.as_object().unwrap().len() == 1), "{changes:?}");
}

/// Everything that can be done to an incident, on the host's own connection.
async fn whole_life(conn: &mut impl AsConnection) -> monitoring_core::Result<Incident> {
    let incident = services::create_incident(conn, slow(), Some(BOSS)).await?;
    services::comment_on_incident(conn, incident.id, "looking", None).await?;
    services::attach_event(conn, incident.id, &event("x"), None).await?;
    services::update_incident(conn, incident.id, to(IncidentStatus::Resolved), None).await
}

/// Runs `$body` with `$transaction` open on a connection of the host's own.
macro_rules! in_host_transaction {
    ($database:expr, |$transaction:ident| $body:expr) => {
        match $database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => {
                let mut host = sqlx::SqliteConnection::connect(&$database.url()).await.unwrap();
                let mut $transaction = host.begin().await.unwrap();
                $body
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(_) => {
                let mut host = sqlx::PgConnection::connect(&$database.url()).await.unwrap();
                let mut $transaction = host.begin().await.unwrap();
                $body
            }
        }
    };
}

async fn a_rolled_back_transaction_leaves_no_trace(database: &Database) {
    let fixture = Fixture::start(database).await;
    let incident = in_host_transaction!(database, |transaction| {
        let incident = whole_life(&mut transaction).await.unwrap();
        assert_eq!(services::incident(&mut transaction, incident.id).await.unwrap(), incident);
        transaction.rollback().await.unwrap();
        incident
    });
    let mut conn = fixture.conn().await;
    let error = services::incident(&mut conn, incident.id).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }));
    for table in ["incident_changes", "incident_comments", "incident_events", "audit_log"] {
        let rows = database.number(format!("SELECT count(*) FROM {}", database.table(table))).await;
        assert_eq!(rows, 0, "{table}");
    }
}

async fn a_failed_update_leaves_the_hosts_transaction_usable(database: &Database) {
    let fixture = Fixture::start(database).await;
    let incident = in_host_transaction!(database, |transaction| {
        let incident = services::create_incident(&mut transaction, slow(), None).await.unwrap();
        let illegal = to(IncidentStatus::Closed);
        services::update_incident(&mut transaction, incident.id, illegal, None).await.unwrap_err();
        let update = to(IncidentStatus::Investigating);
        let incident = services::update_incident(&mut transaction, incident.id, update, None).await.unwrap();
        transaction.commit().await.unwrap();
        incident
    });
    assert_eq!(services::incident(&mut fixture.conn().await, incident.id).await.unwrap(), incident);
}

async fn incidents_are_found_by_what_the_filter_says(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    for (title, severity, assigned_to, created_by) in [
        ("one", IncidentSeverity::Low, None, Some(BOSS)),
        ("two", IncidentSeverity::High, Some(ON_CALL), None),
        ("three", IncidentSeverity::High, None, Some(ON_CALL)),
    ] {
        let request = CreateIncidentRequest { title: title.to_owned(), severity, assigned_to, ..slow() };
        let incident = services::create_incident(&mut conn, request, created_by).await.unwrap();
        if title == "two" {
            services::update_incident(&mut conn, incident.id, to(IncidentStatus::Resolved), None)
                .await
                .unwrap();
        }
        fixture.clock.advance(Duration::from_secs(60));
    }
    let mut titles = async |set: fn(&mut IncidentFilter)| {
        let mut filter = IncidentFilter::default();
        set(&mut filter);
        let slice = services::query_incidents(&mut conn, &filter, &Page::default()).await.unwrap();
        slice.items.into_iter().map(|incident| incident.title).collect::<Vec<_>>()
    };
    assert_eq!(titles(|_| {}).await, ["three", "two", "one"]);
    assert_eq!(titles(|filter| filter.unresolved = true).await, ["three", "one"]);
    assert_eq!(titles(|filter| filter.status = Some(IncidentStatus::Resolved)).await, ["two"]);
    assert_eq!(titles(|filter| filter.severity = Some(IncidentSeverity::High)).await, ["three", "two"]);
    assert_eq!(titles(|filter| filter.assigned_to = Some(ON_CALL)).await, ["two"]);
    assert_eq!(titles(|filter| filter.visible_to = Some(ON_CALL)).await, ["three", "two"]);
    assert_eq!(
        titles(|filter| filter.start_time = Some(noon() + TimeDelta::minutes(1))).await,
        ["three", "two"]
    );
    assert_eq!(titles(|filter| filter.end_time = Some(noon() + TimeDelta::minutes(1))).await, ["one"]);
}

async fn comments_are_kept_in_order(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = opened(&fixture).await.id;
    let mut conn = fixture.conn().await;
    for body in ["looking", "found it", "fixed"] {
        fixture.clock.advance(Duration::from_secs(1));
        let comment = services::comment_on_incident(&mut conn, id, body, Some(ON_CALL)).await.unwrap();
        assert_eq!((comment.incident_id, comment.author), (id, Some(ON_CALL)));
    }
    let mut page = Page::first(2);
    let first = services::incident_comments(&mut conn, id, &page).await.unwrap();
    page.after = Some(first.pagination.next_cursor.unwrap().parse().unwrap());
    let second = services::incident_comments(&mut conn, id, &page).await.unwrap();
    let bodies: Vec<_> = first.items.iter().chain(&second.items).map(|comment| &comment.body).collect();
    assert_eq!(bodies, ["looking", "found it", "fixed"]);
    let empty = services::comment_on_incident(&mut conn, id, "  ", None).await.unwrap_err();
    assert!(matches!(empty, Error::Invalid(_)));
}

async fn an_attached_event_is_kept_as_a_copy(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = opened(&fixture).await.id;
    let mut conn = fixture.conn().await;
    let event = event("the one");
    services::attach_event(&mut conn, id, &event, Some(BOSS)).await.unwrap();
    services::attach_event(&mut conn, id, &event, Some(BOSS)).await.unwrap();
    let attached = services::attached_events(&mut conn, id, &Page::default()).await.unwrap();
    assert_eq!(attached.items, std::slice::from_ref(&event), "though no such event is stored, and once");
    services::detach_event(&mut conn, id, event.id, Some(BOSS)).await.unwrap();
    assert!(services::attached_events(&mut conn, id, &Page::default()).await.unwrap().items.is_empty());
    let again = services::detach_event(&mut conn, id, event.id, None).await.unwrap_err();
    assert!(matches!(again, Error::NotFound { what: "attached event", .. }));
}

async fn changes_are_on_the_audit_log(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let incident = whole_life(&mut fixture.monitoring.connection(&mut conn)).await.unwrap();
    services::detach_event(&mut conn, incident.id, event("x").id, None).await.unwrap_err();
    let log = services::query_audit_log(&mut conn, &Page::default()).await.unwrap();
    let mut actions: Vec<_> = log.items.iter().map(|entry| entry.action.as_str()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["incident.attach_event", "incident.comment", "incident.create", "incident.update"]);
    assert!(log.items.iter().all(|entry| entry.subject == incident.id.to_string()));
    let update = log.items.iter().find(|entry| entry.action == "incident.update").unwrap();
    assert_eq!((&update.before["status"], &update.after["status"]), (&"open".into(), &"resolved".into()));
}

async fn secrets_people_write_are_not_stored(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let request = CreateIncidentRequest {
        title: "Login fails with password=hunter2".to_owned(),
        description: Some("Authorization: Bearer hunter2".to_owned()),
        ..slow()
    };
    let id = services::create_incident(&mut conn, request, None).await.unwrap().id;
    let cause = UpdateIncidentRequest { root_cause: Some("token=hunter2".to_owned()), ..Default::default() };
    services::update_incident(&mut conn, id, cause, None).await.unwrap();
    services::comment_on_incident(&mut conn, id, "db is postgres://u:hunter2@h", None).await.unwrap();
    let incident = services::incident(&mut conn, id).await.unwrap();
    assert_eq!(incident.title, "Login fails with password=[redacted]");
    let comments = services::incident_comments(&mut conn, id, &Page::default()).await.unwrap();
    let log = services::query_audit_log(&mut conn, &Page::default()).await.unwrap();
    let changes = services::incident_changes(&mut conn, id).await.unwrap();
    for stored in [json!(incident), json!(comments.items), json!(log.items), json!(changes)] {
        assert!(!stored.to_string().contains("hunter2"), "{stored}");
    }
}

async fn unknown_incidents_are_not_found(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let id = Uuid::from_u128(9);
    let page = Page::default();
    let errors = [
        services::incident(&mut conn, id).await.unwrap_err(),
        services::update_incident(&mut conn, id, to(IncidentStatus::Closed), None).await.unwrap_err(),
        services::comment_on_incident(&mut conn, id, "x", None).await.unwrap_err(),
        services::incident_comments(&mut conn, id, &page).await.unwrap_err(),
        services::incident_changes(&mut conn, id).await.unwrap_err(),
        services::attach_event(&mut conn, id, &event("x"), None).await.unwrap_err(),
        services::attached_events(&mut conn, id, &page).await.unwrap_err(),
        services::detach_event(&mut conn, id, EventId::at(noon()), None).await.unwrap_err(),
        services::get_incident_timeline(&mut conn, id, None, None).await.unwrap_err(),
    ];
    assert!(
        errors.iter().all(|error| matches!(error, Error::NotFound { what: "incident", .. })),
        "{errors:?}"
    );
}

#[tokio::test]
async fn users_see_their_own_incidents_and_moderators_all() {
    let incident: Incident = serde_json::from_value(json!({
        "id": Uuid::nil(), "title": "x", "severity": "low", "status": "open", "assigned_to": ON_CALL,
        "created_by": BOSS, "started_at": noon(), "created_at": noon(), "updated_at": noon(), "version": 1,
    }))
    .unwrap();
    assert!(Principal::new(BOSS, Role::User).may_see(&incident));
    assert!(Principal::new(ON_CALL, Role::User).may_see(&incident));
    assert!(!Principal::new(Uuid::from_u128(3), Role::User).may_see(&incident));
    assert!(Principal::new(Uuid::from_u128(3), Role::Moderator).may_see(&incident));
}
