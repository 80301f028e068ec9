//! What standard tools expect of Prometheus: the exposition, and the HTTP API under
//! `/prometheus/api/v1` with its own answers and errors.
//!
//! Reference: <https://prometheus.io/docs/prometheus/latest/querying/api/>.

mod admin;
mod answer;
mod bounds;
mod discovery;
pub(super) mod exposition;
mod federate;
mod form;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json;
mod parts;
mod portions;
mod query;
mod read;
mod rules;
mod series;
mod snappy;
mod status;
mod time;
mod wire;
mod write;

use monitoring_core::Permission::{Configure, ManageAlerts, ReadMetrics, ReadStats, WriteTelemetry};

use super::security::Access::{Needs, Open};
use super::{Route, get, post, put};

/// The lines of the table that are about Prometheus.
pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/metrics/prometheus", Needs(ReadMetrics), exposition::expose),
        get("/prometheus/api/v1/query", Needs(ReadMetrics), query::instant),
        post("/prometheus/api/v1/query", Needs(ReadMetrics), query::instant),
        get("/prometheus/api/v1/query_range", Needs(ReadMetrics), query::range),
        post("/prometheus/api/v1/query_range", Needs(ReadMetrics), query::range),
        get("/prometheus/api/v1/query_exemplars", Needs(ReadMetrics), query::exemplars),
        post("/prometheus/api/v1/query_exemplars", Needs(ReadMetrics), query::exemplars),
        get("/prometheus/api/v1/format_query", Needs(ReadMetrics), query::format),
        post("/prometheus/api/v1/format_query", Needs(ReadMetrics), query::format),
        get("/prometheus/api/v1/parse_query", Needs(ReadMetrics), query::parse),
        post("/prometheus/api/v1/parse_query", Needs(ReadMetrics), query::parse),
        get("/prometheus/api/v1/series", Needs(ReadMetrics), series::series),
        post("/prometheus/api/v1/series", Needs(ReadMetrics), series::series),
        get("/prometheus/api/v1/labels", Needs(ReadMetrics), series::labels),
        post("/prometheus/api/v1/labels", Needs(ReadMetrics), series::labels),
        get("/prometheus/api/v1/label/{name}/values", Needs(ReadMetrics), series::label_values),
        get("/prometheus/api/v1/metadata", Needs(ReadMetrics), series::metadata),
        get("/prometheus/api/v1/rules", Needs(ManageAlerts), rules::rules),
        get("/prometheus/api/v1/alerts", Needs(ManageAlerts), rules::alerts),
        get("/prometheus/api/v1/targets", Needs(ReadMetrics), status::targets),
        get("/prometheus/api/v1/status/buildinfo", Needs(ReadMetrics), status::build_info),
        get("/prometheus/api/v1/status/runtimeinfo", Needs(ReadStats), status::runtime_info),
        get("/prometheus/api/v1/status/config", Needs(ReadStats), status::config),
        get("/prometheus/api/v1/status/flags", Needs(ReadStats), status::flags),
        get("/prometheus/api/v1/status/tsdb", Needs(ReadStats), status::tsdb),
        get("/prometheus/sd", Needs(ReadMetrics), discovery::targets),
        get("/prometheus/federate", Needs(ReadMetrics), federate::federate),
        post("/prometheus/api/v1/read", Needs(ReadMetrics), read::read),
        post("/prometheus/api/v1/write", Needs(WriteTelemetry), write::write),
        post("/prometheus/api/v1/admin/tsdb/delete_series", Needs(Configure), admin::delete_series),
        put("/prometheus/api/v1/admin/tsdb/delete_series", Needs(Configure), admin::delete_series),
        post("/prometheus/api/v1/admin/tsdb/clean_tombstones", Needs(Configure), admin::clean_tombstones),
        put("/prometheus/api/v1/admin/tsdb/clean_tombstones", Needs(Configure), admin::clean_tombstones),
        post("/prometheus/api/v1/admin/tsdb/snapshot", Needs(Configure), admin::snapshot),
        put("/prometheus/api/v1/admin/tsdb/snapshot", Needs(Configure), admin::snapshot),
        get("/prometheus/-/healthy", Open, status::healthy),
        get("/prometheus/-/ready", Open, status::ready),
    ]
}
