//! `/incidents/{id}/timeline`

use serde_json::json;

use crate::support::{ALICE, BOB, MODERATOR, Service, Somebody, on_both_databases};

on_both_databases! {
    the_timeline_tells_of_events_and_of_what_people_did
    opening_an_incident_does_not_show_plain_users_the_events_of_others
    own_events_are_all_shown_however_many_there_are
    the_timeline_is_paged
}

async fn send_event(service: &Service, who: Somebody, message: &str) -> String {
    let request = json!({"event_type": "log", "source": "api", "message": message});
    service.post("/events", who, request).await.data()["id"].as_str().unwrap().to_owned()
}

async fn open(service: &Service, who: Somebody) -> String {
    let incident = service.post("/incidents", who, json!({"title": "t", "severity": "low"})).await.data();
    format!("/incidents/{}", incident["id"].as_str().unwrap())
}

async fn messages(service: &Service, path: &str, who: Somebody) -> Vec<String> {
    let timeline = service.get(&format!("{path}/timeline"), who).await.data();
    let entries = timeline["entries"].as_array().unwrap();
    assert_eq!(timeline["pagination"]["count"], entries.len());
    let events = entries.iter().filter(|entry| entry["kind"] == "event");
    events.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
}

async fn the_timeline_tells_of_events_and_of_what_people_did(service: &Service) {
    send_event(service, ALICE, "before").await;
    let path = open(service, ALICE).await;
    service.post(&format!("{path}/comments"), ALICE, json!({"body": "looking"})).await.data();
    service.put(&path, ALICE, json!({"status": "investigating"})).await.data();
    let timeline = service.get(&format!("{path}/timeline?limit=100"), ALICE).await.data();
    let kinds: Vec<_> =
        timeline["entries"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["event", "status_change", "comment", "status_change"]);
}

async fn opening_an_incident_does_not_show_plain_users_the_events_of_others(service: &Service) {
    send_event(service, ALICE, "alice's").await;
    send_event(service, BOB, "bob's secret").await;
    let shared = send_event(service, BOB, "bob's, shared").await;
    let path = open(service, ALICE).await;
    assert_eq!(messages(service, &path, MODERATOR).await, ["alice's", "bob's secret", "bob's, shared"]);
    assert_eq!(messages(service, &path, ALICE).await, ["alice's"]);
    service.post(&format!("{path}/events"), MODERATOR, json!({"event_id": shared})).await.data();
    assert_eq!(messages(service, &path, ALICE).await, ["alice's", "bob's, shared"]);
}

/// Between two lines of a page may lie any number of events that are not on it: what people did is
/// told whenever it happened, and the window ends with the resolution.
async fn own_events_are_all_shown_however_many_there_are(service: &Service) {
    send_event(service, ALICE, "before").await;
    let path = open(service, ALICE).await;
    service.put(&path, ALICE, json!({"status": "resolved"})).await.data();
    let after = |n| json!({"event_type": "log", "source": "api", "message": format!("after {n}")});
    service.post("/events", ALICE, (0..1_001).map(after).collect()).await.data();
    service.post(&format!("{path}/comments"), ALICE, json!({"body": "over"})).await.data();
    assert_eq!(messages(service, &path, ALICE).await, ["before"]);
}

async fn the_timeline_is_paged(service: &Service) {
    for n in 0..3 {
        send_event(service, ALICE, &n.to_string()).await;
    }
    let path = open(service, ALICE).await;
    let page = service.get(&format!("{path}/timeline?limit=2&offset=1"), ALICE).await.data();
    let messages: Vec<_> =
        page["entries"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["1", "2"]);
    assert_eq!(page["pagination"]["has_more"], true);
    let bad = service.get(&format!("{path}/timeline?limit=0"), ALICE).await;
    assert_eq!(bad.invalid_fields(), ["limit"]);
}
