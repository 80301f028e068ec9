//! Background jobs, through apalis on either database.
//!
//! One queue carries every job as a small JSON envelope; the [`TaskProcessor`] knows which
//! handler belongs to a task type. Adding a kind of job means registering a handler.
//!
//! # Living with apalis in one database
//!
//! - Its SQLite `setup()` switches `PRAGMA synchronous` off on the pool it is given and
//!   keeps its books in `_sqlx_migrations`, where the shop keeps its own. So `setup()` is
//!   not called: its migrations run with a table of their own, `_apalis_migrations`.
//! - On PostgreSQL it lives in the schema `apalis`, books included, and needs the extensions
//!   `pgcrypto` and `hstore`, which the owner of a database may create.
//! - Re-registering a worker name takes a session lock on a pooled connection there. So the
//!   queue has a small pool of its own, and every start of a worker has a name of its own.

mod handlers;
mod processor;
mod queue;
mod routes;
mod wake;
mod worker;

pub(crate) use handlers::{SEND_RECEIPT, register_shop_handlers};
pub use processor::{TaskCall, TaskFailure, TaskFuture, TaskHandler, TaskProcessor};
pub(crate) use queue::TaskQueue;
pub(crate) use routes::routes;
pub(crate) use worker::Workers;
