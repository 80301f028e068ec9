//! From a fault to a page, and from its end to the all-clear.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::DemoError;
use super::print::{Screen, Tone, WIDTH, wrap};
use super::story::Cast;
use super::traffic::text;
use crate::app::MONITORING_PATH;

/// Of payments that fail or succeed within some seconds. A real shop would take minutes.
const QUERY: &str = "sum(rate(payments_total{outcome=~\"gateway_.+\"}[6s])) / sum(rate(payments_total[6s]))";
/// A fault is seen, waited for and told of within seconds; the rest is for slow machines.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says what is wrong when, and who is to know.
pub(super) async fn one_rule(cast: &Cast, screen: &mut Screen) -> Result<(), DemoError> {
    screen.chapter("One rule, one route")?;
    screen.say("Somebody should know when payments fail. Where pages go is the admin's to say;")?;
    screen.say("what is worth one, that of those on call.")?;
    screen.gap()?;
    let receiver = json!({ "name": "pager", "type": "webhook", "config": { "url": cast.pager.url() } });
    let route = json!({ "receiver": "pager", "group_by": ["alertname"], "group_wait": "1s",
        "group_interval": "1s" });
    let rule = json!({
        "name": "PaymentsFail",
        "group": "shop",
        "query": QUERY,
        "threshold_value": 0.2,
        "for": "1s",
        "severity": "high",
        "annotations": { "summary": "{{ $value | humanizePercentage }} of payments fail at the gateway" },
        "open_incident": true,
    });
    let monitoring = |path: &str| format!("{MONITORING_PATH}{path}");
    screen.command("POST …/receivers")?;
    show(screen, &receiver)?;
    cast.admin.post(&monitoring("/receivers"), receiver).await?.expect(201)?;
    screen.command("PUT …/routes")?;
    show(screen, &route)?;
    cast.admin.put(&monitoring("/routes"), route).await?.expect(200)?;
    screen.command("POST …/alerts")?;
    show(screen, &rule)?;
    // Every second, for the reader's sake; usually every minute.
    let interval = json!({ "interval": "1s" });
    cast.on_call.put(&monitoring("/rule-groups/shop"), interval).await?.expect(200)?;
    cast.on_call.post(&monitoring("/alerts"), rule).await?.expect(201).map(drop)
}

pub(super) async fn the_gateway_breaks(cast: &mut Cast, screen: &mut Screen) -> Result<(), DemoError> {
    screen.chapter("The payment gateway breaks")?;
    let faults = json!({ "gateway_delay_ms": 150, "gateway_failure_ratio": 0.5 });
    screen.command("PUT /api/v1/faults")?;
    show(screen, &faults)?;
    screen.gap()?;
    let before = cast.street.tally().payments();
    cast.admin.put("/api/v1/faults", faults).await?.expect(200)?;
    let began = Instant::now();
    let page = cast.pager.next("firing", PATIENCE).await?;
    let tally = cast.street.tally();
    screen.line(&[
        (&format!("Of {} more payments {} fail", tally.payments() - before, tally.failed.len()), Tone::Bad),
        (" with 502 Bad Gateway, and the pager rings", Tone::Plain),
    ])?;
    screen.say(&format!("after {:.1} s:", began.elapsed().as_secs_f64()))?;
    screen.gap()?;
    show_page(screen, &page, Tone::Bad)
}

pub(super) async fn the_gateway_recovers(cast: &mut Cast, screen: &mut Screen) -> Result<(), DemoError> {
    screen.chapter("The gateway recovers")?;
    screen.command("PUT /api/v1/faults")?;
    show(screen, &json!({}))?;
    screen.gap()?;
    cast.admin.put("/api/v1/faults", json!({})).await?.expect(200)?;
    let began = Instant::now();
    let page = cast.pager.next("resolved", PATIENCE).await?;
    screen.say(&format!("Nobody has to say so. {:.1} s later:", began.elapsed().as_secs_f64()))?;
    screen.gap()?;
    show_page(screen, &page, Tone::Good)
}

/// A body, over as many lines as it takes.
fn show(screen: &mut Screen, body: &Value) -> Result<(), DemoError> {
    for line in wrap(&body.to_string(), WIDTH - 6) {
        screen.line(&[("    ", Tone::Plain), (&line, Tone::Faint)])?;
    }
    Ok(())
}

/// What the pager was told.
fn show_page(screen: &mut Screen, page: &Value, tone: Tone) -> Result<(), DemoError> {
    let alert = &page["alerts"][0];
    let rows = [
        ("status", &page["status"]),
        ("alertname", &alert["labels"]["alertname"]),
        ("severity", &alert["labels"]["severity"]),
        ("summary", &alert["annotations"]["summary"]),
    ];
    for (name, value) in rows {
        screen.line(&[(&format!("  {name:11}"), Tone::Faint), (&text(value), tone)])?;
    }
    Ok(())
}
