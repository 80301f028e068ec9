//! How the shop speaks HTTP: one envelope for success, one for failure.

mod extract;
mod health;
mod in_flight;
mod problem;
mod response;
mod serve;

pub(crate) use extract::{ClientAddress, Json, PathId, Query};
pub(crate) use health::health_routes;
pub(crate) use in_flight::track;
pub(crate) use problem::{AppError, FieldError, fallback, method_not_allowed};
pub(crate) use response::{Answer, accepted, created, ok};
pub(crate) use serve::{serve, within_time};
