//! Partitions by UTC day, made ahead of time, dropped whole.
//!
//! A statement of the host's that runs long must not be what new telemetry waits behind: whatever
//! needs a strong lock gives up soon, and is tried again: a day to be dropped several times in a row, so that
//! a host's transaction has to end only now and then, and all else at the next tick.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::Postgres;
use crate::store::StoreError;
use crate::store::archive::Removal;
use crate::store::partitions::{DayTable as Table, Expired, PartitionStore, Removed, bounds};

/// How long we, and everybody who comes after us, wait for somebody else's lock. And how long a statement may
/// take, whatever the host's role allows its own, or a lease: a large day takes a while to be counted.
const DDL_TIMEOUTS: &str = "SELECT set_config('lock_timeout', '2s', true),
                                   set_config('statement_timeout', '5min', true)";
/// How long to wait for the strong lock that dropping takes, each time: while holding another. Together with the
/// pause it is shorter than the second after which the server takes those who wait for us for deadlocked.
const DROP_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '400ms'";
/// How often that lock is tried for before the next tick.
const DROP_TRIES: u32 = 12;
/// Between two tries: everybody else has their turn. Shorter than a transaction under a lease may be idle.
const DROP_PAUSE: Duration = Duration::from_millis(400);
/// A partition so large, in bytes, is counted only where the number matters: that takes minutes.
const COUNTED_BYTES_MAX: u64 = 64 << 20;
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
        Ok(Expired {
            events: self.expire_table(Table::Events, events_before, rows_max).await?,
            samples: self.expire_table(Table::Samples, samples_before, rows_max).await?,
            chunks: self.expire_table(Table::Chunks, samples_before, rows_max).await?,
        })
    }
}

