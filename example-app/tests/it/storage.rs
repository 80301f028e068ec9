//! The shop, its job queue and others in one database.

use serde_json::json;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::support::{ADMIN, TestDatabase, on_each_database};

on_each_database!(
    the_shop_starts_again_on_its_own_data,
    everyone_keeps_their_own_migration_books,
    two_shops_start_at_once_on_one_database,
);

async fn the_shop_starts_again_on_its_own_data(database: TestDatabase) {
    let shop = database.start().await;
    assert_eq!(shop.app.first_admin().unwrap().username(), ADMIN);
    assert_eq!(shop.app.first_admin().unwrap().generated_password(), None);
    let token = shop.login(ADMIN).await;
    let order = shop.post("/orders", &token, json!({ "product": "mug" })).await.data(201);
    assert_eq!(shop.stop().await, example_app::Stopped::Finished);

    let shop = database.start().await;
    assert!(shop.app.first_admin().is_none());
    let orders = shop.get("/orders", &token).await.data(200);
    assert_eq!(orders, json!([order]), "the session and the order are still there");
}

async fn everyone_keeps_their_own_migration_books(database: TestDatabase) {
    let guest = Migration::new(
        20_990_101,
        "a guest in the same database".into(),
        MigrationType::Simple,
        "CREATE TABLE guest (id INTEGER)".into_sql_str(),
        false,
    );
    let mut guest = Migrator::with_migrations(vec![guest]);
    guest.dangerous_set_table_name("_guest_migrations");
    database.migrate(&guest).await;
    drop(database.start().await);
    database.migrate(&guest).await;
    drop(database.start().await);

    let shop = database.numbers("SELECT version FROM _sqlx_migrations ORDER BY version").await;
    assert_eq!(shop, [1]);
    let queue = if database.is_postgres() {
        database.numbers("SELECT count(*) FROM apalis._sqlx_migrations").await
    } else {
        database.numbers("SELECT count(*) FROM _apalis_migrations").await
    };
    assert!(queue[0] > 0);
}

async fn two_shops_start_at_once_on_one_database(database: TestDatabase) {
    let (one, two) = tokio::join!(database.start(), database.start());
    let admins = [&one, &two].iter().filter(|shop| shop.app.first_admin().is_some()).count();
    assert_eq!(admins, 1);
    let token = one.login(ADMIN).await;
    two.get("/auth/me", &token).await.data(200);
}
