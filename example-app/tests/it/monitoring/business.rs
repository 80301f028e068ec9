//! What the shop tells of its business: events with its transactions, counters, nothing secret.

use serde_json::{Value, json};

use crate::support::{ADMIN, PASSWORD, Shop, TestDatabase, on_each_database};

on_each_database!(
    an_order_and_its_event_exist_together,
    an_order_that_is_rolled_back_leaves_no_event,
    an_order_whose_event_cannot_be_written_is_not_placed,
    a_payment_stands_without_its_event,
    the_scrape_counts_the_business_exactly,
    the_door_tells_who_came_in_and_who_did_not,
    changes_of_accounts_leave_a_trace,
    no_secret_is_stored,
);

async fn order(shop: &Shop, token: &str) -> Value {
    shop.post("/orders", token, json!({ "product": "mug" })).await.data(201)
}

async fn an_order_and_its_event_exist_together(database: TestDatabase) {
    let shop = database.start().await;
    let (id, bob) = shop.register_and_login("bob").await;
    let reply = shop.post("/orders", &bob, json!({ "product": "mug" })).await;
    let request_id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    let order = reply.data(201);
    let events = shop.events("source=order-service").await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["message"], "order placed");
    assert_eq!(events[0]["request_id"], request_id);
    assert_eq!(events[0]["tags"]["order_id"], order["id"]);
    assert_eq!(events[0]["tags"]["user_id"], id);
}

/// Makes the commit of every order fail, after all of its statements have succeeded.
async fn break_commits_of_orders(database: &TestDatabase) {
    database.execute("CREATE TABLE creditors (id INTEGER PRIMARY KEY)").await;
    database
        .execute(
            "CREATE TABLE debts (creditor INTEGER REFERENCES creditors (id) DEFERRABLE INITIALLY DEFERRED)",
        )
        .await;
    if database.is_postgres() {
        database
            .execute(
                "CREATE FUNCTION owe() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO debts VALUES (1); RETURN NEW; END'",
            )
            .await;
        database.execute("CREATE TRIGGER owe AFTER INSERT ON orders EXECUTE FUNCTION owe()").await;
    } else {
        database
            .execute("CREATE TRIGGER owe AFTER INSERT ON orders BEGIN INSERT INTO debts VALUES (1); END")
            .await;
    }
}

async fn an_order_that_is_rolled_back_leaves_no_event(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    break_commits_of_orders(&database).await;
    shop.post("/orders", &bob, json!({ "product": "mug" })).await.problem(500, "internal");
    assert_eq!(database.numbers("SELECT count(*) FROM orders").await, [0]);
    assert_eq!(shop.events("source=order-service").await, Vec::<Value>::new());
    assert!(!shop.scrape(&bob).await.contains("orders_total{"), "it is not counted either");
}

/// Makes storing events of the named source fail.
async fn refuse_events_of(database: &TestDatabase, source: &'static str) {
    match (database.is_postgres(), source) {
        (true, "order-service") => {
            database
                .execute("ALTER TABLE monitoring.events ADD CONSTRAINT no CHECK (source <> 'order-service')")
                .await;
        }
        (true, _) => {
            database
                .execute(
                    "ALTER TABLE monitoring.events ADD CONSTRAINT no CHECK (source <> 'payment-service')",
                )
                .await;
        }
        (false, "order-service") => {
            database
                .execute(
                    "CREATE TRIGGER no BEFORE INSERT ON monitoring_events WHEN NEW.source = 'order-service'
                     BEGIN SELECT RAISE(ABORT, 'no'); END",
                )
                .await;
        }
        (false, _) => {
            database
                .execute(
                    "CREATE TRIGGER no BEFORE INSERT ON monitoring_events WHEN NEW.source = 'payment-service'
                     BEGIN SELECT RAISE(ABORT, 'no'); END",
                )
                .await;
        }
    }
}

async fn an_order_whose_event_cannot_be_written_is_not_placed(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    refuse_events_of(&database, "order-service").await;
    shop.post("/orders", &bob, json!({ "product": "mug" })).await.problem(500, "internal");
    assert_eq!(database.numbers("SELECT count(*) FROM orders").await, [0]);
}

async fn a_payment_stands_without_its_event(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    refuse_events_of(&database, "payment-service").await;
    let order = order(&shop, &bob).await;
    let payment = shop.post("/payments", &bob, json!({ "order_id": order["id"] })).await.data(201);
    assert_eq!(payment["status"], "captured", "the money is taken, whatever the monitoring says");
    assert_eq!(shop.events("source=payment-service").await, Vec::<Value>::new());
}

