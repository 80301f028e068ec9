//! What happens, in order, and what is worth showing of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::DemoError;
use super::client::Client;
use super::print::{Screen, Tone, WIDTH, cut, wrap};
use super::scrape;
use super::stage::Stage;
use super::table::{self, Row};
use super::traffic::{self, Customer, Tally, log_in, text};
use crate::app::MONITORING_PATH;

const CUSTOMERS: [&str; 3] = ["ada", "bob", "cleo"];
const ON_CALL: &str = "dana";
const MORNING_BASKETS: usize = 4;
const OUTAGE_BASKETS: usize = 2;
/// Layers hand over without waiting; what they saw is stored a moment later.
const PATIENCE: Duration = Duration::from_secs(10);
/// What one failed payment leaves behind: the request, the gateway's error, its two spans, the
/// payment's alert.
const EVENTS_OF_A_FAILURE: usize = 5;

/// Who is who, once everybody is there.
struct Cast {
    customers: Vec<Customer>,
    admin: Client,
    on_call: Client,
}

/// From the first customer to the resolved incident.
pub(super) async fn tell(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    screen.title("A shop that monitors itself")?;
    screen.say("The shop, its job queue and its monitoring run in this process and share one")?;
    screen.say("database. Everything below went over real sockets.")?;
    screen.gap()?;
    screen.line(&[("listens on  ", Tone::Faint), (&stage.client.address().to_string(), Tone::Plain)])?;
    screen.line(&[("database    ", Tone::Faint), (&cut(&stage.database, WIDTH - 14), Tone::Plain)])?;

    let cast = a_good_morning(stage, screen).await?;
    let tally = the_gateway_breaks(&cast, screen).await?;
    let (who, request_id) = tally.failed.first().ok_or(DemoError::Missing("a failed payment"))?;
    let events = one_failed_request(&cast, who, request_id, screen).await?;
    the_incident(&cast, &events, screen).await?;
    the_scrape(&cast, screen).await?;
    the_figures(&cast, screen).await
}

async fn a_good_morning(stage: &Stage, screen: &mut Screen) -> Result<Cast, DemoError> {
    screen.chapter("A good morning")?;
    let shop = &stage.client;
    let began = Instant::now();
    let admin = log_in(shop, &stage.admin, &stage.admin_password).await?;
    let mut customers = traffic::arrive(shop, &[CUSTOMERS.as_slice(), &[ON_CALL]].concat()).await?;
    let on_call = customers.pop().ok_or(DemoError::Missing("the person on call"))?;
    let path = format!("/api/v1/users/{}/role", on_call.id);
    admin.put(&path, json!({ "role": "moderator" })).await?.expect(200)?;
    traffic::guess_password(shop, &customers[1]).await?;
    let tally = traffic::shop(&customers, MORNING_BASKETS).await?;
    traffic::try_empty_card(&customers[2]).await?;
    screen
        .say(&format!("{} register, log in and buy coffee; {ON_CALL} is on call.", CUSTOMERS.join(", ")))?;
    screen.say(&format!(
        "{} payments went through in {:.1} s. Somebody guessed at bob's password, and one",
        tally.captured,
        began.elapsed().as_secs_f64(),
    ))?;
    screen.say("of cleo's cards was empty: trouble of the everyday kind.")?;
    Ok(Cast { customers, admin, on_call: on_call.client })
}

async fn the_gateway_breaks(cast: &Cast, screen: &mut Screen) -> Result<Tally, DemoError> {
    screen.chapter("The payment gateway breaks")?;
    let faults = json!({ "gateway_delay_ms": 150, "gateway_failure_ratio": 0.5 });
    screen.command("PUT /api/v1/faults")?;
    screen.command(&faults.to_string())?;
    screen.gap()?;
    cast.admin.put("/api/v1/faults", faults).await?.expect(200)?;
    let tally = traffic::shop(&cast.customers, OUTAGE_BASKETS).await?;
    screen.line(&[
        (&format!("Of {} more payments {} failed", tally.payments(), tally.failed.len()), Tone::Bad),
        (" with 502 Bad Gateway.", Tone::Plain),
    ])?;
    Ok(tally)
}

async fn one_failed_request(
    cast: &Cast,
    who: &str,
    request_id: &str,
    screen: &mut Screen,
) -> Result<Vec<Value>, DemoError> {
    screen.chapter("From one failed request to its cause")?;
    screen.say(&format!("{who} complains. The answer carried this id, in the header x-request-id:"))?;
    screen.gap()?;
    screen.command(request_id)?;
    screen.gap()?;
    screen.say("One query finds what every layer knows of it: the spans and logs that came")?;
    screen.say("through `tracing`, the alert the payment service committed with its own")?;
    screen.say("transaction, the request as the middleware saw it.")?;
    screen.gap()?;
    screen.command(&format!("GET …/events?request_id={request_id}"))?;
    screen.gap()?;
    let events = events_of(&cast.on_call, request_id).await?;
    let rows: Vec<Row> = events.iter().map(Row::event).collect();
    table::print(screen, &rows)?;
    Ok(events)
}

