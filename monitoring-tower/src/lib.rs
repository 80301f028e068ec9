//! Request monitoring for tower and axum, and the HTTP interface of `monitoring-core`.

#[cfg(feature = "api")]
mod router;

#[cfg(feature = "api")]
pub use router::{
    Access, Authentication, Authenticator, Endpoint, FromExtensions, RouterBuilder, endpoints, router,
};
