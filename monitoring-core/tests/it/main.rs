//! Integration tests.

#![expect(clippy::unwrap_used, reason = "a broken expectation fails the test")]
#![expect(clippy::print_stdout, reason = "what failed at random can be tried again by its seed")]

mod support;

/// The name lets `cargo nextest run monitoring` find them.
#[path = "."]
mod monitoring {
    mod alerts;
    mod analyses;
    mod architecture;
    mod audit;
    mod bare_connections;
    mod evaluation;
    mod event_logger;
    mod failure;
    mod handlers;
    mod incident_access;
    mod incidents;
    mod metrics;
    mod replicas;
    mod rule_files;
    mod specification;
    mod store;
    mod timeline;
}
