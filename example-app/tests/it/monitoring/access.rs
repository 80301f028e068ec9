//! The shop's users before the monitoring's router.

use serde_json::json;

use crate::support::{ADMIN, TestDatabase, on_each_database};

on_each_database!(
    the_roles_of_the_shop_are_those_of_the_monitoring,
    the_router_keeps_limits_and_answers_of_its_own,
    health_is_open_to_everyone,
);

async fn the_roles_of_the_shop_are_those_of_the_monitoring(database: TestDatabase) {
    let shop = database.start().await;
    let (_, user) = shop.register_and_login("bob").await;
    let moderator = shop.login_as("dana", "moderator").await;
    let admin = shop.login(ADMIN).await;
    let reachable = async |path: &str, token: &str| shop.get(path, token).await.status.as_u16();
    for (path, expected) in [
        ("/monitoring/stats/summary", [401, 200, 200, 200]),
        ("/monitoring/incidents", [401, 200, 200, 200]),
        ("/monitoring/stats", [401, 403, 200, 200]),
        ("/monitoring/alerts", [401, 403, 200, 200]),
        ("/monitoring/audit", [401, 403, 403, 200]),
    ] {
        let mut statuses = [0; 4];
        for (status, token) in statuses.iter_mut().zip(["", &user, &moderator, &admin]) {
            *status = reachable(path, token).await;
        }
        assert_eq!(statuses, expected, "{path}");
    }
    assert_eq!(reachable("/monitoring/stats", "stale").await, 401);
    shop.post("/auth/logout", &admin, json!({})).await.data(200);
    assert_eq!(reachable("/monitoring/audit", &admin).await, 401, "one session for both");
}

async fn the_router_keeps_limits_and_answers_of_its_own(database: TestDatabase) {
    let shop = database.start().await;
    let (_, bob) = shop.register_and_login("bob").await;
    let event = json!({ "event_type": "log", "source": "till", "message": "x".repeat(2_000) });
    let batch = json!(vec![event; 50]);
    let stored = shop.post("/monitoring/events", &bob, batch.clone()).await.data(201);
    assert_eq!(stored.as_array().unwrap().len(), 50, "100 kB, more than the shop itself takes");
    let order = json!({ "product": "mug", "note": batch });
    shop.post("/orders", &bob, order).await.problem(413, "body_too_large");

    let ours = shop.get("/nothing", &bob).await.problem(404, "not_found");
    assert_eq!(ours.body["detail"], "there is no such path");
    let theirs = shop.get("/monitoring/nothing", &bob).await.problem(404, "not_found");
    assert_ne!(theirs.body["detail"], ours.body["detail"]);
}

async fn health_is_open_to_everyone(database: TestDatabase) {
    let shop = database.start().await;
    let request = axum::http::Request::get("/readyz").body(axum::body::Body::empty()).unwrap();
    let ready = shop.send(request).await.data(200);
    assert_eq!(ready, json!({ "database": "ok", "monitoring": "ok" }));
    shop.get("/monitoring/readyz", "").await.data(200);
    shop.app.monitoring().recorder().flush().await.unwrap();
    assert!(shop.events("q=readyz").await.is_empty(), "nobody wants to read about probes");
}
