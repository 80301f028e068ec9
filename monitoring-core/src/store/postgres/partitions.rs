//! Partitions by UTC day, made ahead of time, dropped whole.
//!
//! A statement of the host's that runs long must not be what new telemetry waits behind: whatever
//! needs a strong lock gives up after [`LOCK_TIMEOUT`], and is tried again at the next tick.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::Postgres;
use crate::store::StoreError;
use crate::store::partitions::{Expired, PartitionStore};

/// How long we, and everybody who comes after us, wait for somebody else's lock.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";
/// Days whose strays one call moves, per table.
const STRAY_DAYS_MAX: usize = 8;

impl PartitionStore for Postgres<'_> {
    async fn prepare_partitions(&mut self, first: NaiveDate, last: NaiveDate) -> Result<(), StoreError> {
        for table in Table::ALL {
            let existing = days(self.connection, self.schema, table).await?;
            for day in first.iter_days().take_while(|day| *day <= last) {
                if !existing.contains(&day) {
                    self.make_partition(table, day).await?;
                }
            }
        }
        Ok(())
    }

    async fn move_strays(&mut self) -> Result<u64, StoreError> {
        let mut moved = 0;
        for table in Table::ALL {
            for _ in 0..STRAY_DAYS_MAX {
                let Some(oldest) = self.oldest_stray(table).await? else { break };
                moved += self.make_partition(table, oldest.date_naive()).await?;
            }
        }
        Ok(moved)
    }

    async fn expire(
        &mut self,
        events_before: DateTime<Utc>,
        samples_before: DateTime<Utc>,
        rows_max: u32,
    ) -> Result<Expired, StoreError> {
        let (event_days, events) = self.expire_table(Table::Events, events_before, rows_max).await?;
        let (sample_days, samples) =
            self.expire_table(Table::MetricSamples, samples_before, rows_max).await?;
        let (chunk_days, chunks) = self.expire_table(Table::MetricChunks, samples_before, rows_max).await?;
        let partitions = event_days + sample_days + chunk_days;
        Ok(Expired { events, samples, chunks, exemplars: 0, partitions })
    }
}

