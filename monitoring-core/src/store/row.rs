//! Reading what a column of either database must hold: names of ours, JSON, numbers in range.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use sqlx::types::Json;
use sqlx::{ColumnIndex, Database, Decode, Row, Type};

use super::StoreError;

/// Where a value was read, for the error if it makes no sense.
#[derive(Clone, Copy)]
pub(super) struct Place<K> {
    pub table: &'static str,
    pub row: K,
}

impl<K: Display> Place<K> {
    /// Reads a column that holds the name of a `T`.
    pub(super) fn name<T, R>(&self, row: &R, column: &'static str) -> Result<T, StoreError>
    where
        T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>,
        R: Row,
        String: Type<R::Database> + for<'r> Decode<'r, R::Database>,
        &'static str: ColumnIndex<R>,
    {
        let text: String = row.try_get(column)?;
        text.parse().map_err(|error: T::Err| self.inconsistent(column, error))
    }

    /// Reads a column that holds the name of a `T`, or NULL.
    pub(super) fn optional_name<T, R>(&self, row: &R, column: &'static str) -> Result<Option<T>, StoreError>
    where
        T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>,
        R: Row,
        Option<String>: Type<R::Database> + for<'r> Decode<'r, R::Database>,
        &'static str: ColumnIndex<R>,
    {
        let text: Option<String> = row.try_get(column)?;
        let name = text.map(|text| text.parse()).transpose();
        name.map_err(|error: T::Err| self.inconsistent(column, error))
    }

    /// Reads a column that holds a `T` as JSON.
    pub(super) fn json<T, R>(&self, row: &R, column: &'static str) -> Result<T, StoreError>
    where
        T: DeserializeOwned,
        R: Row<Database: Database>,
        Json<T>: Type<R::Database> + for<'r> Decode<'r, R::Database>,
        &'static str: ColumnIndex<R>,
    {
        let value: Result<Json<T>, _> = row.try_get(column);
        value.map(|Json(value)| value).map_err(|error| self.inconsistent(column, error))
    }

    /// Reads a column that holds a number a `u32` can hold.
    pub(super) fn number<R>(&self, row: &R, column: &'static str) -> Result<u32, StoreError>
    where
        R: Row,
        i64: Type<R::Database> + for<'r> Decode<'r, R::Database>,
        &'static str: ColumnIndex<R>,
    {
        let number: i64 = row.try_get(column)?;
        number.try_into().map_err(|error: std::num::TryFromIntError| self.inconsistent(column, error))
    }

    fn inconsistent(
        &self,
        column: &'static str,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::inconsistent(self.table, column, &self.row, error)
    }
}
