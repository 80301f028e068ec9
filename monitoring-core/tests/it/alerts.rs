//! Alert rules are checked, stored, changed by one at a time, and every change is on record.

use monitoring_core::{
    AlertFilter, AlertRuleId, CreateAlertRequest, DEFAULT_GROUP, Error, Fallback, IncidentSeverity, Page,
    UpdateAlertRequest, services,
};
use uuid::Uuid;

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon};

on_each_database!(
    a_rule_reads_back_as_it_was_created,
    a_broken_query_is_refused_with_its_position_and_nothing_is_stored,
    a_name_belongs_to_one_rule,
    a_rule_can_be_changed_disabled_and_deleted,
    an_update_of_an_old_version_is_refused,
    null_takes_back_what_a_rule_need_not_have,
    updates_at_the_same_time_all_survive,
    every_change_is_on_the_audit_log,
    secrets_in_texts_of_a_rule_are_not_stored,
    rules_are_found_by_state_severity_and_text,
    rules_have_an_owner,
    rules_are_paged_by_cursor,
);

const ACTOR: Uuid = Uuid::from_u128(7);

fn cpu(name: &str) -> CreateAlertRequest {
    CreateAlertRequest {
        name: name.to_owned(),
        group: DEFAULT_GROUP.to_owned(),
        description: Some("CPU usage above 80% for more than 5 minutes".to_owned()),
        query: "cpu_usage > 80".to_owned(),
        threshold_value: Some(80.0),
        for_seconds: 300,
        keep_firing_for_seconds: 60,
        on_no_data: Fallback::Ok,
        on_error: Fallback::Keep,
        severity: IncidentSeverity::High,
        owner: Some("payments".to_owned()),
        labels: [("team".to_owned(), "core".to_owned())].into(),
        annotations: [("summary".to_owned(), "{{ $value }} %".to_owned())].into(),
        enabled: true,
        open_incident: true,
        resolve_incident: false,
    }
}

fn all() -> (AlertFilter, Page) {
    (AlertFilter::default(), Page::default())
}

async fn a_rule_reads_back_as_it_was_created(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let created = services::create_alert_rule(&mut conn, cpu("High CPU Usage"), Some(ACTOR)).await.unwrap();
    assert_eq!(created.version, 1);
    assert_eq!(created.created_by, Some(ACTOR));
    assert_eq!(created.created_at, noon());
    assert_eq!(created.annotations.value("summary"), Some("{{ $value }} %"));
    assert_eq!(services::alert_rule(&mut conn, created.id).await.unwrap(), created);
    let unknown = services::alert_rule(&mut conn, Uuid::from_u128(1)).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { what: "alert rule", .. }));
}

async fn a_broken_query_is_refused_with_its_position_and_nothing_is_stored(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let request = CreateAlertRequest { query: "rate(x[5m]) >".to_owned(), ..cpu("broken") };
    let error = services::create_alert_rule(&mut conn, request, None).await.unwrap_err();
    let Error::Invalid(invalid) = error else { panic!("{error}") };
    assert_eq!(invalid.errors()[0].field, "query");
    assert!(invalid.errors()[0].message.contains("line 1, column 14"), "{invalid}");
    let (filter, page) = all();
    assert!(services::query_alert_rules(&mut conn, &filter, &page).await.unwrap().items.is_empty());
    assert!(services::query_audit_log(&mut conn, &page).await.unwrap().items.is_empty());
}

async fn a_name_belongs_to_one_rule(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    services::create_alert_rule(&mut conn, cpu("one"), None).await.unwrap();
    let two = services::create_alert_rule(&mut conn, cpu("two"), None).await.unwrap();
    let again = services::create_alert_rule(&mut conn, cpu(" one "), None).await.unwrap_err();
    assert!(matches!(&again, Error::AlreadyExists { name, .. } if name == "one"), "{again}");
    let rename = UpdateAlertRequest { name: Some("one".to_owned()), ..Default::default() };
    let renamed = services::update_alert_rule(&mut conn, two.id, rename, None).await.unwrap_err();
    assert!(matches!(renamed, Error::AlreadyExists { .. }), "{renamed}");
    // The connection is fine afterwards, and only the two creations are on record.
    let log = services::query_audit_log(&mut conn, &Page::default()).await.unwrap();
    assert_eq!(log.items.len(), 2);
}

