//! The shop: requests through services with spans and logs, background work, metrics.

use serde_json::{Map, Value, json};

/// Microseconds of a second and a minute.
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;

/// One event, as a sender would describe it.
#[derive(Clone, Debug)]
pub(crate) struct PlantedEvent {
    /// Since the beginning of the story.
    pub micros: i64,
    pub event_type: &'static str,
    pub source: String,
    pub message: String,
    pub level: &'static str,
    pub tags: Map<String, Value>,
    pub payload: Map<String, Value>,
}

/// One series.
#[allow(dead_code)] // not every test binary looks at series
#[derive(Clone, Debug)]
pub(crate) struct PlantedSeries {
    pub name: &'static str,
    pub labels: Vec<(&'static str, String)>,
    /// Whether values are increments.
    pub is_counter: bool,
    pub points: Vec<(i64, f64)>,
}

/// Everything that was recorded.
#[allow(dead_code)] // tests of the API open an incident when the story is at its end
#[derive(Clone, Debug, Default)]
pub(crate) struct Planted {
    pub events: Vec<PlantedEvent>,
    pub series: Vec<PlantedSeries>,
    /// Where what is looked at begins, when the incident was opened, and when somebody asks.
    pub looked_from: i64,
    pub opened: i64,
    pub asked: i64,
    /// When the fault began.
    pub onset: i64,
}

/// Requests a minute.
#[allow(dead_code)] // not every test binary plants all sizes
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    #[allow(dead_code)] // nor all of them
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    fn requests_a_minute(self) -> f64 {
        match self {
            Self::Small => 20.0,
            Self::Medium => 60.0,
            Self::Large => 150.0,
        }
    }
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// Around `median`, never below zero, now and then much more.
    pub(crate) fn spread(&mut self, median: f64, spread: f64) -> f64 {
        median * (spread * self.normal()).exp()
    }

    pub(crate) fn poisson(&mut self, mean: f64) -> usize {
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[(self.next() % of.len() as u64) as usize]
    }
}

/// What is known of a request when it comes.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub micros: i64,
    pub method: &'static str,
    pub route: &'static str,
    pub region: &'static str,
    pub tenant: String,
    pub host: String,
    pub version: String,
    pub payment_method: Option<&'static str>,
    pub new_checkout: bool,
}

/// A step of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub service: &'static str,
    pub span: &'static str,
    /// The usual time in milliseconds.
    pub millis: f64,
}

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
pub(crate) const REGIONS: [&str; 4] = ["eu-west", "eu-north", "us-east", "ap-south"];
pub(crate) const PAYMENTS: [&str; 4] = ["card", "sepa", "invoice", "wallet"];
pub(crate) const SERVICES: [&str; 6] = ["search", "orders", "inventory", "payments", "users", "notifier"];

/// What a fault does to one step of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effect {
    /// Times as long.
    pub slowdown: f64,
    pub extra_millis: f64,
    /// The message of a failure; the request fails with it.
    pub failure: Option<String>,
    /// The message of a warning.
    pub warning: Option<String>,
}

/// A fault: what it changes, and where. Time is in microseconds since its onset.
pub(crate) trait Fault {
    /// How many times the traffic there is.
    fn traffic(&self, since: i64) -> f64 {
        let _ = since;
        1.0
    }

    /// Changes who comes.
    fn visit(&self, visit: &mut Visit, since: i64, dice: &mut Dice) {
        let _ = (visit, since, dice);
    }