impl Postgres<'_> {
    /// Makes the partition of one day, unless another replica was faster, and moves the day's rows
    /// there. Only the default partition is locked against others, and it is all but empty.
    async fn make_partition(&mut self, table: Table, day: NaiveDate) -> Result<u64, StoreError> {
        let schema = self.schema;
        let (table_name, time, name) = (table.name(), table.time(), partition_name(table, day));
        let (from, to) = (midnight(day), midnight(next(day)));
        let bounds = (from.format("%F %T+00"), to.format("%F %T+00"));
        let mut transaction = self.connection.begin().await?;
        begin_ddl(&mut transaction).await?;
        if days(&mut transaction, schema, table).await?.contains(&day) {
            return Ok(0);
        }
        // Attaching a finished table locks the parent against no reader and no writer.
        let create = format!("CREATE TABLE {schema}.{name} (LIKE {schema}.{table_name} INCLUDING ALL)");
        let lock = format!("LOCK TABLE {schema}.{table_name}_default IN ACCESS EXCLUSIVE MODE");
        // All columns, whichever later migrations add; both tables have them in the parent's order.
        let move_rows = format!(
            "WITH moved AS (
                 DELETE FROM {schema}.{table_name}_default
                 WHERE {time} >= $1 AND {time} < $2
                 RETURNING *
             )
             INSERT INTO {schema}.{name} SELECT * FROM moved"
        );
        let attach = format!(
            "ALTER TABLE {schema}.{table_name} ATTACH PARTITION {schema}.{name}
             FOR VALUES FROM ('{}') TO ('{}')",
            bounds.0, bounds.1
        );
        execute(&mut transaction, create).await?;
        execute(&mut transaction, lock).await?;
        let moved =
            sqlx::query(AssertSqlSafe(move_rows)).bind(from).bind(to).execute(&mut *transaction).await?;
        execute(&mut transaction, attach).await?;
        transaction.commit().await?;
        Ok(moved.rows_affected())
    }

    /// When the oldest row happened whose day has no partition.
    async fn oldest_stray(&mut self, table: Table) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (schema, table, time) = (self.schema, table.name(), table.time());
        let sql = format!("SELECT min({time}) FROM {schema}.{table}_default");
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *self.connection).await?)
    }

    /// Drops partitions that are wholly older and deletes older strays. Returns how many of each.
    async fn expire_table(
        &mut self,
        table: Table,
        before: DateTime<Utc>,
        rows_max: u32,
    ) -> Result<(u64, u64), StoreError> {
        let mut dropped = 0;
        for day in days(self.connection, self.schema, table).await? {
            if midnight(next(day)) <= before {
                self.drop_partition(table, day).await?;
                dropped += 1;
            }
        }
        let (schema, table, time) = (self.schema, table.name(), table.time());
        let sql = format!(
            "DELETE FROM {schema}.{table}_default WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM {schema}.{table}_default WHERE {time} < $1 LIMIT $2
             ))"
        );
        let deleted = sqlx::query(AssertSqlSafe(sql))
            .bind(before)
            .bind(i64::from(rows_max))
            .execute(&mut *self.connection)
            .await?;
        Ok((dropped, deleted.rows_affected()))
    }

    async fn drop_partition(&mut self, table: Table, day: NaiveDate) -> Result<(), StoreError> {
        let (schema, name) = (self.schema, partition_name(table, day));
        let mut transaction = self.connection.begin().await?;
        begin_ddl(&mut transaction).await?;
        execute(&mut transaction, format!("DROP TABLE IF EXISTS {schema}.{name}")).await?;
        transaction.commit().await?;
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Table {
    Events,
    MetricSamples,
    MetricChunks,
}

impl Table {
    const ALL: [Self; 3] = [Self::Events, Self::MetricSamples, Self::MetricChunks];

    const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::MetricSamples => "metric_samples",
            Self::MetricChunks => "metric_chunks",
        }
    }

    /// The column that says on which day a row is.
    const fn time(self) -> &'static str {
        match self {
            Self::Events | Self::MetricSamples => "timestamp",
            Self::MetricChunks => "end_time",
        }
    }
}

/// One replica at a time changes partitions.
async fn begin_ddl(connection: &mut PgConnection) -> Result<(), StoreError> {
    /// Identifies the lock among the database's advisory locks: the letters `monpart`.
    const LOCK: i64 = 0x6d_6f6e_7061_7274;

    sqlx::query(LOCK_TIMEOUT).execute(&mut *connection).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *connection).await?;
    Ok(())
}

/// `statement` is made of our own names, the checked schema and dates, nothing else.
async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), StoreError> {
    sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(connection).await?;
    Ok(())
}

/// Days that have a partition. Somebody else's table of the same name is none.
async fn days(
    connection: &mut PgConnection,
    schema: &str,
    table: Table,
) -> Result<BTreeSet<NaiveDate>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT partition.relname::text
         FROM pg_catalog.pg_inherits AS inherits
         JOIN pg_catalog.pg_class AS partition ON partition.oid = inherits.inhrelid
         WHERE inherits.inhparent = to_regclass($1)
         ORDER BY partition.relname",
    )
    .bind(format!("{schema}.{}", table.name()))
    .fetch_all(connection)
    .await?;
    Ok(names.iter().filter_map(|name| partition_day(table, name)).collect())
}

fn partition_name(table: Table, day: NaiveDate) -> String {
    format!("{}_{}", table.name(), day.format("%Y%m%d"))
}

fn partition_day(table: Table, name: &str) -> Option<NaiveDate> {
    let day = name.strip_prefix(table.name())?.strip_prefix('_')?;
    NaiveDate::parse_from_str(day, "%Y%m%d").ok()
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn next(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_after_its_day() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
        let name = partition_name(Table::Events, day);
        assert_eq!(name, "events_20261123");
        assert_eq!(partition_day(Table::Events, &name), Some(day));
        assert_eq!(partition_day(Table::Events, "events_default"), None);
    }
}
