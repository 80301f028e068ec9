//! The routing of alerts.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;

use super::{Sqlite, optional_time};
use crate::model::{StoredRouting, to_micros};
use crate::store::StoreError;
use crate::store::routing::RoutingStore;
use crate::store::row::Place;

const TABLE: &str = "monitoring_notification_routing";

impl RoutingStore for Sqlite<'_> {
    async fn routing(&mut self) -> Result<StoredRouting, StoreError> {
        let row = sqlx::query("SELECT routing, version, updated_at, updated_by FROM monitoring_notification_routing WHERE id = 1")
            .fetch_one(&mut *self.connection)
            .await?;
        routing(&row)
    }

    async fn lock_routing(&mut self) -> Result<StoredRouting, StoreError> {
        // Transactions of ours take the write lock when they begin.
        self.routing().await
    }

    async fn put_routing(&mut self, routing: &StoredRouting) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE monitoring_notification_routing
             SET routing = ?1, version = ?2, updated_at = ?3, updated_by = ?4
             WHERE id = 1",
        )
        .bind(Json(&routing.routing))
        .bind(routing.version)
        .bind(routing.updated_at.map(to_micros))
        .bind(routing.updated_by)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}

fn routing(row: &SqliteRow) -> Result<StoredRouting, StoreError> {
    let key = 1;
    let place = Place { table: "monitoring_notification_routing", row: key };
    Ok(StoredRouting {
        routing: place.json(row, "routing")?,
        version: row.try_get("version")?,
        updated_at: optional_time(row, "updated_at", TABLE, key)?,
        updated_by: row.try_get("updated_by")?,
    })
}