async fn a_rule_can_be_changed_disabled_and_deleted(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let id = services::create_alert_rule(&mut conn, cpu("cpu"), None).await.unwrap().id;
    fixture.clock.advance(std::time::Duration::from_secs(60));
    let request = UpdateAlertRequest {
        enabled: Some(false),
        query: Some("cpu_usage > 90".to_owned()),
        description: Some(String::new()),
        ..Default::default()
    };
    let changed = services::update_alert_rule(&mut conn, id, request.clone(), None).await.unwrap();
    assert_eq!((changed.version, changed.enabled, changed.query.as_str()), (2, false, "cpu_usage > 90"));
    assert_eq!(changed.description, None);
    assert!(changed.updated_at > changed.created_at);
    assert_eq!(services::alert_rule(&mut conn, id).await.unwrap(), changed);
    let same = services::update_alert_rule(&mut conn, id, request, None).await.unwrap();
    assert_eq!(same.version, 2, "what is already so is no change");
    services::delete_alert_rule(&mut conn, id, None, None).await.unwrap();
    for error in [
        services::alert_rule(&mut conn, id).await.unwrap_err(),
        services::delete_alert_rule(&mut conn, id, None, None).await.unwrap_err(),
        services::update_alert_rule(&mut conn, id, UpdateAlertRequest::default(), None).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
}

async fn an_update_of_an_old_version_is_refused(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let id = services::create_alert_rule(&mut conn, cpu("cpu"), None).await.unwrap().id;
    let at = |version, enabled| UpdateAlertRequest {
        version: Some(version),
        enabled: Some(enabled),
        ..Default::default()
    };
    services::update_alert_rule(&mut conn, id, at(1, false), None).await.unwrap();
    let error = services::update_alert_rule(&mut conn, id, at(1, true), None).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { expected: 1, current: 2, .. }), "{error}");
    assert!(!services::alert_rule(&mut conn, id).await.unwrap().enabled);
    let error = services::delete_alert_rule(&mut conn, id, Some(1), None).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { expected: 1, current: 2, .. }), "{error}");
    services::delete_alert_rule(&mut conn, id, Some(2), None).await.unwrap();
}

async fn null_takes_back_what_a_rule_need_not_have(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let request = CreateAlertRequest {
        description: Some("why".to_owned()),
        threshold_value: Some(80.0),
        for_seconds: 60,
        keep_firing_for_seconds: 30,
        labels: [("team".to_owned(), "core".to_owned())].into(),
        annotations: [("summary".to_owned(), "s".to_owned())].into(),
        ..cpu("cpu")
    };
    let full = services::create_alert_rule(&mut conn, request, None).await.unwrap();
    let absent: UpdateAlertRequest = serde_json::from_str("{}").unwrap();
    assert_eq!(services::update_alert_rule(&mut conn, full.id, absent, None).await.unwrap(), full);
    let nulls = serde_json::json!({
        "description": null, "threshold_value": null, "for": null, "keep_firing_for": null, "owner": null,
        "labels": null, "annotations": null,
    });
    let nulls: UpdateAlertRequest = serde_json::from_value(nulls).unwrap();
    services::update_alert_rule(&mut conn, full.id, nulls, None).await.unwrap();
    let bare = services::alert_rule(&mut conn, full.id).await.unwrap();
    assert_eq!((&bare.description, bare.threshold_value, &bare.owner), (&None, None, &None));
    assert_eq!((bare.for_seconds, bare.keep_firing_for_seconds), (0, 0));
    assert_eq!((bare.labels.is_empty(), bare.annotations.is_empty()), (true, true));
    assert_eq!((&bare.name, &bare.query, bare.severity), (&full.name, &full.query, full.severity));
    for field in ["name", "query", "severity", "enabled", "open_incident", "resolve_incident"] {
        let error =
            serde_json::from_value::<UpdateAlertRequest>(serde_json::json!({field: null})).unwrap_err();
        assert!(error.to_string().contains("null"), "{field}: {error}");
    }
}

