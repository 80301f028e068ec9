//! The HTTP interface: every endpoint and who may use it, on one page.
//!
//! A request passes the [edge](edge) (id, time limit, headers), then its route's
//! [check](security), then its handler, which takes [parameters](params) or a [body](extract),
//! asks one service of `monitoring-core` and puts the result in an [envelope](respond). Handlers
//! know no status codes but those of success, and no SQL.

mod alertmanager;
mod api;
mod authenticator;
mod builder;
mod edge;
mod error;
mod extract;
mod face;
mod open_streams;
#[cfg(feature = "openapi")]
mod openapi;
#[cfg(feature = "openapi")]
mod openapi_params;
mod params;
#[cfg(feature = "prometheus")]
mod prometheus;
mod respond;
mod security;
mod state;
mod stream;
#[cfg(feature = "swagger-ui")]
mod swagger;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use monitoring_core::Permission;

pub use authenticator::{Authentication, Authenticator, FromExtensions};
pub use builder::{RouterBuilder, router};
#[cfg(all(any(test, fuzzing), feature = "prometheus"))]
pub use prometheus::fuzzing;
pub use security::Access;

use state::RouterState;

/// Everything the router serves. There is no other way to a handler than through this table.
fn table() -> Vec<Route> {
    use Access::{Needs, Open};
    use Permission::{
        Configure, CreateIncidents, ManageAlerts, OwnIncidents, ReadAudit, ReadMetrics, ReadOwnEvents,
        ReadStats, ReadSummary, WriteTelemetry,
    };
    use api::{
        alerts, analyses, audit, events, health, incidents, metrics, notifications, receivers,
        recording_rules, routing, rule_groups, rules, silences, stats, timeline,
    };

    let mut table = vec![
        post("/events", Needs(WriteTelemetry), events::create),
        get("/events", Needs(ReadOwnEvents), events::list),
        get("/events/stream", Needs(ReadOwnEvents), stream::events),
        get("/events/{id}", Needs(ReadOwnEvents), events::show),
        post("/metrics", Needs(WriteTelemetry), metrics::create),
        get("/metrics", Needs(ReadMetrics), metrics::list),
        post("/alerts", Needs(ManageAlerts), alerts::create),
        get("/alerts", Needs(ManageAlerts), alerts::list),
        get("/alerts/{id}", Needs(ManageAlerts), alerts::show),
        put("/alerts/{id}", Needs(ManageAlerts), alerts::update),
        patch("/alerts/{id}", Needs(ManageAlerts), alerts::patch),
        delete("/alerts/{id}", Needs(ManageAlerts), alerts::delete),
        post("/alerts/{id}/enable", Needs(ManageAlerts), alerts::enable),
        post("/alerts/{id}/disable", Needs(ManageAlerts), alerts::disable),
        post("/alerts/{id}/silence", Needs(ManageAlerts), silences::silence_rule),
        post("/alerts/{id}/acknowledge", Needs(ManageAlerts), silences::acknowledge),
        delete("/alerts/{id}/acknowledge", Needs(ManageAlerts), silences::unacknowledge),
        post("/silences", Needs(ManageAlerts), silences::create),
        get("/silences", Needs(ManageAlerts), silences::list),
        post("/silences/preview", Needs(ManageAlerts), silences::preview),
        get("/silences/{id}", Needs(ManageAlerts), silences::show),
        put("/silences/{id}", Needs(ManageAlerts), silences::update),
        delete("/silences/{id}", Needs(ManageAlerts), silences::expire),
        // Where alerts go, and with which secrets, is configuration.
        post("/receivers", Needs(Configure), receivers::create),
        get("/receivers", Needs(ManageAlerts), receivers::list),
        get("/receivers/{id}", Needs(ManageAlerts), receivers::show),
        get("/receivers/{id}/attempts", Needs(ManageAlerts), receivers::attempts),
        put("/receivers/{id}", Needs(Configure), receivers::update),
        delete("/receivers/{id}", Needs(Configure), receivers::delete),
        post("/receivers/{id}/test", Needs(ManageAlerts), receivers::test),
        get("/routes", Needs(ManageAlerts), routing::show),
        put("/routes", Needs(Configure), routing::replace),
        get("/notifications", Needs(ManageAlerts), notifications::list),
        get("/notifications/{id}", Needs(ManageAlerts), notifications::show),
        post("/notifications/{id}/resend", Needs(ManageAlerts), notifications::resend),
        get("/alerts/active", Needs(ManageAlerts), alerts::active),
        post("/alerts/test", Needs(ManageAlerts), alerts::test),
        get("/alerts/{id}/history", Needs(ManageAlerts), alerts::history),
        post("/alerts/{id}/backtest", Needs(ManageAlerts), alerts::backtest),
        get("/rule-groups", Needs(ManageAlerts), rule_groups::list),
        get("/rule-groups/{name}", Needs(ManageAlerts), rule_groups::show),
        put("/rule-groups/{name}", Needs(ManageAlerts), rule_groups::set),
        delete("/rule-groups/{name}", Needs(ManageAlerts), rule_groups::reset),
        get("/rules", Needs(ManageAlerts), rules::export),
        post("/rules", Needs(ManageAlerts), rules::import),
        post("/rules/test", Needs(ManageAlerts), rules::test),
        get("/rules/unknown-metrics", Needs(ManageAlerts), rules::unknown_metrics),
        post("/recording-rules", Needs(ManageAlerts), recording_rules::create),
        get("/recording-rules", Needs(ManageAlerts), recording_rules::list),
        get("/recording-rules/{id}", Needs(ManageAlerts), recording_rules::show),
        patch("/recording-rules/{id}", Needs(ManageAlerts), recording_rules::patch),
        delete("/recording-rules/{id}", Needs(ManageAlerts), recording_rules::delete),
        post("/incidents", Needs(CreateIncidents), incidents::create),
        get("/incidents", Needs(OwnIncidents), incidents::list),
        get("/incidents/{id}", Needs(OwnIncidents), incidents::show),
        put("/incidents/{id}", Needs(OwnIncidents), incidents::update),
        patch("/incidents/{id}", Needs(OwnIncidents), incidents::patch),
        get("/incidents/{id}/timeline", Needs(OwnIncidents), timeline::show),
        get("/incidents/{id}/history", Needs(OwnIncidents), incidents::history),
        post("/incidents/{id}/comments", Needs(OwnIncidents), incidents::comment),
        get("/incidents/{id}/comments", Needs(OwnIncidents), incidents::comments),
        post("/incidents/{id}/events", Needs(OwnIncidents), incidents::attach),
        get("/incidents/{id}/events", Needs(OwnIncidents), incidents::events),
        delete("/incidents/{id}/events/{event_id}", Needs(OwnIncidents), incidents::detach),
        post("/incidents/{id}/analyze", Needs(OwnIncidents), analyses::analyze),
        get("/incidents/{id}/analysis", Needs(OwnIncidents), analyses::list),
        get("/stats", Needs(ReadStats), stats::system),
        get("/stats/summary", Needs(ReadSummary), stats::summary),
        get("/audit", Needs(ReadAudit), audit::list),
        get("/livez", Open, health::live),
        get("/readyz", Open, health::ready),
    ];
    table.extend(alertmanager::routes());
    #[cfg(feature = "prometheus")]
    table.extend(prometheus::routes());
    // The document and its page are the same in every host and hold no data. A browser must be able
    // to load them before it has a token to send.
    #[cfg(feature = "openapi")]
    table.push(get("/openapi.json", Open, openapi::document));
    #[cfg(feature = "swagger-ui")]
    table.extend([
        get("/docs", Open, swagger::entrance),
        get("/docs/", Open, swagger::file),
        get("/docs/{*file}", Open, swagger::file),
    ]);
    table
}

