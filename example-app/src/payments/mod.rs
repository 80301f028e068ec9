//! Payments: charging a card through a simulated gateway.

mod gateway;
mod routes;
mod service;
pub(crate) mod store;

pub(crate) use gateway::{Gateway, PoolState};
pub(crate) use routes::routes;