async fn the_scrape_counts_the_business_exactly(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let mut orders = Vec::new();
    for _ in 0..4 {
        orders.push(order(&shop, &admin).await["id"].clone());
    }
    shop.post("/orders", &admin, json!({ "product": "kettle" })).await.data(201);
    for order in &orders[..2] {
        shop.post("/payments", &admin, json!({ "order_id": order })).await.data(201);
    }
    let declined = json!({ "order_id": orders[2], "card_token": "tok_declined" });
    shop.post("/payments", &admin, declined).await.problem(402, "card_declined");
    shop.put("/faults", &admin, json!({ "gateway_failure_ratio": 1 })).await.data(200);
    shop.post("/payments", &admin, json!({ "order_id": orders[3] })).await.problem(502, "gateway_failed");

    let scrape = shop.scrape(&admin).await;
    for line in [
        "# TYPE orders_total counter",
        "orders_total{product=\"mug\"} 4",
        "orders_total{product=\"kettle\"} 1",
        "# TYPE payments_total counter",
        "payments_total{outcome=\"captured\"} 2",
        "payments_total{outcome=\"declined\"} 1",
        "payments_total{outcome=\"gateway_failed\"} 1",
        "# TYPE payment_amount_cents histogram",
        "payment_amount_cents_bucket{le=\"1000\"} 0",
        "payment_amount_cents_bucket{le=\"2000\"} 2",
        "payment_amount_cents_bucket{le=\"+Inf\"} 2",
        "payment_amount_cents_sum 2400",
        "payment_amount_cents_count 2",
    ] {
        assert!(scrape.lines().any(|written| written == line), "{line} is not in\n{scrape}");
    }
}

/// Messages of events, oldest first.
fn messages(events: &[Value]) -> Vec<&str> {
    events.iter().rev().map(|event| event["message"].as_str().unwrap()).collect()
}

async fn the_door_tells_who_came_in_and_who_did_not(database: TestDatabase) {
    let shop = database.start().await;
    let id = shop.register("bob").await;
    let door = shop.at_address(9);
    door.login("bob", PASSWORD).await.data(200);
    for _ in 0..5 {
        door.login("bob", "a guess").await.problem(401, "wrong_credentials");
    }
    let refused = door.login("bob", PASSWORD).await.problem(429, "too_many_attempts");
    let events = shop.events("source=auth-service&tag.ip_address=10.0.0.9").await;
    let failed = ["login failed"; 5];
    let expected = [&["user logged in"], failed.as_slice(), &["login refused after too many failures"]];
    assert_eq!(messages(&events), expected.concat());
    assert!(events[1..].iter().all(|event| event["tags"]["user_id"] == id), "{events:#?}");
    assert_eq!(events[0]["level"], "warn");
    assert_eq!(events[0]["request_id"], refused.headers["x-request-id"].to_str().unwrap());
}

async fn changes_of_accounts_leave_a_trace(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let admin_id = shop.get("/auth/me", &admin).await.data(200)["id"].clone();
    let bob = shop.register("bob").await;
    let role = json!({ "role": "moderator" });
    shop.put(&format!("/users/{bob}/role"), &admin, role).await.data(200);
    shop.post(&format!("/users/{bob}/force-password-reset"), &admin, json!({})).await.data(200);
    let role = json!({ "role": "user" });
    let own = admin_id.as_str().unwrap();
    shop.put(&format!("/users/{own}/role"), &admin, role).await.problem(409, "last_admin");

    let events = shop.events("source=user-service").await;
    assert_eq!(messages(&events), ["role changed", "password reset forced"]);
    for event in &events {
        assert_eq!(event["tags"]["by"], admin_id);
        assert_eq!(event["tags"]["user_id"], *bob);
        assert_eq!(event["tags"]["role"], "moderator");
        assert_eq!(event["tags"]["ip_address"], "127.0.0.1");
    }
    let log = shop.get("/monitoring/audit", &admin).await.data(200);
    let log: Vec<_> = log.as_array().unwrap().iter().filter(|entry| entry["subject"] == *bob).collect();
    let actions: Vec<_> = log.iter().map(|entry| (&entry["actor"], &entry["action"])).collect();
    let (reset, change) = (json!("user.force_password_reset"), json!("user.change_role"));
    assert_eq!(actions, [(&admin_id, &reset), (&admin_id, &change)]);
    assert_eq!((&log[1]["before"], &log[1]["after"]), (&json!("user"), &json!("moderator")));
}

async fn no_secret_is_stored(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    shop.at_address(9).login("bob", "hunter2hunter2").await.problem(401, "wrong_credentials");
    let order = order(&shop, &bob).await;
    let payment = json!({ "order_id": order["id"], "card_token": "tok_secret_card" });
    shop.post("/payments", &bob, payment).await.data(201);
    let events = shop.events("").await;
    assert!(events.len() >= 6, "{events:#?}");
    let stored = json!(events).to_string();
    for secret in [PASSWORD, "hunter2", "tok_secret_card", &bob] {
        assert!(!stored.contains(secret), "{secret} is in {events:#?}");
    }
}
