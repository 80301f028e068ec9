//! Requests through services, with spans and logs.

use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::fault::{Fault, Step, Visit};
use super::recorded::{PlantedEvent, SECOND};
use super::world::{Noise, World};

const fn step(service: &'static str, span: &'static str, millis: f64) -> Step {
    Step { service, span, millis }
}

/// Routes: how common they are and what they do.
const ROUTES: [(&str, &str, f64, &[Step]); 6] = [
    (
        "GET",
        "/products",
        0.36,
        &[
            step("search", "search.find", 12.0),
            step("search", "cache.get", 1.5),
            step("search", "db.select", 8.0),
        ],
    ),
    (
        "POST",
        "/orders",
        0.2,
        &[
            step("orders", "orders.create", 9.0),
            step("inventory", "inventory.reserve", 14.0),
            step("payments", "payments.charge", 6.0),
            step("payments", "psp.capture", 90.0),
            step("notifier", "mail.send", 20.0),
        ],
    ),
    ("GET", "/orders/{id}", 0.16, &[step("orders", "orders.load", 5.0), step("orders", "db.select", 7.0)]),
    ("GET", "/account", 0.12, &[step("users", "users.load", 4.0), step("users", "db.select", 6.0)]),
    ("POST", "/login", 0.1, &[step("users", "auth.verify", 25.0), step("users", "db.select", 5.0)]),
    (
        "GET",
        "/stock/{sku}",
        0.06,
        &[step("inventory", "inventory.look_up", 6.0), step("inventory", "db.select", 5.0)],
    ),
];
const REGIONS: [&str; 4] = ["eu-west", "eu-north", "us-east", "ap-south"];
const PAYMENTS: [&str; 4] = ["card", "sepa", "invoice", "wallet"];

pub(super) fn visits(world: &mut World, fault: &dyn Fault, noise: &Noise, dice: &mut Dice) {
    let mut mood = 0.0;
    for second in 0..world.end / SECOND {
        let since = world.since(second * SECOND);
        // Traffic goes up and down by itself.
        mood = 0.98 * mood + 0.03 * dice.normal();
        world.mood.push(f64::exp(mood));
        let rate = noise.traffic / 60.0 * f64::exp(mood) * fault.traffic(since);
        for _ in 0..dice.poisson(rate) {
            let micros = second * SECOND + (dice.unit() * SECOND as f64) as i64;
            let mut visit = visit(micros, dice);
            fault.visit(&mut visit, since, dice);
            serve(world, fault, noise, &visit, dice);
        }
    }
}

fn visit(micros: i64, dice: &mut Dice) -> Visit {
    let mut place = dice.unit();
    let found = ROUTES.iter().find(|route| {
        place -= route.2;
        place < 0.0
    });
    let (method, route, ..) = *found.unwrap_or(&ROUTES[0]);
    // Few tenants send much, many send little.
    let tenant = format!("t{:02}", (24.0 * dice.unit() * dice.unit()) as u32);
    Visit {
        micros,
        method,
        route,
        region: if dice.chance(0.4) { REGIONS[0] } else { REGIONS[1 + (dice.next() % 3) as usize] },
        tenant,
        host: format!("h{}", 1 + dice.next() % 5),
        version: "2.3.0".to_owned(),
        payment_method: (route == "/orders")
            .then(|| if dice.chance(0.5) { "card" } else { *dice.pick(&PAYMENTS) }),
        new_checkout: dice.chance(0.3),
    }
}

