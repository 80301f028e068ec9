//! The people of the shop: names, roles, and what moderators and administrators may do.

mod bootstrap;
mod model;
mod routes;
pub(crate) mod store;

pub use bootstrap::FirstAdmin;
pub(crate) use bootstrap::create_first_admin;
pub(crate) use model::User;
pub use model::{Password, Role, UnknownRole, Username};
pub(crate) use routes::routes;