    /// Changes what a step does.
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let _ = (visit, step, since, dice);
        Effect::default()
    }

    /// Further events.
    fn events(&self, world: &mut World, dice: &mut Dice) {
        let _ = (world, dice);
    }

    /// Whether background messages of this source are kept.
    fn is_heard(&self, source: &str, since: i64) -> bool {
        let _ = (source, since);
        true
    }

    /// Changes a reading.
    fn reading(
        &self,
        name: &str,
        labels: &[(&'static str, String)],
        since: i64,
        value: f64,
        dice: &mut Dice,
    ) -> f64 {
        let _ = (name, labels, since, dice);
        value
    }
}

/// What is being recorded.
#[derive(Debug)]
pub(crate) struct World {
    pub planted: Planted,
    /// Until when.
    pub end: i64,
    next_id: u64,
    /// How many times the usual traffic there is by itself, in each second.
    mood: Vec<f64>,
}

impl World {
    /// How busy it was in the quarter of a minute before.
    fn mood(&self, micros: i64) -> f64 {
        let end = usize::try_from(micros / SECOND).unwrap_or(0).min(self.mood.len());
        let seconds = &self.mood[end.saturating_sub(15)..end];
        if seconds.is_empty() { 1.0 } else { seconds.iter().sum::<f64>() / seconds.len() as f64 }
    }

    pub(crate) fn since(&self, micros: i64) -> i64 {
        micros - self.planted.onset
    }

    pub(crate) fn log(
        &mut self,
        micros: i64,
        source: &str,
        level: &'static str,
        message: impl Into<String>,
        tags: Value,
    ) {
        let Value::Object(tags) = tags else { return };
        let event = PlantedEvent {
            micros,
            event_type: "log",
            source: source.to_owned(),
            message: message.into(),
            level,
            tags,
            payload: Map::new(),
        };
        self.planted.events.push(event);
    }

    fn id(&mut self, digits: usize) -> String {
        self.next_id += 1;
        let mixed = self.next_id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        format!("{:0>width$}", format!("{mixed:016x}"), width = digits)
    }
}

/// How noisy this shop is.
struct Noise {
    failing: f64,
    warning: f64,
    spread: f64,
    traffic: f64,
}

/// Tells a story: an hour and more with a fault, or without one.
pub(crate) fn plant(fault: &dyn Fault, size: Size, seed: u64) -> Planted {
    tell(fault, size, seed, ((2.0, 6.0), (1.0, 8.0)))
}

/// The same of a fault that somebody notices up to half an hour after its onset, and asks about up to an hour
/// after that.
#[allow(dead_code)] // not every test binary does
pub(crate) fn plant_late(fault: &dyn Fault, size: Size, seed: u64) -> Planted {
    tell(fault, size, seed, ((6.0, 32.0), (1.0, 58.0)))
}

/// Minutes, from and to: until it is noticed, and until somebody asks.
type Delays = ((f64, f64), (f64, f64));

fn tell(fault: &dyn Fault, size: Size, seed: u64, (noticed, asked): Delays) -> Planted {
    let mut dice = Dice::new(seed);
    let onset = MINUTE * dice.between(46.0, 58.0) as i64 + SECOND * dice.between(0.0, 60.0) as i64;
    let opened = onset + (dice.between(noticed.0, noticed.1) * MINUTE as f64) as i64;
    let end = opened + (dice.between(asked.0, asked.1) * MINUTE as f64) as i64;
    let looked_from = if asked.1 > 10.0 { (opened - 60 * MINUTE).max(0) } else { 0 };
    let planted = Planted { onset, looked_from, opened, asked: end, ..Planted::default() };
    let mut world = World { planted, end, next_id: seed << 32, mood: Vec::new() };
    let noise = Noise {
        failing: dice.between(0.000_5, 0.004),
        warning: dice.between(0.002, 0.01),
        spread: dice.between(0.25, 0.5),
        traffic: size.requests_a_minute(),
    };
    visits(&mut world, fault, &noise, &mut dice);
    background(&mut world, fault, &mut dice);
    bursts(&mut world, &mut dice);
    unrelated_change(&mut world, &mut dice);
    readings(&mut world, fault, &mut dice);
    fault.events(&mut world, &mut dice);
    world.planted.events.retain(|event| (0..end).contains(&event.micros));
    world.planted.events.sort_by_key(|event| event.micros);
    world.planted
}

fn visits(world: &mut World, fault: &dyn Fault, noise: &Noise, dice: &mut Dice) {
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

/// What goes on without requests.
fn background(world: &mut World, fault: &dyn Fault, dice: &mut Dice) {
    let beats: [(&str, i64, &str); 5] = [
        ("worker", 30, "heartbeat of worker ok, lag # ms"),
        ("scheduler", 60, "tick, # jobs waiting"),
        ("billing-export", 20, "exported # invoices"),
        ("queue-consumer", 5, "processed batch of #"),
        ("replicator", 45, "checkpoint # written"),
    ];
    for (source, every, message) in beats {
        let mut at = (dice.unit() * (every * SECOND) as f64) as i64;
        while at < world.end {
            if fault.is_heard(source, world.since(at)) {
                let message = message.replace('#', &(10 + dice.next() % 90).to_string());
                world.log(at, source, "info", message, json!({"host": "b1"}));
            }
            at += every * SECOND + (dice.normal() * 0.02 * (every * SECOND) as f64) as i64;
        }
    }
}

/// Messages that come in heaps, at any time, and mean nothing.
fn bursts(world: &mut World, dice: &mut Dice) {
    let messages = [
        ("users", "warn", "password of user u# does not match"),
        ("gateway", "warn", "client # closed the connection early"),
        ("search", "info", "index segment # merged"),
        ("notifier", "warn", "mailbox # is full"),
    ];
    for (source, level, message) in messages {
        let mut at = (dice.between(0.0, 9.0) * MINUTE as f64) as i64;
        while at < world.end {
            for _ in 0..3 + dice.next() % 12 {
                let place = at + (dice.unit() * 40.0 * SECOND as f64) as i64;
                let message = message.replace('#', &(1_000 + dice.next() % 9_000).to_string());
                world.log(
                    place,
                    source,
                    level,
                    message,
                    json!({"host": format!("h{}", 1 + dice.next() % 5)}),
                );
            }
            at += (dice.between(2.0, 10.0) * MINUTE as f64) as i64;
        }
    }
}

/// In every second shop somebody deployed something else before.
fn unrelated_change(world: &mut World, dice: &mut Dice) {
    if dice.chance(0.5) {
        let at = world.planted.onset - (dice.between(6.0, 30.0) * MINUTE as f64) as i64;
        let tags =
            json!({"kind": "deploy", "service": "reporting", "version": format!("1.{}.0", dice.next() % 30)});
        world.log(at, "deployer", "info", "reporting rolled out", tags);
    }
}

fn readings(world: &mut World, fault: &dyn Fault, dice: &mut Dice) {
    let per_service: [(&'static str, f64, f64); 4] = [
        ("process_cpu_percent", 22.0, 2.5),
        ("process_memory_bytes", 4.0e8, 6.0e6),
        ("db_pool_in_use", 4.0, 1.2),
        ("runtime_tasks", 40.0, 5.0),
    ];
    for service in SERVICES {
        for (name, level, wobble) in per_service {
            let level = level * dice.between(0.6, 1.6);
            let labels = vec![("service", service.to_owned())];
            gauge(world, fault, (name, labels), (level, wobble), dice);
        }
        let labels = vec![("service", service.to_owned())];
        counter(world, fault, ("cache_misses_total", labels.clone()), dice.between(1.0, 6.0), dice);
        counter(world, fault, ("retries_total", labels), dice.between(0.02, 0.3), dice);
    }
    for (name, level, wobble) in [
        ("queue_depth", 20.0, 5.0),
        ("replication_lag_seconds", 0.4, 0.1),
        ("disk_used_percent", 61.0, 0.1),
        ("open_connections", 180.0, 12.0),
        ("node_load", 1.4, 0.3),
    ] {
        gauge(world, fault, (name, vec![("node", "n1".to_owned())]), (level, wobble), dice);
    }
}

type Name = (&'static str, Vec<(&'static str, String)>);

fn gauge(
    world: &mut World,
    fault: &dyn Fault,
    (name, labels): Name,
    (level, wobble): (f64, f64),
    dice: &mut Dice,
) {
    let (mut points, mut drift) = (Vec::new(), 0.0);
    for at in (0..world.end / (15 * SECOND)).map(|n| n * 15 * SECOND) {
        drift = 0.9 * drift + 0.3 * dice.normal();
        let usual = level + wobble * (0.7 * drift + 0.5 * dice.normal());
        // What requests hold goes up and down with them.
        let follows = matches!(name, "db_pool_in_use" | "runtime_tasks" | "open_connections");
        let usual = if follows { usual * (0.2 + 0.8 * world.mood(at)) } else { usual };
        let value = fault.reading(name, &labels, world.since(at), usual.max(0.0), dice);
        points.push((at, value));
    }
    world.planted.series.push(PlantedSeries { name, labels, is_counter: false, points });
}

fn counter(world: &mut World, fault: &dyn Fault, (name, labels): Name, a_second: f64, dice: &mut Dice) {
    let points = (0..world.end / (15 * SECOND)).map(|n| {
        let at = n * 15 * SECOND;
        let usual = a_second * fault.traffic(world.since(at)) * world.mood(at);
        let rate = fault.reading(name, &labels, world.since(at), usual, dice);
        (at, dice.poisson((rate * 15.0).min(500.0)) as f64)
    });
    let points = points.collect();
    world.planted.series.push(PlantedSeries { name, labels, is_counter: true, points });
}
