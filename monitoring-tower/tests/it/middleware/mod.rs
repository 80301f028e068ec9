//! `MonitoringLayer`, polled by hand; what it recorded is taken from the recorder.

#[cfg(feature = "axum")]
mod axum;
mod correlation;
mod ending;
mod recorded;
mod span;
mod support;