async fn updates_at_the_same_time_all_survive(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = services::create_alert_rule(&mut fixture.conn().await, cpu("cpu"), None).await.unwrap().id;
    let update = |request| {
        let fixture = &fixture;
        async move { services::update_alert_rule(&mut fixture.conn().await, id, request, None).await }
    };
    let (one, two, three) = tokio::join!(
        update(UpdateAlertRequest { enabled: Some(false), ..Default::default() }),
        update(UpdateAlertRequest { threshold_value: Some(Some(1.5)), ..Default::default() }),
        update(UpdateAlertRequest { for_seconds: Some(7), ..Default::default() }),
    );
    let mut versions = [one.unwrap().version, two.unwrap().version, three.unwrap().version];
    versions.sort_unstable();
    assert_eq!(versions, [2, 3, 4]);
    let rule = services::alert_rule(&mut fixture.conn().await, id).await.unwrap();
    assert_eq!((rule.enabled, rule.threshold_value, rule.for_seconds), (false, Some(1.5), 7));
}

async fn every_change_is_on_the_audit_log(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let id = services::create_alert_rule(&mut conn, cpu("cpu"), Some(ACTOR)).await.unwrap().id;
    let request = UpdateAlertRequest { enabled: Some(false), ..Default::default() };
    for (n, action) in ["create", "update", "delete"].iter().enumerate() {
        fixture.clock.advance(std::time::Duration::from_secs(1));
        match n {
            1 => {
                drop(services::update_alert_rule(&mut conn, id, request.clone(), Some(ACTOR)).await.unwrap())
            }
            2 => services::delete_alert_rule(&mut conn, id, Some(2), Some(ACTOR)).await.unwrap(),
            _ => {}
        }
        let log = services::query_audit_log(&mut conn, &Page::first(1)).await.unwrap();
        let entry = &log.items[0];
        assert_eq!(entry.action, format!("alert_rule.{action}"));
        assert_eq!((entry.actor, entry.subject.clone()), (Some(ACTOR), id.to_string()));
        assert_eq!(entry.before.is_null(), n == 0, "{entry:?}");
        assert_eq!(entry.after.is_null(), n == 2, "{entry:?}");
        if n == 1 {
            assert_eq!((&entry.before["enabled"], &entry.after["enabled"]), (&true.into(), &false.into()));
        }
    }
}

async fn secrets_in_texts_of_a_rule_are_not_stored(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let mut request = cpu("cpu");
    request.description = Some("page with token=abc123\0".to_owned());
    request.annotations.insert("runbook".to_owned(), "https://u:hunter2@wiki/x".to_owned());
    let rule = services::create_alert_rule(&mut conn, request, None).await.unwrap();
    assert_eq!(rule.description.as_deref(), Some("page with token=[redacted]"));
    assert_eq!(rule.annotations.value("runbook"), Some("https://u:[redacted]@wiki/x"));
    assert_eq!(services::alert_rule(&mut conn, rule.id).await.unwrap(), rule);
}