/// The events of a request, oldest first, once all of them have arrived.
async fn events_of(client: &Client, request_id: &str) -> Result<Vec<Value>, DemoError> {
    let path = format!("{MONITORING_PATH}/events?request_id={request_id}");
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let events = client.get(&path).await?.data(200)?;
        let mut events = events.as_array().cloned().unwrap_or_default();
        if events.len() >= EVENTS_OF_A_FAILURE {
            events.reverse();
            return Ok(events);
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(DemoError::Missing("everything about the failed request"))
}

async fn the_incident(cast: &Cast, events: &[Value], screen: &mut Screen) -> Result<(), DemoError> {
    screen.chapter("The incident")?;
    let incidents = format!("{MONITORING_PATH}/incidents");
    let opened = json!({
        "title": "Payments fail",
        "description": "Every second payment answers 502.",
        "severity": "high",
    });
    let incident = cast.on_call.post(&incidents, opened).await?.data(201)?;
    let incident = format!("{incidents}/{}", text(&incident["id"]));
    work_on(cast, &incident, events).await?;
    let timeline = cast.on_call.get(&format!("{incident}/timeline?limit=1000")).await?.data(200)?;
    let entries = timeline["entries"].as_array().ok_or(DemoError::Missing("the timeline"))?;
    screen.say(&format!("{ON_CALL} opens it, attaches the alert, finds the cause; the gateway recovers;"))?;
    screen.say("resolved. Its timeline reaches back an hour before it was opened. Of its")?;
    screen.say(&format!("{} entries, those that matter:", entries.len()))?;
    screen.gap()?;
    screen.command(&format!("GET …{}/timeline", incident.trim_start_matches(MONITORING_PATH)))?;
    screen.gap()?;
    let rows: Vec<Row> =
        entries.iter().filter(|entry| matters(entry)).map(|entry| Row::timeline(entry).brief()).collect();
    table::print(screen, &rows)
}

/// Investigates an incident, mends the gateway, resolves.
async fn work_on(cast: &Cast, incident: &str, events: &[Value]) -> Result<(), DemoError> {
    let on_call = &cast.on_call;
    on_call.put(incident, json!({ "status": "investigating" })).await?.expect(200)?;
    let alert = events.iter().find(|event| event["event_type"] == "alert");
    let alert = alert.ok_or(DemoError::Missing("the payment's alert"))?;
    let attach = json!({ "event_id": alert["id"] });
    on_call.post(&format!("{incident}/events"), attach).await?.expect(201)?;
    let comment = json!({ "body": "Only the gateway fails; orders are fine." });
    on_call.post(&format!("{incident}/comments"), comment).await?.expect(201)?;
    cast.admin.put("/api/v1/faults", json!({})).await?.expect(200)?;
    traffic::shop(&cast.customers, 1).await?;
    let resolved = json!({ "status": "resolved", "root_cause": "The payment gateway was failing." });
    on_call.put(incident, resolved).await?.expect(200).map(drop)
}

/// Trouble, and what people did about it.
fn matters(entry: &Value) -> bool {
    entry["kind"] != "event"
        || entry["attached"] == true
        || matches!(entry["level"].as_str(), Some("warn" | "error" | "critical"))
}

async fn the_scrape(cast: &Cast, screen: &mut Screen) -> Result<(), DemoError> {
    screen.chapter("What Prometheus sees")?;
    let path = format!("{MONITORING_PATH}/metrics/prometheus");
    screen.command(&format!("GET {path}"))?;
    screen.gap()?;
    let scrape = cast.on_call.get(&path).await?.expect(200)?.text();
    for line in scrape::excerpt(&scrape) {
        let tone = if line.starts_with('#') { Tone::Faint } else { Tone::Plain };
        for (index, part) in wrap(line, WIDTH - 6).iter().enumerate() {
            screen.line(&[(if index == 0 { "" } else { "    " }, Tone::Plain), (part, tone)])?;
        }
    }
    screen.line(&[(&format!("… {} lines in all", scrape.lines().count()), Tone::Faint)])
}

async fn the_figures(cast: &Cast, screen: &mut Screen) -> Result<(), DemoError> {
    screen.chapter("In figures")?;
    screen.command(&format!("GET {MONITORING_PATH}/stats"))?;
    screen.gap()?;
    let stats = cast.on_call.get(&format!("{MONITORING_PATH}/stats")).await?.data(200)?;
    let figures = [
        ("events", "total_events"),
        ("metric samples", "total_metrics"),
        ("alerts firing", "active_alerts"),
        ("open incidents", "open_incidents"),
    ];
    for (name, field) in figures {
        screen
            .line(&[(&format!("{name:16}"), Tone::Faint), (&format!("{:>6}", stats[field]), Tone::Plain)])?;
    }
    Ok(())
}

/// What to try next, once the shop is closed.
pub(super) fn farewell(screen: &mut Screen, took: Duration) -> Result<(), DemoError> {
    screen.heading("Your turn")?;
    screen.say(&format!(
        "That took {:.0} s; the shop has stopped in order and its telemetry is all",
        took.as_secs_f64()
    ))?;
    screen.say("written. Start it for yourself; it prints the administrator's password:")?;
    screen.gap()?;
    screen.command("cargo run -p example-app")?;
    screen.gap()?;
    screen.say("Then, in another terminal:")?;
    screen.gap()?;
    screen.command("API=http://127.0.0.1:3000/api/v1")?;
    screen.command("TOKEN=$(curl -s $API/auth/login -H content-type:application/json \\")?;
    screen.command("  -d '{\"username\":\"admin\",\"password\":\"…\"}' | jq -r .data.token)")?;
    screen.command("AUTH=\"authorization: Bearer $TOKEN\"")?;
    screen.command("curl -s \"$API/monitoring/events?level=warn\" -H \"$AUTH\" | jq")?;
    screen.command("curl -N $API/monitoring/events/stream -H \"$AUTH\"")?;
    screen.command("curl -s $API/monitoring/metrics/prometheus -H \"$AUTH\"")?;
    screen.gap()?;
    screen.say("The same on PostgreSQL:  … -- demo --database-url postgres://…/empty_db")?;
    screen.say("Grafana on top of it:    cargo run -p example-app -- grafana DIR")?;
    screen.say("Your own service:        README.md, “Embed it”")?;
    screen.say("The tests:               cargo nextest run monitoring")?;
    screen.gap()
}
