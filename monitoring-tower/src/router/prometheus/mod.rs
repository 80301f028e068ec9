//! What Prometheus and its relatives speak.

pub(super) mod exposition;
