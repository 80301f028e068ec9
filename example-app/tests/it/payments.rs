//! Paying, and what the fault switches do to it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{ADMIN, Reply, Shop, TestDatabase, on_each_database};

on_each_database!(
    an_order_is_paid_once,
    two_payments_at_once_charge_once,
    a_declined_card_leaves_the_order_open,
    only_the_owner_pays_and_only_the_total,
    a_failing_gateway_fails_the_given_share,
    a_leaking_pool_runs_dry_and_recovers,
    a_slow_gateway_is_slow,
    fault_switches_are_for_admins,
);

async fn order(shop: &Shop, token: &str) -> Value {
    let order = shop.post("/orders", token, json!({ "product": "mug" })).await.data(201);
    order["id"].clone()
}

async fn pay(shop: &Shop, token: &str, order_id: &Value) -> Reply {
    shop.post("/payments", token, json!({ "order_id": order_id })).await
}

async fn status(shop: &Shop, token: &str, order_id: &Value) -> Value {
    let path = format!("/orders/{}", order_id.as_str().unwrap());
    shop.get(&path, token).await.data(200)["status"].clone()
}

async fn an_order_is_paid_once(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    let order_id = order(&shop, &bob).await;
    let payment = pay(&shop, &bob, &order_id).await.data(201);
    assert_eq!(payment["status"], "captured");
    assert_eq!(payment["amount_cents"], 1_200);
    assert_eq!(status(&shop, &bob, &order_id).await, "paid");
    pay(&shop, &bob, &order_id).await.problem(409, "order_already_paid");
}

async fn two_payments_at_once_charge_once(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    let order_id = order(&shop, &bob).await;
    let (first, second) = tokio::join!(pay(&shop, &bob, &order_id), pay(&shop, &bob, &order_id));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

async fn a_declined_card_leaves_the_order_open(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    let order_id = order(&shop, &bob).await;
    let body = json!({ "order_id": order_id, "card_token": "tok_declined" });
    shop.post("/payments", &bob, body).await.problem(402, "card_declined");
    assert_eq!(status(&shop, &bob, &order_id).await, "pending");
    pay(&shop, &bob, &order_id).await.data(201);
}

async fn only_the_owner_pays_and_only_the_total(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let (_, bob) = shop.register_and_login("bob").await;
    let order_id = order(&shop, &bob).await;
    pay(&shop, &admin, &order_id).await.problem(404, "not_found");
    pay(&shop, "", &order_id).await.problem(401, "unauthenticated");
    let body = json!({ "order_id": order_id, "amount_cents": 1 });
    shop.post("/payments", &bob, body).await.problem(400, "validation_failed");
    let body = json!({ "order_id": order_id, "amount_cents": 1_200 });
    shop.post("/payments", &bob, body).await.data(201);
}

async fn a_failing_gateway_fails_the_given_share(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let faults = json!({ "gateway_failure_ratio": 0.5 });
    shop.put("/faults", &admin, faults).await.data(200);
    let order_id = order(&shop, &admin).await;
    pay(&shop, &admin, &order_id).await.data(201);
    let order_id = order(&shop, &admin).await;
    pay(&shop, &admin, &order_id).await.problem(502, "gateway_failed");
    pay(&shop, &admin, &order_id).await.data(201);
}

async fn a_leaking_pool_runs_dry_and_recovers(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let leak = json!({ "gateway_pool_leak": true });
    let report = shop.put("/faults", &admin, leak).await.data(200);
    assert_eq!(report["gateway_pool"], json!({ "size": 8, "available": 8, "leaked": 0 }));
    for _ in 0..8 {
        let order_id = order(&shop, &admin).await;
        pay(&shop, &admin, &order_id).await.data(201);
    }
    let report = shop.get("/faults", &admin).await.data(200);
    assert_eq!(report["gateway_pool"], json!({ "size": 8, "available": 0, "leaked": 8 }));
    let order_id = order(&shop, &admin).await;
    pay(&shop, &admin, &order_id).await.problem(503, "gateway_pool_exhausted");

    shop.put("/faults", &admin, json!({})).await.data(200);
    pay(&shop, &admin, &order_id).await.data(201);
}

async fn a_slow_gateway_is_slow(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    shop.put("/faults", &admin, json!({ "gateway_delay_ms": 300 })).await.data(200);
    let order_id = order(&shop, &admin).await;
    let start = Instant::now();
    pay(&shop, &admin, &order_id).await.data(201);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

async fn fault_switches_are_for_admins(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let (_, bob) = shop.register_and_login("bob").await;
    shop.get("/faults", &bob).await.problem(403, "forbidden");
    shop.put("/faults", &bob, json!({})).await.problem(403, "forbidden");
    let wrong = json!({ "gateway_delay_ms": 90_000, "gateway_failure_ratio": 2 });
    let reply = shop.put("/faults", &admin, wrong).await.problem(400, "validation_failed");
    assert_eq!(reply.body["errors"].as_array().unwrap().len(), 2);
    shop.put("/faults", &admin, json!({ "gremlins": true })).await.problem(400, "bad_request");
}