async fn rules_are_found_by_state_severity_and_text(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    for (name, enabled, severity) in [
        ("Disk 100%_full", true, IncidentSeverity::High),
        ("Disk slow", false, IncidentSeverity::High),
        ("Queue", true, IncidentSeverity::Low),
    ] {
        fixture.clock.advance(std::time::Duration::from_secs(1));
        let request = CreateAlertRequest { enabled, severity, ..cpu(name) };
        services::create_alert_rule(&mut conn, request, None).await.unwrap();
    }
    let mut names = async |enabled, severity, text: Option<&str>| {
        let mut filter = AlertFilter::default();
        (filter.enabled, filter.severity, filter.text) = (enabled, severity, text.map(str::to_owned));
        let slice = services::query_alert_rules(&mut conn, &filter, &Page::default()).await.unwrap();
        slice.items.into_iter().map(|rule| rule.name).collect::<Vec<_>>()
    };
    assert_eq!(names(None, None, None).await, ["Queue", "Disk slow", "Disk 100%_full"]);
    assert_eq!(names(Some(true), None, None).await, ["Queue", "Disk 100%_full"]);
    assert_eq!(names(None, Some(IncidentSeverity::High), None).await, ["Disk slow", "Disk 100%_full"]);
    assert_eq!(names(None, None, Some("DISK")).await, ["Disk slow", "Disk 100%_full"]);
    assert_eq!(names(None, None, Some("0%_f")).await, ["Disk 100%_full"], "no wildcards");
    assert_eq!(names(None, None, Some("cpu_usage")).await.len(), 3, "the query counts");
    assert_eq!(names(Some(false), Some(IncidentSeverity::Low), None).await, [""; 0]);
}

async fn rules_have_an_owner(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let mut ids = Vec::new();
    for (name, owner) in [("a", "payments"), ("b", " Ann "), ("c", " ")] {
        let request = CreateAlertRequest { owner: Some(owner.to_owned()), ..cpu(name) };
        ids.push(services::create_alert_rule(&mut conn, request, None).await.unwrap().id);
    }
    let mut of = async |owner: &str| {
        let mut filter = AlertFilter::default();
        filter.owner = Some(owner.to_owned());
        let slice = services::query_alert_rules(&mut conn, &filter, &Page::default()).await.unwrap();
        slice.items.into_iter().map(|rule| rule.name).collect::<Vec<_>>()
    };
    assert_eq!((of("payments").await, of("Ann").await), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_eq!(services::alert_rule(&mut conn, ids[2]).await.unwrap().owner, None, "nobody is no owner");

    let change = UpdateAlertRequest { owner: Some("billing".to_owned()), ..Default::default() };
    fixture.clock.advance(std::time::Duration::from_secs(1));
    services::update_alert_rule(&mut conn, ids[0], change, Some(ACTOR)).await.unwrap();
    let log = services::query_audit_log(&mut conn, &Page::first(1)).await.unwrap();
    let (before, after) = (&log.items[0].before["owner"], &log.items[0].after["owner"]);
    assert_eq!((before, after), (&"payments".into(), &"billing".into()));

    let file = services::export_rules(&mut conn).await.unwrap();
    assert!(file.contains("monitoring_owner: billing"), "{file}");
    let again = services::import_rules(&mut conn, &file, None).await.unwrap();
    assert_eq!((again.unchanged, again.updated), (3, 0), "{file}");
    let moved = file.replace("monitoring_owner: billing", "monitoring_owner: orders");
    assert_eq!(services::import_rules(&mut conn, &moved, None).await.unwrap().updated, 1);
    assert_eq!(services::alert_rule(&mut conn, ids[0]).await.unwrap().owner.as_deref(), Some("orders"));
}

async fn rules_are_paged_by_cursor(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    for n in 0..5 {
        services::create_alert_rule(&mut conn, cpu(&format!("rule {n}")), None).await.unwrap();
    }
    let mut seen: Vec<AlertRuleId> = Vec::new();
    let mut page = Page::first(2);
    loop {
        let slice = services::query_alert_rules(&mut conn, &AlertFilter::default(), &page).await.unwrap();
        seen.extend(slice.items.iter().map(|rule| rule.id));
        match slice.pagination.next_cursor {
            Some(cursor) => page.after = Some(cursor.parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "all of one instant, newest id first");
}