/// One line of the table.
struct Route {
    method: Method,
    path: &'static str,
    access: Access,
    handler: MethodRouter<RouterState>,
}

fn get<H: Handler<T, RouterState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    route(Method::GET, path, access, on(MethodFilter::GET, handler))
}

fn post<H: Handler<T, RouterState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    route(Method::POST, path, access, on(MethodFilter::POST, handler))
}

fn put<H: Handler<T, RouterState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    route(Method::PUT, path, access, on(MethodFilter::PUT, handler))
}

fn patch<H: Handler<T, RouterState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    route(Method::PATCH, path, access, on(MethodFilter::PATCH, handler))
}

fn delete<H: Handler<T, RouterState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    route(Method::DELETE, path, access, on(MethodFilter::DELETE, handler))
}

fn route(method: Method, path: &'static str, access: Access, handler: MethodRouter<RouterState>) -> Route {
    Route { method, path, access, handler }
}

/// A method and path the router answers to, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// The method. Whatever answers to `GET` answers to `HEAD` too.
    pub method: Method,
    /// The path below the mount, with `{names}` for what varies.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
}

/// Every endpoint of the router as it was compiled, for hosts that list or check what is open to
/// whom.
///
/// ```
/// use monitoring_tower::{Access, endpoints};
///
/// let open = endpoints().into_iter().filter(|endpoint| endpoint.access == Access::Open);
/// for endpoint in open {
///     let known = ["/livez", "/readyz", "/openapi.json", "/docs", "/prometheus/-/"];
///     assert!(known.iter().any(|path| endpoint.path.starts_with(path)));
/// }
/// ```
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    let endpoint = |Route { method, path, access, .. }| Endpoint { method, path, access };
    table().into_iter().map(endpoint).collect()
}
