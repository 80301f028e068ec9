//! What Prometheus tells of itself, as far as it applies here.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use http::StatusCode;
use serde_json::json;

use super::answer::PromAnswer;
use super::form::Form;
use crate::router::state::RouterState;

/// The version of Prometheus whose behaviour this is.
const VERSION: &str = "3.0.0";
/// Entries of each list of figures.
const FIGURES_MAX: usize = 10;

/// Which Prometheus this is like. No `features`: Grafana takes those for another system.
pub(super) async fn build_info() -> PromAnswer {
    Ok(json!({
        "version": VERSION, "revision": concat!("monitoring-", env!("CARGO_PKG_VERSION")), "branch": "",
        "buildUser": "", "buildDate": "", "goVersion": "",
    })
    .into())
}

/// How it runs.
pub(super) async fn runtime_info(State(state): State<RouterState>) -> PromAnswer {
    let started = state.monitoring().started_at().to_rfc3339_opts(SecondsFormat::Secs, true);
    let retention = state.monitoring().retention();
    Ok(json!({
        "startTime": started, "CWD": "", "reloadConfigSuccess": true,
        "lastConfigTime": started, "corruptionCount": 0, "goroutineCount": 0,
        "GOMAXPROCS": 0, "GOMEMLIMIT": 0, "GOGC": "", "GODEBUG": "",
        "storageRetention": format!("{}d", retention.metrics.as_secs() / 86_400),
    })
    .into())
}

/// There is no file of settings.
pub(super) async fn config() -> PromAnswer {
    Ok(json!({"yaml": ""}).into())
}

/// There is no command line.
pub(super) async fn flags() -> PromAnswer {
    Ok(json!({}).into())
}

/// How many series there are, and which metrics have most.
pub(super) async fn tsdb(State(state): State<RouterState>, form: Form) -> PromAnswer {
    let limit = form.limit()?.unwrap_or(FIGURES_MAX);
    let figures = state.monitoring().promql().figures(limit).await?;
    let pairs = |pairs: &[(String, usize)]| {
        pairs.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>()
    };
    Ok(json!({
        "headStats": {
            "numSeries": figures.series, "numLabelPairs": figures.label_pairs, "chunkCount": 0,
            "minTime": 0, "maxTime": 0,
        },
        "seriesCountByMetricName": pairs(&figures.series_by_metric),
        "labelValueCountByLabelName": pairs(&figures.values_by_label),
        "memoryInBytesByLabelName": [],
        "seriesCountByLabelValuePair": pairs(&figures.series_by_label_pair),
    })
    .into())
}

/// Nothing is scraped: everything is sent.
pub(super) async fn targets() -> PromAnswer {
    Ok(json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}).into())
}

pub(super) async fn healthy() -> &'static str {
    "Prometheus Server is Healthy.\n"
}

pub(super) async fn ready(State(state): State<RouterState>) -> Response {
    if state.monitoring().is_ready().await {
        "Prometheus Server is Ready.\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").into_response()
    }
}
