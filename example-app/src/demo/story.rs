//! What happens, in order, and what is worth showing of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::client::Client;
use super::pager::Pager;
use super::print::{Screen, Tone, WIDTH, cut, wrap};
use super::stage::Stage;
use super::street::Street;
use super::table::{self, Row};
use super::traffic::{self, log_in};
use super::{DemoError, alarm, incident, scrape};
use crate::app::MONITORING_PATH;

const CUSTOMERS: [&str; 3] = ["ada", "bob", "cleo"];
const ON_CALL: &str = "dana";
/// So many payments are a morning: enough to know what is usual.
const MORNING: usize = 50;
/// Layers hand over without waiting; what they saw is stored a moment later.
const PATIENCE: Duration = Duration::from_secs(10);
/// What one failed payment leaves behind: the request, the gateway's error, its two spans, the
/// payment's alert.
const EVENTS_OF_A_FAILURE: usize = 5;

/// Who is who, once everybody is there.
pub(super) struct Cast {
    pub(super) street: Street,
    pub(super) admin: Client,
    pub(super) on_call: Client,
    pub(super) pager: Pager,
}

/// From the first customer to the resolved incident.
pub(super) async fn tell(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    screen.title("A shop that monitors itself")?;
    screen.say("The shop, its job queue and its monitoring run in this process and share one")?;
    screen.say("database. Everything below went over real sockets.")?;
    screen.gap()?;
    screen.line(&[("listens on  ", Tone::Faint), (&stage.client.address().to_string(), Tone::Plain)])?;
    screen.line(&[("database    ", Tone::Faint), (&cut(&stage.database, WIDTH - 14), Tone::Plain)])?;

    let mut cast = a_good_morning(stage, screen).await?;
    alarm::one_rule(&cast, screen).await?;
    alarm::the_gateway_breaks(&mut cast, screen).await?;
    let failed = cast.street.tally().failed;
    let (who, request_id) = failed.first().ok_or(DemoError::Missing("a failed payment"))?;
    let events = one_failed_request(&cast, who, request_id, screen).await?;
    let incident = incident::what_changed(&cast, &events, screen).await?;
    alarm::the_gateway_recovers(&mut cast, screen).await?;
    incident::the_timeline(&cast, &incident, screen).await?;
    let Cast { street, on_call, .. } = cast;
    street.close().await?;
    the_scrape(&on_call, screen).await?;
    the_figures(&on_call, screen).await
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
    traffic::try_empty_card(&customers[2]).await?;
    let street = Street::open(customers);
    let tally = street.wait(|tally| tally.captured >= MORNING, 6 * PATIENCE).await?;
    screen
        .say(&format!("{} register, log in and buy coffee; {ON_CALL} is on call.", CUSTOMERS.join(", ")))?;
    screen.say(&format!(
        "{} payments went through in {:.1} s. Somebody guessed at bob's password, and one",
        tally.captured,
        began.elapsed().as_secs_f64(),
    ))?;
    screen.say("of cleo's cards was empty: trouble of the everyday kind.")?;
    Ok(Cast { street, admin, on_call: on_call.client, pager: Pager::listen().await? })
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

async fn the_scrape(on_call: &Client, screen: &mut Screen) -> Result<(), DemoError> {
    screen.chapter("What Prometheus sees")?;
    let path = format!("{MONITORING_PATH}/metrics/prometheus");
    screen.command(&format!("GET {path}"))?;
    screen.gap()?;
    let scrape = on_call.get(&path).await?.expect(200)?.text();
    for line in scrape::excerpt(&scrape) {
        let tone = if line.starts_with('#') { Tone::Faint } else { Tone::Plain };
        for (index, part) in wrap(line, WIDTH - 6).iter().enumerate() {
            screen.line(&[(if index == 0 { "" } else { "    " }, Tone::Plain), (part, tone)])?;
        }
    }
    screen.line(&[(&format!("… {} lines in all", scrape.lines().count()), Tone::Faint)])
}

async fn the_figures(on_call: &Client, screen: &mut Screen) -> Result<(), DemoError> {
    screen.chapter("In figures")?;
    screen.command(&format!("GET {MONITORING_PATH}/stats"))?;
    screen.gap()?;
    let stats = on_call.get(&format!("{MONITORING_PATH}/stats")).await?.data(200)?;
    let figures = [
        ("events", "total_events"),
        ("metric samples", "total_metrics"),
        ("alerts firing", "active_alerts"),
        ("open incidents", "open_incidents"),
    ];
    for (name, field) in figures {
        let figure = stats[field].to_string();
        screen.line(&[(&format!("{name:16}"), Tone::Faint), (&format!("{figure:>6}"), Tone::Plain)])?;
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
