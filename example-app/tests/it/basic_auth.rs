//! `Authorization: Basic` before the monitoring, as Prometheus and Grafana send it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::socket::{Client, Listening, basic};
use crate::support::{ADMIN, PASSWORD, TestDatabase, on_each_database};

on_each_database!(
    name_and_password_are_as_good_as_a_token,
    what_is_not_right_is_one_answer,
    guesses_lock_the_name_for_basic_and_login_alike,
    a_scraper_that_got_in_once_is_not_locked_out_by_guesses_of_others,
    the_way_around_the_lock_out_is_no_way_to_guess,
    a_change_of_the_account_holds_from_the_next_request_on,
    twenty_first_requests_at_once_are_no_volley_of_guesses,
);

const SUMMARY: &str = "/monitoring/stats/summary";

async fn status(client: &Client<'_>) -> u16 {
    client.get(SUMMARY).await.status
}

async fn name_and_password_are_as_good_as_a_token(database: TestDatabase) {
    let shop = Listening::start(&database).await;
    let password = "pässwörd:mit:Doppelpunkt";
    shop.register("prometheus", password).await;
    let token = shop.log_in("prometheus", password).await;
    assert_eq!(status(&token).await, 200);
    let encoded = STANDARD.encode(format!("Prometheus:{password}"));
    for scheme in ["Basic", "basic", "BASIC"] {
        assert_eq!(status(&shop.client(1, format!("{scheme} {encoded}"))).await, 200);
    }
    let user = shop.client(1, basic("prometheus", password));
    assert_eq!(user.get("/monitoring/audit").await.status, 403, "with the role of the account");
    assert_eq!(shop.client(1, basic(ADMIN, PASSWORD)).get("/monitoring/audit").await.status, 200);
    assert_eq!(user.get("/auth/me").await.status, 401, "the shop itself is for people");
    shop.stop().await;
}

async fn what_is_not_right_is_one_answer(database: TestDatabase) {
    let shop = Listening::start(&database).await;
    let right = STANDARD.encode(format!("{ADMIN}:{PASSWORD}"));
    let refused = async |authorization: &[u8]| {
        let answer = shop.client(1, authorization).get(SUMMARY).await;
        assert_eq!(answer.status, 401, "{}", authorization.escape_ascii());
        let mut problem = answer.json();
        problem["request_id"].take();
        problem
    };
    let nobody = refused(b"").await;
    for authorization in [
        format!("Digest {right}"),
        format!("Bearer {right}"),
        right.clone(),
        "Basic".to_owned(),
        "Basic %%%".to_owned(),
        format!("Basic {}", right.trim_end_matches('=').trim_end_matches(char::is_alphanumeric)),
        format!("Basic {}", STANDARD.encode("no colon")),
        format!("Basic {}", STANDARD.encode(b"ada:\xff\xfe")),
        basic("", ""),
        basic(ADMIN, "not the password"),
        basic("nobody", PASSWORD),
        basic("no\0body", PASSWORD),
        basic(&"x".repeat(4_000), PASSWORD),
    ] {
        assert_eq!(refused(authorization.as_bytes()).await, nobody, "{authorization}");
    }
    assert_eq!(refused(b"Basic \xff\xfe").await, nobody);
    assert_eq!(status(&shop.client(1, basic(ADMIN, PASSWORD))).await, 200);
    shop.stop().await;
}

async fn guesses_lock_the_name_for_basic_and_login_alike(database: TestDatabase) {
    let shop = Listening::start(&database).await;
    let admin = shop.log_in(ADMIN, PASSWORD).await;
    for _ in 0..10 {
        let garbage = format!("Basic {}", STANDARD.encode(ADMIN));
        assert_eq!(status(&shop.client(2, garbage)).await, 401, "no guess");
    }
    for guess in 0..4 {
        assert_eq!(status(&shop.client(2, basic(ADMIN, &format!("guess {guess}")))).await, 401);
    }
    assert_eq!(status(&shop.client(3, basic(ADMIN, "one more guess"))).await, 401);
    assert_eq!(status(&shop.client(2, basic(ADMIN, PASSWORD))).await, 401);
    assert_eq!(status(&shop.client(4, basic(ADMIN, PASSWORD))).await, 401, "from everywhere");
    let login = json!({ "username": ADMIN, "password": PASSWORD });
    assert_eq!(shop.client(4, "").post("/auth/login", login).await.status, 429);

    shop.monitoring.recorder().flush().await.unwrap();
    let events = admin.get("/monitoring/events?source=auth-service&limit=1000").await;
    let told = |text: &str| events.body.matches(text).count();
    assert_eq!(told("\"message\":\"login failed\""), 5, "{}", events.body);
    assert_eq!(told("\"message\":\"login refused after too many failures\""), 3);
    for secret in ["guess 0", PASSWORD, &STANDARD.encode(format!("{ADMIN}:{PASSWORD}"))] {
        assert_eq!(told(secret), 0, "{secret}");
    }
    shop.stop().await;
}

