//! Registering, logging in and out, and the lock-out against guessing.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::support::{ADMIN, PASSWORD, TestDatabase, on_each_database};

on_each_database!(
    a_session_lasts_from_login_to_logout,
    registration_follows_the_rules,
    names_are_unique_without_regard_to_case,
    a_network_registers_ten_accounts_at_a_time,
    wrong_password_and_unknown_user_are_one_answer,
    five_failures_lock_a_name_from_everywhere,
    a_body_that_is_not_acceptable_is_a_problem,
);

async fn a_session_lasts_from_login_to_logout(database: TestDatabase) {
    let shop = database.start().await;
    let id = shop.register("Ada").await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let session = shop.post("/auth/login", "", body).await.data(200);
    assert_eq!(session["user"]["id"], *id);
    assert_eq!(session["user"]["username"], "Ada");
    assert_eq!(session["user"]["role"], "user");
    let token = session["token"].as_str().unwrap();
    assert_eq!(token.len(), 64);

    let me = shop.get("/auth/me", token).await.data(200);
    assert_eq!(me["username"], "Ada");
    assert!(me.get("password_hash").is_none());

    shop.post("/auth/logout", token, json!({})).await.data(200);
    let refused = shop.get("/auth/me", token).await.problem(401, "unauthenticated");
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    shop.get("/auth/me", "").await.problem(401, "unauthenticated");
    shop.get("/auth/me", "0123").await.problem(401, "unauthenticated");
}

async fn registration_follows_the_rules(database: TestDatabase) {
    let shop = database.start().await;
    let body = json!({ "username": "a b", "password": "short" });
    let reply = shop.post("/auth/register", "", body).await.problem(400, "validation_failed");
    let errors = reply.body["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0]["field"], "username");
    assert_eq!(errors[1]["field"], "password");
    let body = json!({ "username": "longpass", "password": "x".repeat(129) });
    shop.post("/auth/register", "", body).await.problem(400, "validation_failed");
    let body = json!({ "username": "mallory", "password": PASSWORD, "role": "admin" });
    assert_eq!(shop.post("/auth/register", "", body).await.data(201)["role"], "user");
}

async fn names_are_unique_without_regard_to_case(database: TestDatabase) {
    let shop = database.start().await;
    shop.register("ada").await;
    let body = json!({ "username": "ADA", "password": PASSWORD });
    shop.post("/auth/register", "", body).await.problem(409, "username_taken");
}

async fn a_network_registers_ten_accounts_at_a_time(database: TestDatabase) {
    let shop = database.start().await;
    let client = shop.at_address(1);
    let bad = json!({ "username": "a b", "password": PASSWORD });
    client.register(bad).await.problem(400, "validation_failed");
    client.register(json!({ "username": "ada", "password": PASSWORD })).await.data(201);
    for _ in 0..9 {
        let taken = json!({ "username": "Ada", "password": PASSWORD });
        client.register(taken).await.problem(409, "username_taken");
    }
    let bob = json!({ "username": "bob", "password": PASSWORD });
    let refused = client.register(bob.clone()).await.problem(429, "too_many_attempts");
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((890..=900).contains(&seconds), "{seconds}");
    client.login("ada", PASSWORD).await.data(200);
    shop.at_address(2).register(bob).await.data(201);
}

async fn wrong_password_and_unknown_user_are_one_answer(database: TestDatabase) {
    let shop = database.start().await;
    let client = shop.at_address(1);
    let wrong = client.login(ADMIN, "not the password").await;
    let unknown = client.login("nobody", "not the password").await;
    assert_eq!(wrong.body, unknown.body);
    wrong.problem(401, "wrong_credentials");
    unknown.problem(401, "wrong_credentials");
}

async fn five_failures_lock_a_name_from_everywhere(database: TestDatabase) {
    let shop = database.start().await;
    let client = shop.at_address(1);
    client.login("nobody", "guess").await.problem(401, "wrong_credentials");
    client.login(ADMIN, PASSWORD).await.data(200);
    for _ in 0..5 {
        client.login(ADMIN, "guess").await.problem(401, "wrong_credentials");
    }
    let locked = client.login(ADMIN, PASSWORD).await.problem(429, "too_many_attempts");
    let seconds: u64 = locked.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((890..=900).contains(&seconds), "{seconds}");
    let elsewhere = shop.at_address(2);
    elsewhere.login(ADMIN, PASSWORD).await.problem(429, "too_many_attempts");
}

async fn a_body_that_is_not_acceptable_is_a_problem(database: TestDatabase) {
    let shop = database.start().await;
    let login = |content_type: &str, body: String| {
        Request::post("/api/v1/auth/login")
            .header("content-type", content_type)
            .body(Body::from(body))
            .unwrap()
    };
    let json = "application/json";
    shop.send(login(json, "{".into())).await.problem(400, "bad_request");
    shop.send(login(json, "{}".into())).await.problem(400, "bad_request");
    shop.send(login("text/plain", "{}".into())).await.problem(415, "not_json");
    let long = format!("{{\"username\":\"{}\"}}", "x".repeat(70_000));
    shop.send(login(json, long)).await.problem(413, "body_too_large");
    shop.get("/no/such/path", "").await.problem(404, "not_found");
    let delete = Request::delete("/api/v1/auth/me").body(Body::empty()).unwrap();
    let refused = shop.send(delete).await.problem(405, "method_not_allowed");
    assert!(refused.headers.contains_key("allow"));
}
