//! Orders: what the shop sells and who ordered it.

mod catalogue;
mod routes;
pub(crate) mod store;

pub(crate) use routes::routes;