impl Postgres<'_> {
    /// Makes the partition of one day, unless another replica was faster, and moves the day's rows
    /// there. Only the default partition is locked against others, and it is all but empty.
    async fn make_partition(&mut self, table: Table, day: NaiveDate) -> Result<u64, StoreError> {
        let schema = self.schema;
        let (table_name, time, name) = (table.name(), table.time(), partition_name(table, day));
        let (from, to) = bounds(day);
        let mut transaction = self.connection.begin().await?;
        begin_ddl(&mut transaction).await?;
        if days(&mut transaction, schema, table).await?.contains(&day) {
            return Ok(0);
        }
        // Attaching a finished table locks the parent against no reader and no writer.
        let create = creation(schema, table, &name);
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
        let attach = attachment(schema, table, day);
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

    /// Drops the oldest partition if it is wholly older; where none is, deletes older strays.
    async fn expire_table(
        &mut self,
        table: Table,
        before: DateTime<Utc>,
        rows_max: u32,
    ) -> Result<Removed, StoreError> {
        for day in days(self.connection, self.schema, table).await? {
            let removed = match bounds(day).1 <= before {
                true => self.drop_partition(table, day).await?,
                false => break,
            };
            // One a call, which may take a while.
            if removed != Removed::default() {
                return Ok(removed);
            }
        }
        let (schema, name, time, stays) = (self.schema, table.name(), table.time(), self.stays(table));
        let sql = format!(
            "WITH gone AS (
                 DELETE FROM {schema}.{name}_default WHERE ctid = ANY (ARRAY(
                     SELECT ctid FROM {schema}.{name}_default AS stored
                     WHERE {time} < $1 AND NOT {stays}
                     LIMIT $2
                 ))
                 RETURNING *
             )
             SELECT count(*), coalesce(sum(pg_column_size(gone.*)), 0)::bigint FROM gone"
        );
        let statement = sqlx::query_as(AssertSqlSafe(sql)).bind(before).bind(i64::from(rows_max));
        let (rows, bytes): (i64, i64) = statement.fetch_one(&mut *self.connection).await?;
        Ok(Removed { rows: rows.unsigned_abs(), bytes: bytes.unsigned_abs(), partitions: 0 })
    }

    /// Drops a partition, or what may leave of it.
    async fn drop_partition(&mut self, table: Table, day: NaiveDate) -> Result<Removed, StoreError> {
        let schema = self.schema;
        let mut transaction = self.connection.begin().await?;
        begin_ddl(&mut transaction).await?;
        let mut store = Postgres::new(&mut transaction, schema);
        if !days(store.connection, schema, table).await?.contains(&day) {
            return Ok(Removed::default()); // another replica was faster
        }
        let held = store.held(table, day, COUNTED_BYTES_MAX).await?;
        if held.rows == 0 && held.kept > 0 {
            return Ok(Removed::default());
        }
        if !store.replace_partition(table, day, held.kept > 0).await? {
            return Ok(Removed::default());
        }
        transaction.commit().await?;
        Ok(Removed { rows: held.rows, bytes: held.bytes, partitions: 1 })
    }

    /// Drops a partition in this transaction, if it holds just so many rows that may leave, with so many
    /// samples in them where they are chunks.
    pub(super) async fn drop_exactly(
        &mut self,
        table: Table,
        day: NaiveDate,
        (rows, samples): (u64, u64),
    ) -> Result<Removal, StoreError> {
        begin_ddl(self.connection).await?;
        if !days(self.connection, self.schema, table).await?.contains(&day) {
            return Ok(Removal::changed());
        }
        // From here on nothing is added; whoever wants to waits while rows are counted.
        let lock = format!("LOCK TABLE {}.{} IN SHARE MODE", self.schema, partition_name(table, day));
        execute(self.connection, lock).await?;
        let held = self.held(table, day, u64::MAX >> 1).await?;
        if (held.rows, held.samples) != (rows, samples) {
            return Ok(Removal::changed());
        }
        if held.rows == 0 && held.kept > 0 {
            return Ok(Removal::default());
        }
        if !self.replace_partition(table, day, held.kept > 0).await? {
            return Ok(Removal::changed());
        }
        let removed = Removed { rows: held.rows, bytes: held.bytes, partitions: 1 };
        Ok(Removal { removed, ..Removal::default() })
    }

    /// Drops a partition, and makes one of what is to be kept of it. A host's transaction that has touched
    /// the table keeps us from it, so it is tried several times, without counting the rows again. False where
    /// somebody waits to write into the partition: they hold the table, which is needed, until they have.
    async fn replace_partition(
        &mut self,
        table: Table,
        day: NaiveDate,
        keep: bool,
    ) -> Result<bool, StoreError> {
        // Whoever waits may hold what is needed now. Giving up before the server looks for deadlocks keeps it
        // from choosing them.
        execute(self.connection, DROP_LOCK_TIMEOUT.to_owned()).await?;
        for _ in 1..DROP_TRIES {
            let mut attempt = self.connection.begin().await?;
            let replaced = Postgres::new(&mut attempt, self.schema).try_to_replace(table, day, keep).await;
            match replaced {
                Ok(()) => return Ok(attempt.commit().await.map(|()| true)?),
                Err(error) if error.is_locked_out() => attempt.rollback().await?,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(DROP_PAUSE).await;
            if self.is_waited_for(table, day).await? {
                return Ok(false);
            }
        }
        self.try_to_replace(table, day, keep).await.map(|()| true)
    }

    /// Whether somebody waits for a partition.
    async fn is_waited_for(&mut self, table: Table, day: NaiveDate) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (
                       SELECT FROM pg_catalog.pg_locks
                       WHERE NOT granted AND relation = to_regclass($1) AND database = (
                           SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()
                       )
                   )";
        let name = format!("{}.{}", self.schema, partition_name(table, day));
        Ok(sqlx::query_scalar(sql).bind(name).fetch_one(&mut *self.connection).await?)
    }

    async fn try_to_replace(&mut self, table: Table, day: NaiveDate, keep: bool) -> Result<(), StoreError> {
        let (schema, parent, name) = (self.schema, table.name(), partition_name(table, day));
        let drop = format!("DROP TABLE IF EXISTS {schema}.{name}");
        if !keep {
            return execute(self.connection, drop).await;
        }
        let (kept, stays) = (format!("{name}_kept"), self.stays(table));
        let statements = [
            creation(schema, table, &kept),
            format!("INSERT INTO {schema}.{kept} SELECT * FROM {schema}.{name} AS stored WHERE {stays}"),
            drop,
            format!("ALTER TABLE {schema}.{kept} RENAME TO {name}"),
            // Attaching looks whether any row of the day is there.
            format!("LOCK TABLE {schema}.{parent}_default IN ACCESS EXCLUSIVE MODE"),
            attachment(schema, table, day),
        ];
        for statement in statements {
            execute(self.connection, statement).await?;
        }
        Ok(())
    }

    /// What is in a partition; if that is more than so many bytes, by the server's estimate.
    async fn held(&mut self, table: Table, day: NaiveDate, bytes_max: u64) -> Result<Held, StoreError> {
        let (schema, name, stays) = (self.schema, partition_name(table, day), self.stays(table));
        let samples = match table {
            Table::Chunks => format!("(SELECT coalesce(sum(samples), 0)::bigint FROM {schema}.{name})"),
            Table::Events | Table::Samples => "0::bigint".to_owned(),
        };
        let sql = format!(
            "SELECT CASE WHEN is_counted
                     THEN (SELECT count(*) FROM {schema}.{name})
                     ELSE greatest(reltuples::bigint, pg_stat_get_live_tuples(oid), 1)
                 END AS rows,
                 CASE WHEN is_counted THEN {samples} ELSE 0 END AS samples,
                 (SELECT count(*) FROM {schema}.{name} AS stored WHERE {stays}) AS kept,
                 pg_total_relation_size(oid) AS bytes
             FROM (
                 SELECT oid, reltuples, pg_relation_size(oid) <= {bytes_max} AS is_counted
                 FROM pg_catalog.pg_class
                 WHERE oid = '{schema}.{name}'::regclass
             ) AS partition"
        );
        let row = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_one(&mut *self.connection).await?;
        let number = |column| Ok::<_, StoreError>(row.try_get::<i64, _>(column)?.unsigned_abs());
        let kept = number("kept")?;
        let rows = number("rows")?.saturating_sub(kept);
        Ok(Held { rows, samples: number("samples")?, kept, bytes: number("bytes")? })
    }

    /// Of a row called `stored`, whether it stays however old it is.
    pub(super) fn stays(&self, table: Table) -> String {
        let schema = self.schema;
        match table {
            Table::Events => format!(
                "EXISTS (
                     SELECT FROM {schema}.incident_events AS attached
                     JOIN {schema}.incidents AS incident ON incident.id = attached.incident_id
                     WHERE attached.event_id = stored.id AND attached.timestamp = stored.timestamp
                         AND incident.status IN ('open', 'investigating')
                 )"
            ),
            Table::Samples | Table::Chunks => "FALSE".to_owned(),
        }
    }
}

