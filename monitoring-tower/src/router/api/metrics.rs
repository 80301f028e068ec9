//! Metrics.

use axum::extract::State;
use axum::response::Response;
use monitoring_core::{CreateMetricRequest, MetricFilter, services};

use crate::router::error::Answer;
use crate::router::extract::OneOrMany;
use crate::router::params::Params;
use crate::router::respond;
use crate::router::state::RouterState;

/// Stores one observation, or a batch of which all or none is stored.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/metrics", tag = "metrics",
    request_body = OneOrMany<CreateMetricRequest>,
    responses((status = 201, body = respond::Success<monitoring_core::Metric>))))]
pub(in crate::router) async fn create(
    State(state): State<RouterState>,
    body: OneOrMany<CreateMetricRequest>,
) -> Answer<Response> {
    let recorder = state.monitoring().recorder();
    match body {
        OneOrMany::One(request) => {
            let metric = super::only(services::submit_metrics(recorder, vec![request]).await)?;
            Ok(respond::created(metric))
        }
        OneOrMany::Many(requests) => {
            Ok(respond::created(services::submit_metrics(recorder, requests).await?))
        }
    }
}

/// Samples, newest first.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/metrics", tag = "metrics",
    params(crate::router::openapi_params::MetricQuery, crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<monitoring_core::Metric>))))]
pub(in crate::router) async fn list(
    State(state): State<RouterState>,
    mut params: Params,
) -> Answer<Response> {
    let filter = filter(&mut params);
    let page = params.page();
    params.finish()?;
    state.flush().await;
    let mut connection = state.read().await?;
    Ok(respond::list(services::query_metrics(&mut connection, &filter, &page).await?))
}

fn filter(params: &mut Params) -> MetricFilter {
    let (start_time, end_time) = params.period();
    let mut filter = MetricFilter::default();
    filter.name = params.text("name");
    filter.metric_type = params.parsed("metric_type");
    filter.labels = params.prefixed("label.", "label.<name>");
    filter.start_time = start_time;
    filter.end_time = end_time;
    filter
}
