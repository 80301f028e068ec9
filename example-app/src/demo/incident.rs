//! The incident the alert opened: what changed, what people did, how it ended.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::DemoError;
use super::print::{Screen, Tone, WIDTH, wrap};
use super::story::Cast;
use super::table::{self, Row};
use super::traffic::text;
use crate::app::MONITORING_PATH;

/// Findings worth showing.
const FINDINGS: usize = 3;
/// Entries of a timeline that are asked for at once.
const PAGE: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes the incident on, asks what changed, and answers with its path.
pub(super) async fn what_changed(
    cast: &Cast,
    events: &[Value],
    screen: &mut Screen,
) -> Result<String, DemoError> {
    screen.chapter("The incident, and what changed")?;
    let incident = opened(cast).await?;
    take_on(cast, &incident, events).await?;
    let analysis = cast.on_call.post(&format!("{incident}/analyze"), json!({})).await?.data(201)?;
    let findings = analysis["findings"].as_array().filter(|findings| !findings.is_empty());
    let findings = findings.ok_or(DemoError::Missing("what changed"))?;
    screen.say("The alert has opened one by itself. The person on call takes it on, attaches")?;
    screen.say("the failed payment's alert, and asks what changed when it began, and where:")?;
    screen.gap()?;
    screen.command(&format!("POST …{}/analyze", incident.trim_start_matches(MONITORING_PATH)))?;
    screen.gap()?;
    for (finding, place) in findings.iter().zip(1..=FINDINGS) {
        let tone = if place == 1 { Tone::Strong } else { Tone::Plain };
        for (index, line) in wrap(&text(&finding["summary"]), WIDTH - 8).iter().enumerate() {
            let number = if index == 0 { format!("{place}. ") } else { "   ".to_owned() };
            screen.line(&[(&number, Tone::Faint), (line, tone)])?;
        }
    }
    Ok(incident)
}

/// The path of the one incident there is.
async fn opened(cast: &Cast) -> Result<String, DemoError> {
    let incidents = format!("{MONITORING_PATH}/incidents");
    let found = cast.on_call.get(&incidents).await?.data(200)?;
    let id = found[0]["id"].as_str().ok_or(DemoError::Missing("the incident"))?;
    Ok(format!("{incidents}/{id}"))
}

async fn take_on(cast: &Cast, incident: &str, events: &[Value]) -> Result<(), DemoError> {
    let on_call = &cast.on_call;
    on_call.put(incident, json!({ "status": "investigating" })).await?.expect(200)?;
    let alert = events.iter().find(|event| event["event_type"] == "alert");
    let alert = alert.ok_or(DemoError::Missing("the payment's alert"))?;
    let attach = json!({ "event_id": alert["id"] });
    on_call.post(&format!("{incident}/events"), attach).await?.expect(201)?;
    let comment = json!({ "body": "Only the gateway fails; orders are fine." });
    on_call.post(&format!("{incident}/comments"), comment).await?.expect(201).map(drop)
}

pub(super) async fn the_timeline(cast: &Cast, incident: &str, screen: &mut Screen) -> Result<(), DemoError> {
    screen.chapter("The whole story")?;
    resolved(cast, incident).await?;
    let entries = timeline(cast, incident).await?;
    screen.say("The incident is resolved, and its timeline has all of it. Of its")?;
    screen.say(&format!("{} entries, those that matter:", entries.len()))?;
    screen.gap()?;
    screen.command(&format!("GET …{}/timeline", incident.trim_start_matches(MONITORING_PATH)))?;
    screen.gap()?;
    let rows: Vec<Row> =
        entries.iter().filter(|entry| matters(entry)).map(|entry| Row::timeline(entry).brief()).collect();
    table::print(screen, &rows)
}

/// All of the timeline, page by page.
async fn timeline(cast: &Cast, incident: &str) -> Result<Vec<Value>, DemoError> {
    let mut entries = Vec::new();
    loop {
        let path = format!("{incident}/timeline?limit={PAGE}&offset={}", entries.len());
        let mut page = cast.on_call.get(&path).await?.data(200)?;
        let page = page["entries"].as_array_mut().ok_or(DemoError::Missing("the timeline"))?;
        let is_last = page.len() < PAGE;
        entries.append(page);
        if is_last {
            return Ok(entries);
        }
    }
}

/// Waits until the end of the alert has ended the incident.
async fn resolved(cast: &Cast, incident: &str) -> Result<(), DemoError> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if cast.on_call.get(incident).await?.data(200)?["status"] == "resolved" {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(DemoError::Missing("the end of the incident"))
}

/// What the alert did, what people did about it, what was found.
fn matters(entry: &Value) -> bool {
    let is_of_service = entry["kind"] == "event" || entry["source"] == "payment-service";
    entry["attached"] == true || !is_of_service
}