async fn a_scraper_that_got_in_once_is_not_locked_out_by_guesses_of_others(database: TestDatabase) {
    let shop = Listening::start(&database).await;
    shop.register("prometheus", PASSWORD).await;
    let scraper = shop.client(2, basic("prometheus", PASSWORD));
    assert_eq!(status(&scraper).await, 200);
    // Elsewhere somebody guesses at its name, next to it at everybody's.
    for guess in 0..5 {
        assert_eq!(status(&shop.client(3, basic("prometheus", &format!("guess {guess}")))).await, 401);
    }
    for guess in 0..20 {
        assert_eq!(status(&shop.client(2, basic(&format!("user{guess}"), "guess"))).await, 401);
    }
    assert_eq!(status(&shop.client(2, basic(ADMIN, PASSWORD))).await, 401, "the address is locked");
    assert_eq!(status(&shop.client(3, basic("prometheus", PASSWORD))).await, 401, "the name is locked");
    for _ in 0..3 {
        assert_eq!(status(&scraper).await, 200);
    }
    assert_eq!(status(&shop.client(3, basic("prometheus", PASSWORD))).await, 401, "that cleared nothing");
    shop.stop().await;
}

async fn the_way_around_the_lock_out_is_no_way_to_guess(database: TestDatabase) {
    let shop = Listening::start(&database).await;
    shop.register("prometheus", PASSWORD).await;
    let scraper = shop.client(2, basic("prometheus", PASSWORD));
    assert_eq!(status(&scraper).await, 200);
    for guess in 0..4 {
        assert_eq!(status(&shop.client(2, basic("prometheus", &format!("guess {guess}")))).await, 401);
    }
    assert_eq!(status(&scraper).await, 200);
    assert_eq!(status(&shop.client(2, basic("prometheus", "guess 4"))).await, 401);
    assert_eq!(status(&scraper).await, 401, "five guesses from there, like five anywhere");
    shop.stop().await;
}

async fn a_change_of_the_account_holds_from_the_next_request_on(database: TestDatabase) {
    let shop = Listening::start(&database).await;
    let id = shop.register("grafana", PASSWORD).await;
    let admin = shop.log_in(ADMIN, PASSWORD).await;
    let grafana = shop.client(2, basic("grafana", PASSWORD));
    let stats = async || grafana.get("/monitoring/stats").await.status;
    assert_eq!(stats().await, 403);
    for (role, expected) in [("moderator", 200), ("user", 403)] {
        admin.put(&format!("/users/{id}/role"), json!({ "role": role })).await;
        assert_eq!(stats().await, expected);
    }
    let reset = admin.post(&format!("/users/{id}/force-password-reset"), json!({})).await;
    assert_eq!(reset.status, 200, "{}", reset.body);
    for _ in 0..6 {
        assert_eq!(stats().await, 401);
    }
    let renewed = "battery staple";
    let login = json!({ "username": "grafana", "password": PASSWORD, "new_password": renewed });
    let login = shop.client(1, "").post("/auth/login", login).await;
    assert_eq!(login.status, 200, "a right password, however often, locks nobody out: {}", login.body);
    assert_eq!(stats().await, 401, "the old password");
    assert_eq!(status(&shop.client(2, basic("grafana", renewed))).await, 200);
    shop.stop().await;
}

async fn twenty_first_requests_at_once_are_no_volley_of_guesses(database: TestDatabase) {
    let shop = Listening::start(&database).await;
    shop.register("grafana", PASSWORD).await;
    let grafana = shop.client(2, basic("grafana", PASSWORD));
    let statuses = join_all((0..20).map(|_| status(&grafana))).await;
    assert_eq!(statuses, [200; 20]);
    let guesser = shop.client(3, basic("grafana", "guess"));
    assert_eq!(join_all((0..20).map(|_| status(&guesser))).await, [401; 20]);
    assert_eq!(status(&grafana).await, 200);
    shop.stop().await;
}