/// One request: a log of the gateway, a span of each step and what they say.
fn serve(world: &mut World, fault: &dyn Fault, noise: &Noise, visit: &Visit, dice: &mut Dice) {
    let since = world.since(visit.micros);
    let trace = world.id(32);
    let root = world.id(16);
    let steps = ROUTES
        .iter()
        .find(|route| (route.0, route.1) == (visit.method, visit.route))
        .map_or(&[][..], |route| route.3);
    let tags = shared_tags(visit, &trace);
    let (mut clock, mut failed) = (visit.micros + 300, false);
    for step in steps {
        let effect = fault.step(visit, step, since, dice);
        let slowdown = if effect.slowdown > 0.0 { effect.slowdown } else { 1.0 };
        let took = dice.spread(step.millis, noise.spread) * slowdown + effect.extra_millis;
        let span = world.id(16);
        let (start, end) = (clock, clock + (took * 1_000.0) as i64);
        let by_chance =
            dice.chance(noise.failing / steps.len() as f64 * 3.0).then(|| chance_failure(step, dice));
        let said = |message: &str| {
            let mut tags = tags.clone();
            tags.insert("span_id".to_owned(), json!(span));
            (message.to_owned(), Value::Object(tags))
        };
        if let Some(warning) = &effect.warning {
            let (message, tags) = said(warning);
            world.log(end - 100, step.service, "warn", message, tags);
        }
        if dice.chance(noise.warning) {
            let (message, tags) = said(&format!("slow query took {} ms", (took * 3.0) as u32));
            world.log(end - 150, step.service, "warn", message, tags);
        }
        let failure = effect.failure.or(by_chance);
        if let Some(failure) = &failure {
            let (message, tags) = said(failure);
            world.log(end - 50, step.service, "error", message, tags);
            failed = true;
        }
        push_span(world, step, (&span, &root), &tags, (start, took));
        clock = end;
        if failed {
            break;
        }
    }
    if !failed && visit.route == "/orders" && visit.method == "POST" {
        let message = format!("order {} placed, total {:.2}", world.id(16), dice.between(5.0, 200.0));
        world.log(clock, "orders", "info", message, Value::Object(tags.clone()));
    }
    answer(world, visit, (&root, tags), clock, failed, dice);
}

fn shared_tags(visit: &Visit, trace: &str) -> Map<String, Value> {
    let tags = json!({
        "trace_id": trace, "region": visit.region, "tenant": visit.tenant, "host": visit.host,
        "version": visit.version, "new_checkout": visit.new_checkout,
    });
    let Value::Object(mut tags) = tags else { return Map::new() };
    if let Some(method) = visit.payment_method {
        tags.insert("payment_method".to_owned(), json!(method));
    }
    tags
}

/// Things go wrong now and then, without any reason anybody could find.
fn chance_failure(step: &Step, dice: &mut Dice) -> String {
    match dice.next() % 4 {
        0 => format!("{} failed: connection reset by peer", step.span),
        1 => format!("{} gave up after {} ms", step.span, 900 + dice.next() % 300),
        2 => format!("unexpected answer {} in {}", 500 + dice.next() % 4, step.span),
        _ => format!("{} was cancelled", step.span),
    }
}

fn push_span(
    world: &mut World,
    step: &Step,
    (span, parent): (&str, &str),
    tags: &Map<String, Value>,
    (start, took): (i64, f64),
) {
    let mut tags = tags.clone();
    tags.insert("span_id".to_owned(), json!(span));
    tags.insert("parent_span_id".to_owned(), json!(parent));
    let payload = json!({"duration_ms": took, "busy_ms": took * 0.3, "idle_ms": took * 0.7});
    let Value::Object(payload) = payload else { return };
    world.planted.events.push(PlantedEvent {
        micros: start,
        event_type: "trace",
        source: step.service.to_owned(),
        message: step.span.to_owned(),
        level: "info",
        tags,
        payload,
    });
}

fn answer(
    world: &mut World,
    visit: &Visit,
    (root, mut tags): (&str, Map<String, Value>),
    end: i64,
    failed: bool,
    dice: &mut Dice,
) {
    let status = match failed {
        true => *dice.pick(&[500, 502, 503]),
        false if dice.chance(0.02) => 404,
        false => 200,
    };
    let took = (end + 200 - visit.micros) as f64 / 1_000.0;
    let more = json!({
        "method": visit.method, "route": visit.route, "path": visit.route.replace("{id}", &root[..6]),
        "status": status, "duration_ms": took, "outcome": "completed", "span_id": root, "request_id": root,
    });
    tags.extend(more.as_object().cloned().unwrap_or_default());
    let level = match status {
        500.. => "error",
        400.. => "warn",
        _ => "info",
    };
    world.log(
        end + 200,
        "gateway",
        level,
        format!("{} {} {status}", visit.method, visit.route),
        Value::Object(tags),
    );
}