/// What is in a partition.
struct Held {
    /// Rows that may leave.
    rows: u64,
    samples: u64,
    /// Rows that stay.
    kept: u64,
    bytes: u64,
}

impl Table {
    const ALL: [Self; 3] = [Self::Events, Self::Samples, Self::Chunks];

    const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Samples => "metric_samples",
            Self::Chunks => "metric_chunks",
        }
    }

    /// The column that says on which day a row is.
    const fn time(self) -> &'static str {
        match self {
            Self::Events | Self::Samples => "timestamp",
            Self::Chunks => "end_time",
        }
    }
}

fn creation(schema: &str, table: Table, name: &str) -> String {
    format!("CREATE TABLE {schema}.{name} (LIKE {schema}.{} INCLUDING ALL)", table.name())
}

fn attachment(schema: &str, table: Table, day: NaiveDate) -> String {
    let (from, to) = bounds(day);
    let (parent, name) = (table.name(), partition_name(table, day));
    format!(
        "ALTER TABLE {schema}.{parent} ATTACH PARTITION {schema}.{name} FOR VALUES FROM ('{}') TO ('{}')",
        from.format("%F %T+00"),
        to.format("%F %T+00")
    )
}

/// One replica at a time changes partitions.
async fn begin_ddl(connection: &mut PgConnection) -> Result<(), StoreError> {
    /// Identifies the lock among the database's advisory locks: the letters `monpart`.
    const LOCK: i64 = 0x6d_6f6e_7061_7274;

    sqlx::query(DDL_TIMEOUTS).execute(&mut *connection).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *connection).await?;
    Ok(())
}

/// `statement` is made of our own names, the checked schema and dates, nothing else.
async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), StoreError> {
    sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(connection).await?;
    Ok(())
}

/// Days that have a partition. Somebody else's table of the same name is none.
pub(super) async fn days(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_server;

    #[tokio::test]
    async fn no_timeout_of_others_ends_the_counting_of_a_day() {
        let Some(database) = test_server::database().await else { return };
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        sqlx::query("SET LOCAL statement_timeout = '5s'").execute(&mut *transaction).await.unwrap();
        begin_ddl(&mut transaction).await.unwrap();
        let shown = sqlx::query_scalar("SHOW statement_timeout").fetch_one(&mut *transaction);
        let shown: String = shown.await.unwrap();
        assert_eq!(shown, "5min");
    }

    #[test]
    fn a_partition_is_named_after_its_day() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
        let name = partition_name(Table::Events, day);
        assert_eq!(name, "events_20261123");
        assert_eq!(partition_day(Table::Events, &name), Some(day));
        assert_eq!(partition_day(Table::Events, "events_default"), None);
    }
}
