//! Placing and seeing orders.

use serde_json::json;

use crate::support::{ADMIN, TestDatabase, on_each_database};

on_each_database!(
    the_shop_sets_the_price,
    an_order_that_cannot_be_placed_says_why,
    users_see_their_own_orders_and_moderators_all,
);

async fn the_shop_sets_the_price(database: TestDatabase) {
    let shop = database.start().await;
    let (id, bob) = shop.register_and_login("bob").await;
    let body = json!({ "product": "mug", "quantity": 3, "total_cents": 1 });
    let order = shop.post("/orders", &bob, body).await.data(201);
    assert_eq!(order["total_cents"], 3_600);
    assert_eq!(order["status"], "pending");
    assert_eq!(order["user_id"], *id);
    let path = format!("/orders/{}", order["id"].as_str().unwrap());
    assert_eq!(shop.get(&path, &bob).await.data(200), order);
}

async fn an_order_that_cannot_be_placed_says_why(database: TestDatabase) {
    let shop = database.start().await;
    shop.post("/orders", "", json!({ "product": "mug" })).await.problem(401, "unauthenticated");
    let (_, bob) = shop.register_and_login("bob").await;
    let body = json!({ "product": "yacht", "quantity": 0 });
    let reply = shop.post("/orders", &bob, body).await.problem(400, "validation_failed");
    let errors = reply.body["errors"].as_array().unwrap();
    assert!(errors[0]["message"].as_str().unwrap().contains("espresso-beans"), "{errors:?}");
    assert_eq!(errors[1]["field"], "quantity");
}

async fn users_see_their_own_orders_and_moderators_all(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let (_, bob) = shop.register_and_login("bob").await;
    let (_, eve) = shop.register_and_login("eve").await;
    let order = shop.post("/orders", &bob, json!({ "product": "mug" })).await.data(201);
    shop.post("/orders", &bob, json!({ "product": "kettle" })).await.data(201);
    shop.post("/orders", &eve, json!({ "product": "grinder" })).await.data(201);

    let path = format!("/orders/{}", order["id"].as_str().unwrap());
    shop.get(&path, &eve).await.problem(404, "not_found");
    shop.get(&path, &admin).await.data(200);
    let bobs = shop.get("/orders", &bob).await.data(200);
    assert_eq!(bobs.as_array().unwrap().len(), 2);
    assert_eq!(bobs[0]["product"], "kettle", "newest first");
    assert_eq!(shop.get("/orders", &eve).await.data(200).as_array().unwrap().len(), 1);
    assert_eq!(shop.get("/orders", &admin).await.data(200).as_array().unwrap().len(), 3);
}
