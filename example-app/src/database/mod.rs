//! The shop's database: a pool of either dialect, and the shop's own migrations.
//!
//! The shop writes its SQL once, in the part both dialects share (`$1` placeholders, `ON
//! CONFLICT`, `RETURNING`, expression indexes), and [`on_pool!`] runs it on the pool at
//! hand. What differs stays in this folder.
//!
//! # Who keeps which books
//!
//! Three parties migrate one database, each with a table of its own, so the order does not
//! matter and none mistakes the others' versions for missing ones:
//!
//! | party | PostgreSQL | SQLite |
//! |---|---|---|
//! | the shop (`migrations/`) | `public._sqlx_migrations` | `_sqlx_migrations` |
//! | the job queue (apalis) | `apalis._sqlx_migrations` | `_apalis_migrations` (see `tasks`) |
//! | the monitoring | its own schema | its own table |
//!
//! The workspace's `sqlx.toml` belongs to the monitoring's migrations and is read from the
//! folder of the crate or of the command line: `sqlx::migrate!` in this crate never sees it.

mod pool;
mod url;

pub use pool::DatabaseError;
pub(crate) use pool::{Database, on_pool};
pub(crate) use url::Target;
pub use url::{DatabaseUrl, DatabaseUrlError};
