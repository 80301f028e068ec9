//! What the router does is not telemetry.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::request::Parts;
use http::{Request, StatusCode};
use monitoring_core::{EventFilter, Page, Principal, QueryValue, Role, services};
use monitoring_tower::{Authentication, MonitoringLayer};
use tracing::Subscriber;
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};
use uuid::Uuid;

use crate::support::{Service, exchange};

/// Notes for each event whether it happened inside a span that the tracing layer leaves out.
#[derive(Clone, Default)]
struct Witness {
    events: Arc<Mutex<Vec<(&'static str, bool)>>>,
}

struct Internal;

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Witness {
    fn on_new_span(&self, span: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if span.metadata().target() == "monitoring::internal" {
            context.span(id).unwrap().extensions_mut().insert(Internal);
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut scope = context.event_scope(event).into_iter().flatten();
        let is_internal = scope.any(|span| span.extensions().get::<Internal>().is_some());
        self.events.lock().unwrap().push((event.metadata().target(), is_internal));
    }
}

async fn authenticate(_: &Parts) -> Authentication {
    tracing::info!(target: "host", "looked up a session");
    Ok(Some(Principal::new(Uuid::nil(), Role::Admin)))
}

#[tokio::test]
async fn handlers_run_inside_the_span_that_is_not_recorded_and_the_host_outside() {
    let service = Service::sqlite().await;
    service.monitoring.shutdown(Duration::from_secs(5)).await;
    let app: Router = monitoring_tower::router(&service.monitoring, authenticate);
    let witness = Witness::default();
    let _guard = tracing::subscriber::set_default(Registry::default().with(witness.clone()));
    let answer = exchange(&app, Request::get("/audit").body(Body::empty()).unwrap()).await;
    answer.problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    let events = witness.events.lock().unwrap().clone();
    assert_eq!(events, [("host", false), ("monitoring_tower", true)]);
}

#[tokio::test]
async fn the_router_is_not_recorded_wherever_it_is_nested() {
    let service = Service::sqlite().await;
    let layer = MonitoringLayer::new(&service.monitoring);
    let nested = monitoring_tower::router(&service.monitoring, authenticate);
    let app: Router =
        Router::new().nest("/ops/telemetry", nested).route("/orders", get(async || "an order")).layer(layer);
    for path in ["/ops/telemetry/events", "/ops/telemetry/nowhere", "/orders", "/ops/telemetry/livez"] {
        exchange(&app, Request::get(path).body(Body::empty()).unwrap()).await;
    }
    service.monitoring.recorder().flush().await.unwrap();
    let mut conn = service.monitoring.acquire_read().await.unwrap();
    let events = services::query_events(&mut conn, &EventFilter::default(), &Page::default()).await.unwrap();
    let messages: Vec<_> = events.items.iter().filter_map(|event| event.message.as_deref()).collect();
    assert_eq!(messages, ["GET /orders 200"]);
    let promql = service.monitoring.promql();
    let active = promql.instant("sum(http_server_active_requests)", promql.now()).await.unwrap();
    let QueryValue::Vector(active) = active.value else { panic!("{active:?}") };
    assert_eq!(active[0].samples[0].1, 0.0, "they are over all the same");
}
