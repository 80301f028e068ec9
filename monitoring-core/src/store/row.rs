//! Reading what a row of either database must hold: names of ours, JSON, times, numbers in range.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use sqlx::error::BoxDynError;
use sqlx::types::Json;
use sqlx::{Database, Decode, Row as _, Type};

use super::StoreError;

/// A row of either database.
pub(super) trait StoredRow {
    /// Reads a column.
    fn read<T: Column>(&self, column: &'static str) -> sqlx::Result<T>;
}

#[cfg(feature = "postgres")]
impl StoredRow for sqlx::postgres::PgRow {
    fn read<T: Column>(&self, column: &'static str) -> sqlx::Result<T> {
        self.try_get(column)
    }
}

#[cfg(feature = "sqlite")]
impl StoredRow for sqlx::sqlite::SqliteRow {
    fn read<T: Column>(&self, column: &'static str) -> sqlx::Result<T> {
        self.try_get(column)
    }
}

/// What a column of either database may hold.
pub(super) trait Column: InPostgres + InSqlite {}

impl<T: InPostgres + InSqlite> Column for T {}

/// What a column of PostgreSQL may hold: anything, where there is none.
#[cfg(feature = "postgres")]
pub(super) trait InPostgres: Type<sqlx::Postgres> + for<'r> Decode<'r, sqlx::Postgres> {}

#[cfg(feature = "postgres")]
impl<T: Type<sqlx::Postgres> + for<'r> Decode<'r, sqlx::Postgres>> InPostgres for T {}

#[cfg(not(feature = "postgres"))]
pub(super) trait InPostgres {}

#[cfg(not(feature = "postgres"))]
impl<T> InPostgres for T {}

/// What a column of SQLite may hold: anything, where there is none.
#[cfg(feature = "sqlite")]
pub(super) trait InSqlite: Type<sqlx::Sqlite> + for<'r> Decode<'r, sqlx::Sqlite> {}

#[cfg(feature = "sqlite")]
impl<T: Type<sqlx::Sqlite> + for<'r> Decode<'r, sqlx::Sqlite>> InSqlite for T {}

#[cfg(not(feature = "sqlite"))]
pub(super) trait InSqlite {}

#[cfg(not(feature = "sqlite"))]
impl<T> InSqlite for T {}

/// A time as either database keeps it.
struct Time(DateTime<Utc>);

#[cfg(feature = "postgres")]
impl Type<sqlx::Postgres> for Time {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        <DateTime<Utc> as Type<sqlx::Postgres>>::type_info()
    }
}

#[cfg(feature = "postgres")]
impl<'r> Decode<'r, sqlx::Postgres> for Time {
    fn decode(value: <sqlx::Postgres as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        <DateTime<Utc> as Decode<sqlx::Postgres>>::decode(value).map(Self)
    }
}

#[cfg(feature = "sqlite")]
impl Type<sqlx::Sqlite> for Time {
    fn type_info() -> sqlx::sqlite::SqliteTypeInfo {
        <i64 as Type<sqlx::Sqlite>>::type_info()
    }

    fn compatible(kept: &sqlx::sqlite::SqliteTypeInfo) -> bool {
        <i64 as Type<sqlx::Sqlite>>::compatible(kept)
    }
}

#[cfg(feature = "sqlite")]
impl<'r> Decode<'r, sqlx::Sqlite> for Time {
    fn decode(value: <sqlx::Sqlite as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let micros = <i64 as Decode<sqlx::Sqlite>>::decode(value)?;
        crate::model::from_micros(micros).map(Self).ok_or_else(|| "a timestamp out of range".into())
    }
}

/// Where a value was read, for the error if it makes no sense.
#[derive(Clone, Copy)]
pub(super) struct Place<K> {
    /// As PostgreSQL calls it; in SQLite something stands before that.
    pub table: &'static str,
    pub row: K,
}

impl<K: Display> Place<K> {
    /// Reads a column that holds the name of a `T`.
    pub(super) fn name<T>(&self, row: &impl StoredRow, column: &'static str) -> Result<T, StoreError>
    where
        T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>,
    {
        let text: String = row.read(column)?;
        text.parse().map_err(|error: T::Err| self.inconsistent(column, error))
    }

    /// Reads a column that holds the name of a `T`, or NULL.
    pub(super) fn optional_name<T>(
        &self,
        row: &impl StoredRow,
        column: &'static str,
    ) -> Result<Option<T>, StoreError>
    where
        T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>,
    {
        let text: Option<String> = row.read(column)?;
        let name = text.map(|text| text.parse()).transpose();
        name.map_err(|error: T::Err| self.inconsistent(column, error))
    }

    /// Reads a column that holds a `T` as JSON.
    pub(super) fn json<T>(&self, row: &impl StoredRow, column: &'static str) -> Result<T, StoreError>
    where
        T: DeserializeOwned,
        Json<T>: Column,
    {
        let value: Result<Json<T>, _> = row.read(column);
        value.map(|Json(value)| value).map_err(|error| self.inconsistent(column, error))
    }

    /// Reads a column that holds a number a `u32` can hold.
    pub(super) fn number(&self, row: &impl StoredRow, column: &'static str) -> Result<u32, StoreError> {
        let number: i64 = row.read(column)?;
        number.try_into().map_err(|error: std::num::TryFromIntError| self.inconsistent(column, error))
    }

    /// Reads a column that holds a time.
    pub(super) fn time(
        &self,
        row: &impl StoredRow,
        column: &'static str,
    ) -> Result<DateTime<Utc>, StoreError> {
        row.read(column).map(|Time(time)| time).map_err(|error| self.inconsistent(column, error))
    }

    /// Reads a column that holds a time, or NULL.
    pub(super) fn optional_time(
        &self,
        row: &impl StoredRow,
        column: &'static str,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let time: Result<Option<Time>, _> = row.read(column);
        time.map(|time| time.map(|Time(time)| time)).map_err(|error| self.inconsistent(column, error))
    }

    fn inconsistent(
        &self,
        column: &'static str,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::inconsistent(self.table, column, &self.row, error)
    }
}
