//! The routing of alerts.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::Postgres;
use crate::model::StoredRouting;
use crate::store::StoreError;
use crate::store::routing::RoutingStore;
use crate::store::row::Place;

impl RoutingStore for Postgres<'_> {
    async fn routing(&mut self) -> Result<StoredRouting, StoreError> {
        let row = sqlx::query(self.sql("SELECT routing, version, updated_at, updated_by FROM monitoring.notification_routing WHERE id = 1"))
            .fetch_one(&mut *self.connection)
            .await?;
        routing(&row)
    }

    async fn lock_routing(&mut self) -> Result<StoredRouting, StoreError> {
        let row = sqlx::query(self.sql("SELECT routing, version, updated_at, updated_by FROM monitoring.notification_routing WHERE id = 1 FOR UPDATE"))
            .fetch_one(&mut *self.connection)
            .await?;
        routing(&row)
    }

    async fn put_routing(&mut self, routing: &StoredRouting) -> Result<(), StoreError> {
        sqlx::query(self.sql(
            "UPDATE monitoring.notification_routing
             SET routing = $1, version = $2, updated_at = $3, updated_by = $4
             WHERE id = 1",
        ))
        .bind(Json(&routing.routing))
        .bind(routing.version)
        .bind(routing.updated_at)
        .bind(routing.updated_by)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}

fn routing(row: &PgRow) -> Result<StoredRouting, StoreError> {
    let key = 1;
    let place = Place { table: "notification_routing", row: key };
    Ok(StoredRouting {
        routing: place.json(row, "routing")?,
        version: row.try_get("version")?,
        updated_at: row.try_get("updated_at")?,
        updated_by: row.try_get("updated_by")?,
    })
}
