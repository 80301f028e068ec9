//! Incidents that alerts open and resolve.

use std::time::Duration;

use monitoring_core::services;
use monitoring_core::{
    AlertState, Incident, IncidentFilter, IncidentSeverity, IncidentStatus, Monitoring, Page, TimelineKind,
    UpdateIncidentRequest,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::run::{Run, Sample};
use crate::support::database::{Database, on_each_database};
use crate::support::until;

on_each_database!(
    a_firing_rule_opens_one_incident_and_resolves_it,
    alerts_that_come_back_soon_go_on_with_the_incident,
    a_closed_incident_stays_closed,
    what_a_person_resolved_stays_resolved,
    what_a_person_resolved_stays_resolved_however_often_it_changed_before,
    a_rule_that_was_not_asked_to_opens_none,
    the_timeline_tells_of_alerts,
    an_incident_ends_with_the_rule_that_opened_it,
    alerts_that_are_told_together_share_an_incident,
    a_group_that_fires_at_many_places_at_once_has_one_incident,
    where_nobody_is_told_each_rule_has_an_incident_of_its_own,
    a_rule_may_leave_its_incident_open,
    a_rule_leaves_its_incident_open_when_it_goes,
    alerts_that_joined_before_groups_were_known_keep_their_incident,
    an_incident_that_nobody_is_told_of_says_why,
    what_was_not_told_of_silences_is_told_once_by_those_who_come_next,
    what_was_not_told_of_silences_is_told_by_whoever_leads_next,
    no_incident_waits_for_what_is_silenced,
    groups_that_fire_at_once_have_their_incidents_at_once,
);

const ONE: &[Sample<'_>] = &[("x", &[("n", "1")], 1.0), ("x", &[("n", "2")], 0.0)];
const BOTH: &[Sample<'_>] = &[("x", &[("n", "1")], 1.0), ("x", &[("n", "2")], 1.0)];
const NONE: &[Sample<'_>] = &[("x", &[("n", "1")], 0.0), ("x", &[("n", "2")], 0.0)];

fn rule() -> Value {
    json!({"name": "Down", "query": "x > 0", "open_incident": true, "severity": "critical",
           "annotations": {"summary": "{{ $labels.n }} is down", "description": "It does not answer."}})
}

async fn incidents(run: &Run) -> Vec<Incident> {
    let (filter, page) = (IncidentFilter::default(), Page::default());
    services::query_incidents(&mut run.fixture.conn().await, &filter, &page).await.unwrap().items
}

async fn change(run: &Run, incident: &Incident, status: IncidentStatus) {
    let request = UpdateIncidentRequest { status: Some(status), ..Default::default() };
    let conn = &mut run.fixture.conn().await;
    services::update_incident(conn, incident.id, request, Some(Uuid::from_u128(7))).await.unwrap();
}

async fn a_firing_rule_opens_one_incident_and_resolves_it(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(rule()).await.id;
    run.minute(ONE).await;
    let opened = incidents(&run).await.remove(0);
    assert_eq!(opened.title, "Down: 1 is down");
    assert_eq!(opened.description.as_deref(), Some("It does not answer."));
    assert_eq!((opened.severity, opened.status), (IncidentSeverity::Critical, IncidentStatus::Open));
    assert_eq!(run.alert(id).await.incident_id, Some(opened.id));
    assert_eq!(run.history(id).await[0].incident_id, Some(opened.id));
    run.minute(BOTH).await;
    assert_eq!(incidents(&run).await.len(), 1);
    let alerts = run.view(id).await.status.alerts;
    assert!(alerts.iter().all(|alert| alert.incident_id == Some(opened.id)), "the second joins it");
    run.minute(ONE).await;
    assert_eq!(incidents(&run).await[0].status, IncidentStatus::Open, "one still fires");
    run.minute(NONE).await;
    let resolved = incidents(&run).await.remove(0);
    assert_eq!(resolved.status, IncidentStatus::Resolved);
    assert_eq!(resolved.resolved_at, Some(run.history(id).await.last().unwrap().at));
}

async fn alerts_that_come_back_soon_go_on_with_the_incident(database: &Database) {
    let run = Run::start(database).await;
    run.rule(rule()).await;
    for samples in [ONE, NONE, ONE] {
        run.minute(samples).await;
    }
    let again = incidents(&run).await;
    assert_eq!((again.len(), again[0].status, again[0].resolved_at), (1, IncidentStatus::Open, None));
    run.minute(NONE).await;
    for _ in 0..17 {
        run.minute(NONE).await;
    }
    run.minute(ONE).await;
    assert_eq!(incidents(&run).await.len(), 2, "much later it is another one");
}

async fn a_closed_incident_stays_closed(database: &Database) {
    let run = Run::start(database).await;
    run.rule(rule()).await;
    run.minute(ONE).await;
    run.minute(NONE).await;
    let first = incidents(&run).await.remove(0);
    change(&run, &first, IncidentStatus::Closed).await;
    run.minute(ONE).await;
    let both = incidents(&run).await;
    let statuses: Vec<_> = both.iter().map(|incident| incident.status).collect();
    assert_eq!(statuses, [IncidentStatus::Open, IncidentStatus::Closed]);
}

async fn what_a_person_resolved_stays_resolved(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(rule()).await.id;
    run.minute(ONE).await;
    let first = incidents(&run).await.remove(0);
    change(&run, &first, IncidentStatus::Resolved).await;
    run.minute(ONE).await;
    assert_eq!(incidents(&run).await[0].status, IncidentStatus::Resolved, "though the alert fires");
    run.minute(BOTH).await;
    assert_eq!(incidents(&run).await.len(), 2, "what fires now is news");
    run.minute(NONE).await;
    let all = incidents(&run).await;
    assert!(all.iter().all(|incident| incident.status == IncidentStatus::Resolved), "{all:?}");
    let log = run.history(id).await;
    assert_eq!(log.iter().filter(|change| change.incident_id == Some(first.id)).count(), 2);
}

async fn what_a_person_resolved_stays_resolved_however_often_it_changed_before(database: &Database) {
    let run = Run::start(database).await;
    run.rule(rule()).await;
    run.minute(ONE).await;
    let (changes, incidents_table) = (database.table("incident_changes"), database.table("incidents"));
    let json = if changes.contains('.') { "::jsonb" } else { "" };
    database
        .execute(format!(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1200)
             INSERT INTO {changes} (incident_id, version, changed_by, changed_at, changes)
             SELECT id, -n, NULL, created_at, '{{\"status\": {{\"to\": \"resolved\"}}}}'{json}
             FROM {incidents_table}, numbers"
        ))
        .await;
    let opened = incidents(&run).await.remove(0);
    change(&run, &opened, IncidentStatus::Resolved).await;
    run.minute(NONE).await;
    run.minute(ONE).await;
    let all = incidents(&run).await;
    assert_eq!(all.len(), 2, "what fires now is news");
    let old = all.iter().find(|incident| incident.id == opened.id).unwrap();
    assert_eq!(old.status, IncidentStatus::Resolved);
}

async fn a_rule_that_was_not_asked_to_opens_none(database: &Database) {
    let run = Run::start(database).await;
    run.rule(json!({"name": "Down", "query": "x > 0"})).await;
    run.minute(ONE).await;
    assert_eq!(incidents(&run).await, []);
}

async fn the_timeline_tells_of_alerts(database: &Database) {
    let run = Run::start(database).await;
    run.rule(json!({"for": "1m", "name": "Down", "query": "x > 0", "open_incident": true})).await;
    run.rule(json!({"name": "Other", "query": "y > 0"})).await;
    run.rule(json!({"name": "Waiting", "query": "x > 0", "for": "1h"})).await;
    run.minute(&[("y", &[], 1.0), ("x", &[], 1.0)]).await;
    run.minute(&[("y", &[], 0.0), ("x", &[], 1.0)]).await;
    run.minute(&[("y", &[], 0.0), ("x", &[], 0.0)]).await;
    let incident = incidents(&run).await.remove(0);
    let conn = &mut run.fixture.conn().await;
    let timeline = services::get_incident_timeline(conn, incident.id, None, None).await.unwrap();
    let told: Vec<_> =
        timeline.entries.iter().map(|entry| (entry.kind, entry.message.as_str(), entry.attached)).collect();
    let (alert, status) = (TimelineKind::Alert, TimelineKind::StatusChange);
    let expected = [
        (alert, "Down is pending {severity=\"medium\"}", false),
        (alert, "Other fires at 1 {severity=\"medium\"}", false),
        (alert, "Down fires at 1 {severity=\"medium\"}", true),
        (alert, "Other is resolved {severity=\"medium\"}", false),
        (status, "incident opened: Down (severity medium)", false),
        (alert, "Down is resolved {severity=\"medium\"}", true),
        (status, "status changed from open to resolved", false),
    ];
    let mut sorted = told.clone();
    sorted.sort_by_key(|line| expected.iter().position(|one| one == line));
    assert_eq!(sorted, expected, "Waiting is about something else, and never fired: {told:?}");
    let times: Vec<_> = timeline.entries.iter().map(|entry| entry.timestamp).collect();
    assert!(times.is_sorted());
    for page in 0..7 {
        let one = services::get_incident_timeline(conn, incident.id, Some(1), Some(page)).await.unwrap();
        assert_eq!(one.entries, [timeline.entries[page as usize].clone()]);
    }
}

async fn an_incident_ends_with_the_rule_that_opened_it(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(rule()).await.id;
    run.minute(ONE).await;
    services::delete_alert_rule(&mut run.fixture.conn().await, id, None, None).await.unwrap();
    run.minute(ONE).await;
    assert_eq!(incidents(&run).await[0].status, IncidentStatus::Resolved);
}

/// Has everything told by cluster, to somebody who never answers.
async fn told_by_cluster(run: &Run) {
    let conn = &mut run.fixture.conn().await;
    let receiver = json!({"name": "team", "type": "webhook", "config": {"url": "http://127.0.0.1:9/"}});
    services::create_receiver(conn, serde_json::from_value(receiver).unwrap(), None).await.unwrap();
    let routing = json!({"receiver": "team", "group_by": ["cluster"]});
    services::put_routing(conn, serde_json::from_value(routing).unwrap(), None, None).await.unwrap();
}

fn of_cluster(name: &str, metric: &str) -> Value {
    json!({"name": name, "group": name, "query": format!("{metric} > 0"), "open_incident": true})
}

async fn statuses(run: &Run) -> Vec<(String, IncidentStatus)> {
    let mut all: Vec<_> =
        incidents(run).await.into_iter().map(|incident| (incident.title, incident.status)).collect();
    all.sort();
    all
}

async fn alerts_that_are_told_together_share_an_incident(database: &Database) {
    let run = Run::start(database).await;
    told_by_cluster(&run).await;
    let down = run.rule(of_cluster("Down", "down")).await.id;
    let slow = run.rule(of_cluster("Slow", "slow")).await.id;
    run.rule(json!({"name": "Other", "query": "slow > 0"})).await;
    let minute = async |down: f64, slow: f64| {
        let [eu, us] = [&[("cluster", "eu")][..], &[("cluster", "us")][..]];
        run.minute(&[("down", eu, down), ("down", us, down), ("slow", eu, slow)]).await
    };
    let (open, resolved) = (IncidentStatus::Open, IncidentStatus::Resolved);
    let of_both = |eu, us| vec![("Down".to_owned(), eu), ("Down".to_owned(), us)];

    minute(1.0, 0.0).await;
    minute(1.0, 1.0).await;
    assert_eq!(statuses(&run).await, of_both(open, open), "one of each cluster");
    let joined = run.alert(slow).await.incident_id;
    let eu = run.view(down).await.status.alerts;
    let eu = eu.iter().find(|alert| alert.labels.value("cluster") == Some("eu")).unwrap();
    assert!(joined.is_some() && joined == eu.incident_id, "of whichever rule, in whichever rule group");

    minute(0.0, 1.0).await;
    assert_eq!(statuses(&run).await, of_both(open, resolved), "one alert of another rule still fires");
    minute(0.0, 0.0).await;
    assert_eq!(statuses(&run).await, of_both(resolved, resolved));
    minute(0.0, 1.0).await;
    assert_eq!(run.alert(slow).await.incident_id, joined, "soon after it goes on, whichever rule fires");
    assert_eq!(statuses(&run).await, of_both(open, resolved));
}

async fn a_group_that_fires_at_many_places_at_once_has_one_incident(database: &Database) {
    let run = Run::start(database).await;
    told_by_cluster(&run).await;
    for n in 0..12 {
        run.rule(of_cluster(&format!("Down {n}"), "down")).await;
    }
    let other = run.another(database).await;
    run.store(&[("down", &[("cluster", "eu")], 1.0), ("down", &[("cluster", "us")], 1.0)]).await;
    run.fixture.clock.advance(super::run::MINUTE);
    tokio::join!(run.evaluate(Value::Null), other.evaluate(Value::Null));
    assert_eq!(incidents(&run).await.len(), 2, "one of each cluster");
    run.store(&[("down", &[("cluster", "eu")], 0.0), ("down", &[("cluster", "us")], 0.0)]).await;
    run.fixture.clock.advance(super::run::MINUTE);
    tokio::join!(run.evaluate(Value::Null), other.evaluate(Value::Null));
    let all = incidents(&run).await;
    assert!(all.iter().all(|incident| incident.status == IncidentStatus::Resolved), "{all:?}");
}

async fn where_nobody_is_told_each_rule_has_an_incident_of_its_own(database: &Database) {
    let run = Run::start(database).await;
    for name in ["Down", "Slow"] {
        run.rule(of_cluster(name, "x")).await;
    }
    run.minute(BOTH).await;
    let open = IncidentStatus::Open;
    assert_eq!(statuses(&run).await, [("Down".to_owned(), open), ("Slow".to_owned(), open)]);
}

async fn a_rule_may_leave_its_incident_open(database: &Database) {
    let run = Run::start(database).await;
    let mut body = rule();
    body["resolve_incident"] = json!(false);
    let id = run.rule(body).await.id;
    run.minute(ONE).await;
    run.minute(NONE).await;
    let left = incidents(&run).await.remove(0);
    assert_eq!(left.status, IncidentStatus::Open);
    for _ in 0..20 {
        run.minute(NONE).await;
    }
    run.minute(BOTH).await;
    assert_eq!(incidents(&run).await.len(), 1, "what fires later joins it all the same");
    let resolves = serde_json::from_value(json!({"resolve_incident": true})).unwrap();
    let changed =
        services::update_alert_rule(&mut run.fixture.conn().await, id, resolves, None).await.unwrap();
    assert!(changed.resolve_incident);
    run.minute(NONE).await;
    assert_eq!(incidents(&run).await[0].status, IncidentStatus::Resolved);
}

async fn a_rule_leaves_its_incident_open_when_it_goes(database: &Database) {
    let run = Run::start(database).await;
    let mut body = rule();
    body["resolve_incident"] = json!(false);
    let mut rules = Vec::new();
    for name in ["Disabled", "Removed"] {
        body["name"] = json!(name);
        rules.push(run.rule(body.clone()).await.id);
    }
    body["name"] = json!("At once");
    body["resolve_incident"] = json!(true);
    rules.push(run.rule(body).await.id);
    run.minute(ONE).await;
    let update = async |id, request: Value| {
        let request = serde_json::from_value(request).unwrap();
        services::update_alert_rule(&mut run.fixture.conn().await, id, request, None).await.unwrap();
    };
    update(rules[0], json!({"enabled": false})).await;
    services::delete_alert_rule(&mut run.fixture.conn().await, rules[1], None, None).await.unwrap();
    update(rules[2], json!({"enabled": false, "resolve_incident": false})).await;
    run.minute(ONE).await;
    for rule in rules {
        assert_eq!(run.history(rule).await.last().unwrap().to, Some(AlertState::Resolved));
    }
    let all = incidents(&run).await;
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|incident| incident.status == IncidentStatus::Open), "{all:?}");
}

async fn alerts_that_joined_before_groups_were_known_keep_their_incident(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(rule()).await.id;
    run.minute(ONE).await;
    let joined = run.alert(id).await.incident_id;
    // As what was there before an upgrade.
    database.execute(format!("DELETE FROM {}", database.table("incident_groups"))).await;
    told_by_cluster(&run).await;
    run.minute(BOTH).await;
    let alerts = run.view(id).await.status.alerts;
    assert!(alerts.iter().all(|alert| alert.incident_id == joined), "{alerts:?}");
    run.minute(NONE).await;
    assert_eq!(statuses(&run).await, [("Down: 1 is down".to_owned(), IncidentStatus::Resolved)]);
}

async fn silence(run: &Run, matcher: &str, duration: &str) {
    let request = json!({"matchers": [matcher], "duration": duration, "author": "bob", "comment": "known"});
    let request = serde_json::from_value(request).unwrap();
    services::create_silence(&mut run.fixture.conn().await, request, None).await.unwrap();
}

/// What the timeline of the one incident tells of silences, and whether they held when it was opened.
async fn silences_told(run: &Run) -> Vec<(String, bool)> {
    let incident = incidents(run).await.remove(0);
    let conn = &mut run.fixture.conn().await;
    let timeline = services::get_incident_timeline(conn, incident.id, None, None).await.unwrap().entries;
    let silences = timeline.into_iter().filter(|entry| entry.kind == TimelineKind::Silence);
    silences.map(|entry| (entry.message, entry.timestamp == incident.started_at)).collect()
}

fn told(line: &str) -> Vec<(String, bool)> {
    vec![(line.to_owned(), true)]
}

async fn an_incident_that_nobody_is_told_of_says_why(database: &Database) {
    let run = Run::start(database).await;
    run.rule(rule()).await;
    silence(&run, "n=1", "2h").await;
    silence(&run, "n=2", "2h").await;
    run.minute(ONE).await;
    let line = "silenced by bob until 2026-06-15 14:00 UTC: {n=\"1\"}: known";
    assert_eq!(silences_told(&run).await, told(line));
    run.minute(ONE).await;
    assert_eq!(silences_told(&run).await, told(line));
}

/// An incident that was opened by somebody who could not tell of the silence any more, which is over by now.
async fn untold(database: &Database) -> Run {
    let run = Run::start(database).await;
    run.rule(rule()).await;
    silence(&run, "n=1", "90s").await;
    let silences = database.table("silences");
    database.execute(format!("ALTER TABLE {silences} RENAME TO away")).await;
    run.minute(ONE).await;
    let away = silences.replace("silences", "away").replace("monitoring_", "");
    let name = silences.trim_start_matches("monitoring.");
    database.execute(format!("ALTER TABLE {away} RENAME TO {name}")).await;
    run.fixture.clock.advance(super::run::MINUTE);
    assert_eq!(silences_told(&run).await, []);
    run
}

const UNTOLD: &str = "silenced by bob until 2026-06-15 12:01 UTC: {n=\"1\"}: known";

async fn what_was_not_told_of_silences_is_told_once_by_those_who_come_next(database: &Database) {
    let run = untold(database).await;
    let (one, two) = (run.another(database).await, run.another(database).await);
    tokio::join!(one.evaluate(Value::Null), two.evaluate(Value::Null), run.evaluate(Value::Null));
    assert_eq!(silences_told(&run).await, told(UNTOLD));
}

async fn what_was_not_told_of_silences_is_told_by_whoever_leads_next(database: &Database) {
    let run = untold(database).await;
    let leader = Monitoring::builder().database_url(database.url()).clock(run.fixture.clock.clone());
    let leader = leader.start().await.unwrap();
    until("the silence is told of", async || silences_told(&run).await == told(UNTOLD)).await;
    leader.shutdown(Duration::from_secs(10)).await;
}

async fn no_incident_waits_for_what_is_silenced(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(rule()).await.id;
    // Whoever asks for silences now is refused, and so is all else in its transaction.
    database.execute(format!("DROP TABLE {}", database.table("silences"))).await;
    run.minute(ONE).await;
    assert_eq!(statuses(&run).await, [("Down: 1 is down".to_owned(), IncidentStatus::Open)]);
    assert_eq!(run.states(id).await, [AlertState::Firing]);
}

/// Writes down each statement that adds to these tables, or would if nothing was there; only PostgreSQL can.
async fn count_insertions(database: &Database, tables: [&str; 2]) {
    let mut sql = String::from(
        "CREATE TABLE public.insertions (into_table text);
         CREATE FUNCTION public.count_insertion() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO public.insertions VALUES (TG_TABLE_NAME); RETURN NULL; END $$;",
    );
    for table in tables {
        sql += &format!(
            "CREATE TRIGGER count_insertions AFTER INSERT ON {}
             FOR EACH STATEMENT EXECUTE FUNCTION public.count_insertion();",
            database.table(table)
        );
    }
    database.execute(sql).await;
}

async fn groups_that_fire_at_once_have_their_incidents_at_once(database: &Database) {
    const CLUSTERS: usize = 250;
    let run = Run::start(database).await;
    told_by_cluster(&run).await;
    run.rule(of_cluster("Down", "down")).await;
    let is_counted = database.table("incidents").contains('.');
    if is_counted {
        count_insertions(database, ["incidents", "incident_changes"]).await;
    }
    let names: Vec<_> = (0..CLUSTERS).map(|n| format!("c{n}")).collect();
    let labels: Vec<_> = names.iter().map(|name| [("cluster", name.as_str())]).collect();
    let samples = |value| labels.iter().map(move |labels| ("down", &labels[..], value)).collect::<Vec<_>>();
    run.minute(&samples(1.0)).await;
    let number = |table: &str| database.number(format!("SELECT count(*) FROM {table}"));
    assert_eq!(number(&database.table("incidents")).await, CLUSTERS as i64);
    assert_eq!(number(&database.table("incident_changes")).await, CLUSTERS as i64);
    let statements = async |expected| {
        if is_counted {
            assert_eq!(number("public.insertions").await, expected, "however many there are");
        }
    };
    statements(2).await;
    for (value, status, written) in [(0.0, IncidentStatus::Resolved, 4), (1.0, IncidentStatus::Open, 6)] {
        run.minute(&samples(value)).await;
        statements(written).await;
        let (filter, page) = (IncidentFilter::default(), Page::first(1_000));
        let conn = &mut run.fixture.conn().await;
        let all = services::query_incidents(conn, &filter, &page).await.unwrap().items;
        assert_eq!(all.iter().filter(|incident| incident.status == status).count(), CLUSTERS);
    }
}
