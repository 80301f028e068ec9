//! Roles, and making someone choose a new password.

use serde_json::json;

use crate::support::{ADMIN, PASSWORD, Shop, TestDatabase, on_each_database};

on_each_database!(
    only_an_admin_sees_and_changes_roles,
    the_last_admin_stays_admin,
    a_forced_reset_ends_sessions_and_demands_a_new_password,
    no_login_under_way_outlives_a_forced_reset,
    of_two_who_change_a_password_at_once_one_is_refused,
    a_moderator_may_not_reset_an_admin,
);

async fn set_role(shop: &Shop, token: &str, id: &str, role: &str) -> crate::support::Reply {
    shop.put(&format!("/users/{id}/role"), token, json!({ "role": role })).await
}

async fn only_an_admin_sees_and_changes_roles(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let (id, bob) = shop.register_and_login("bob").await;
    shop.get("/users", &bob).await.problem(403, "forbidden");
    set_role(&shop, &bob, &id, "admin").await.problem(403, "forbidden");

    let users = shop.get("/users", &admin).await.data(200);
    let names: Vec<&str> =
        users.as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap()).collect();
    assert_eq!(names, [ADMIN, "bob"]);
    let page = shop.get("/users?limit=1&offset=1", &admin).await.data(200);
    assert_eq!(page.as_array().unwrap().len(), 1);
    shop.get("/users?limit=0", &admin).await.problem(400, "validation_failed");

    let bob_now = set_role(&shop, &admin, &id, "moderator").await.data(200);
    assert_eq!(bob_now["role"], "moderator");
    assert_eq!(shop.get("/auth/me", &bob).await.data(200)["role"], "moderator", "at once");
    shop.get("/users", &bob).await.problem(403, "forbidden");
    set_role(&shop, &admin, &id, "emperor").await.problem(400, "bad_request");
    set_role(&shop, &admin, "42", "user").await.problem(400, "bad_request");
    let nobody = "00000000-0000-4000-8000-000000000000";
    set_role(&shop, &admin, nobody, "user").await.problem(404, "not_found");
}

async fn the_last_admin_stays_admin(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let me = shop.get("/auth/me", &admin).await.data(200);
    let admin_id = me["id"].as_str().unwrap();
    set_role(&shop, &admin, admin_id, "user").await.problem(409, "last_admin");
    set_role(&shop, &admin, admin_id, "admin").await.data(200);

    let (eve_id, eve) = shop.register_and_login("eve").await;
    set_role(&shop, &admin, &eve_id, "admin").await.data(200);
    // Each demotes the other at the same time; one of them must remain.
    let (first, second) =
        tokio::join!(set_role(&shop, &admin, &eve_id, "user"), set_role(&shop, &eve, admin_id, "user"),);
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    // The loser is refused as the last admin, or was no admin any more when its turn came.
    assert!(matches!(statuses, [200, 403 | 409]), "{statuses:?}");
}

async fn a_forced_reset_ends_sessions_and_demands_a_new_password(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let (id, bob) = shop.register_and_login("bob").await;
    let reset = format!("/users/{id}/force-password-reset");
    shop.post(&reset, &bob, json!({})).await.problem(403, "forbidden");
    let user = shop.post(&reset, &admin, json!({})).await.data(200);
    assert_eq!(user["must_reset_password"], true);
    shop.get("/auth/me", &bob).await.problem(401, "unauthenticated");

    let client = shop.at_address(1);
    client.login("bob", PASSWORD).await.problem(403, "password_reset_required");
    let login = |new: &str| json!({ "username": "bob", "password": PASSWORD, "new_password": new });
    shop.post("/auth/login", "", login("short")).await.problem(400, "validation_failed");
    shop.post("/auth/login", "", login(PASSWORD)).await.problem(400, "validation_failed");
    let session = shop.post("/auth/login", "", login("battery staple")).await.data(200);
    let token = session["token"].as_str().unwrap();
    assert_eq!(shop.get("/auth/me", token).await.data(200)["must_reset_password"], false);
    client.login("bob", PASSWORD).await.problem(401, "wrong_credentials");
    client.login("bob", "battery staple").await.data(200);
}

/// The password is checked first, which takes long, and the session opened afterwards.
async fn no_login_under_way_outlives_a_forced_reset(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    for name in ["ann", "bob", "cleo", "dora", "emil"] {
        let id = shop.register(name).await;
        let login = json!({ "username": name, "password": PASSWORD });
        let reset = format!("/users/{id}/force-password-reset");
        let (login, reset) =
            tokio::join!(shop.post("/auth/login", "", login), shop.post(&reset, &admin, json!({})));
        reset.data(200);
        if let Some(token) = login.body["data"]["token"].as_str() {
            shop.get("/auth/me", token).await.problem(401, "unauthenticated");
        } else {
            assert!(matches!(login.status.as_u16(), 403 | 409), "{:#}", login.body);
        }
    }
}

async fn of_two_who_change_a_password_at_once_one_is_refused(database: TestDatabase) {
    let shop = database.start().await;
    shop.register("bob").await;
    let login = |new| json!({ "username": "bob", "password": PASSWORD, "new_password": new });
    let (first, second) = tokio::join!(
        shop.post("/auth/login", "", login("battery staple")),
        shop.post("/auth/login", "", login("staple battery")),
    );
    let mut replies = [first, second];
    replies.sort_by_key(|reply| reply.status);
    let [winner, loser] = replies;
    let token = winner.data(200)["token"].as_str().unwrap().to_owned();
    assert!(matches!(loser.status.as_u16(), 401 | 409), "{:#}", loser.body);
    shop.get("/auth/me", &token).await.data(200);
}

async fn a_moderator_may_not_reset_an_admin(database: TestDatabase) {
    let shop = database.start().await;
    let admin = shop.login(ADMIN).await;
    let admin_id = shop.get("/auth/me", &admin).await.data(200)["id"].clone();
    let (mod_id, moderator) = shop.register_and_login("moderator1").await;
    set_role(&shop, &admin, &mod_id, "moderator").await.data(200);
    let user_id = shop.register("bob").await;

    let reset = |id: &str| format!("/users/{id}/force-password-reset");
    let admin_id = admin_id.as_str().unwrap();
    shop.post(&reset(admin_id), &moderator, json!({})).await.problem(403, "forbidden");
    shop.post(&reset(&user_id), &moderator, json!({})).await.data(200);
    shop.get("/auth/me", &admin).await.data(200);
}
