//! The REST interface, one subject a file.

mod alerts;
mod analyses;
mod bodies;
#[cfg(feature = "prometheus")]
mod descriptions;
mod events;
mod exemplars;
mod federation;
mod grafana;
mod health;
mod incidents;
mod metrics;
mod own_work;
mod problems;
mod prometheus;
mod prometheus_admin;
mod remote_write;
#[cfg(feature = "prometheus")]
mod scrape;
mod specification;
mod statistics;
mod stream;
#[cfg(feature = "swagger-ui")]
mod swagger;
mod timeline;
