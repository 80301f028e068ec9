//! The REST interface, one subject a file.

mod alerts;
mod analyses;
mod bodies;
#[cfg(feature = "prometheus")]
mod descriptions;
mod evaluation;
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
mod prometheus_parameters;
mod prometheus_status;
mod receivers;
pub(super) mod remote_write;
mod routing;
#[cfg(feature = "prometheus")]
mod rules;
#[cfg(feature = "prometheus")]
mod scrape;
mod silences;
mod specification;
mod statistics;
mod stream;
#[cfg(feature = "swagger-ui")]
mod swagger;
mod timeline;
