//! The OpenAPI document: written beside the handlers, completed from the table of routes, so that
//! what it says about access is what is checked.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::OriginalUri;
use http::StatusCode;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{self, Content, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoParams, Modify, OpenApi};

use super::api::{
    alerts, analyses, audit, events, health, incidents, metrics, notifications, receivers, recording_rules,
    routing, rule_groups, rules, silences, stats, timeline,
};
use super::error::ProblemDetails;
use super::security::Access;
use super::{Endpoint, endpoints, stream};

/// This document. It names the path the router is nested at, which only a request knows.
#[utoipa::path(get, path = "/openapi.json", tag = "documentation",
    responses((status = 200, description = "The OpenAPI document")))]
pub(super) async fn document(OriginalUri(uri): OriginalUri) -> Json<openapi::OpenApi> {
    static DOCUMENT: LazyLock<openapi::OpenApi> = LazyLock::new(Document::openapi);
    let mut document = DOCUMENT.clone();
    let mount = uri.path().trim_end_matches("/openapi.json");
    document.servers = (!mount.is_empty()).then(|| vec![openapi::Server::new(mount)]);
    Json(document)
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Monitoring", description = "Logs, metrics, traces, alert rules and incidents."),
    paths(
        events::create, events::list, events::show, stream::events,
        metrics::create, metrics::list,
        alerts::create, alerts::list, alerts::show, alerts::update, alerts::patch, alerts::delete,
        alerts::enable, alerts::disable, alerts::active, alerts::test, alerts::history, alerts::backtest,
        rule_groups::list, rule_groups::show, rule_groups::set, rule_groups::reset,
        recording_rules::create, recording_rules::list, recording_rules::show, recording_rules::patch,
        recording_rules::delete,
        rules::export, rules::import, rules::test, rules::unknown_metrics,
        silences::silence_rule, silences::acknowledge, silences::unacknowledge,
        silences::create, silences::list, silences::preview, silences::show, silences::update, silences::expire,
        receivers::create, receivers::list, receivers::show, receivers::attempts, receivers::update,
        receivers::delete, receivers::test, routing::show, routing::replace,
        notifications::list, notifications::show, notifications::resend,
        incidents::create, incidents::list, incidents::show, incidents::update, incidents::patch,
        timeline::show, incidents::history, incidents::comment, incidents::comments,
        incidents::attach, incidents::events, incidents::detach,
        analyses::analyze, analyses::list,
        stats::system, stats::summary, audit::list, health::live, health::ready, document,
    ),
    components(schemas(ProblemDetails)),
    modifiers(&Scrape, &Completion),
)]
struct Document;

/// The scrape's entry, where there is one.
struct Scrape;

impl Modify for Scrape {
    fn modify(&self, document: &mut openapi::OpenApi) {
        #[cfg(feature = "prometheus")]
        document.merge(ScrapeDocument::openapi());
        #[cfg(not(feature = "prometheus"))]
        let _ = document;
    }
}

#[cfg(feature = "prometheus")]
#[derive(OpenApi)]
#[openapi(paths(super::prometheus::exposition::expose))]
struct ScrapeDocument;

/// What follows from the table, and what all operations have in common.
struct Completion;

impl Modify for Completion {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("bearer", bearer);
        for Endpoint { method, path, access } in endpoints() {
            let Some(item) = document.paths.paths.get_mut(path) else { continue };
            let operation = match method.as_str() {
                "GET" => &mut item.get,
                "POST" => &mut item.post,
                "PUT" => &mut item.put,
                "PATCH" => &mut item.patch,
                "DELETE" => &mut item.delete,
                _ => continue,
            };
            if let Some(operation) = operation {
                complete(operation, access);
            }
        }
    }
}

fn complete(operation: &mut Operation, access: Access) {
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        // The specification demands a description, also where the status says it all.
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            let status: Option<StatusCode> = status.parse().ok();
            let words = status.and_then(|status| status.canonical_reason());
            response.description = words.unwrap_or("The answer").to_owned();
        }
    }
    responses.insert("default".to_owned(), problem("A problem; `code` says which").into());
    if access != Access::Open {
        responses.insert("401".to_owned(), problem("Nobody known is calling").into());
        operation.security = Some(vec![SecurityRequirement::new("bearer", [""; 0])]);
    }
    if let Access::Needs(permission) = access {
        let needs = format!("The caller has not the role {}", permission.least_role());
        responses.insert("403".to_owned(), problem(&needs).into());
    }
}

fn problem(description: &str) -> openapi::Response {
    let schema = Ref::from_schema_name("ProblemDetails");
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", Content::new(Some(schema)))
        .build()
}

/// Query parameters are read by [`Params`](super::params::Params); these types only describe them.
/// A test holds the two together.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct PageQuery {
    /// Most items to return, 1 to 1,000; 100 if absent.
    limit: Option<u32>,
    /// Items to skip, up to 100,000. Deep offsets are slow; a cursor is not.
    offset: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The header that [`IfMatch`](super::extract::IfMatch) reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
pub(super) struct Expected {
    /// The `ETag` of the version the change is meant for. If there is another one by now, nothing
    /// happens and the answer is 412.
    #[param(rename = "if-match")]
    version: Option<String>,
}

/// The parameter of the exposition.
#[cfg(feature = "prometheus")]
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct ScopeQuery {
    /// Whose counts: `cluster`, the default, or `process`.
    scope: Option<String>,
}

/// The header that [`stream::events`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
pub(super) struct Resumed {
    /// The id of the last message seen, to be shown what came since. Sent by browsers when they
    /// reconnect.
    #[param(rename = "last-event-id")]
    position: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct OffsetQuery {
    /// Most entries to return, 1 to 1,000; 100 if absent.
    limit: Option<u32>,
    /// Entries to skip.
    offset: Option<u32>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct EventQuery {
    /// At or after this time, RFC 3339.
    start_time: Option<chrono::DateTime<chrono::Utc>>,
    /// Before this time, RFC 3339.
    end_time: Option<chrono::DateTime<chrono::Utc>>,
    /// `log`, `metric`, `trace` or `alert`.
    event_type: Option<monitoring_core::EventType>,
    /// The part of the system that reported it.
    source: Option<String>,
    /// `trace`, `debug`, `info`, `warn`, `error` or `critical`.
    level: Option<monitoring_core::Level>,
    /// Only of this request.
    request_id: Option<String>,
    /// Only of this trace.
    trace_id: Option<String>,
    /// A tag's value, such as `tag.region=eu`. May be given for many tags; all must match.
    #[param(rename = "tag.<key>")]
    tag: Option<String>,
    /// A part of the message, in any case.
    q: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct MetricQuery {
    /// At or after this time, RFC 3339.
    start_time: Option<chrono::DateTime<chrono::Utc>>,
    /// Before this time, RFC 3339.
    end_time: Option<chrono::DateTime<chrono::Utc>>,
    /// The metric's name.
    name: Option<String>,
    /// `counter`, `gauge`, `histogram` or `summary`.
    metric_type: Option<monitoring_core::MetricType>,
    /// A label's value, such as `label.method=GET`. May be given for many labels; all must match.
    #[param(rename = "label.<name>")]
    label: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct AlertQuery {
    /// Only rules that are, or are not, evaluated.
    enabled: Option<bool>,
    /// `low`, `medium`, `high` or `critical`.
    severity: Option<monitoring_core::IncidentSeverity>,
    /// Only of this group.
    group: Option<String>,
    /// A part of the name, the description or the query, in any case.
    q: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct SilenceQuery {
    /// `false` leaves out those that are over.
    expired: Option<bool>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct ActiveAlertQuery {
    /// `pending`, `firing` or `resolved`; pending and firing, if absent.
    state: Option<monitoring_core::AlertState>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct NotificationQuery {
    /// `pending`, `sent` or `dead`.
    status: Option<monitoring_core::NotificationStatus>,
    /// The receiver's name.
    receiver: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct AlertHistoryQuery {
    /// At or after this time, RFC 3339.
    start_time: Option<chrono::DateTime<chrono::Utc>>,
    /// Before this time, RFC 3339.
    end_time: Option<chrono::DateTime<chrono::Utc>>,
    /// Only of this alert.
    fingerprint: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct RecordingRuleQuery {
    /// Only of this group.
    group: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct IncidentQuery {
    /// Started at or after this time, RFC 3339.
    start_time: Option<chrono::DateTime<chrono::Utc>>,
    /// Started before this time, RFC 3339.
    end_time: Option<chrono::DateTime<chrono::Utc>>,
    /// `open`, `investigating`, `resolved` or `closed`.
    status: Option<monitoring_core::IncidentStatus>,
    /// Only neither resolved nor closed.
    unresolved: Option<bool>,
    /// `low`, `medium`, `high` or `critical`.
    severity: Option<monitoring_core::IncidentSeverity>,
    /// Only assigned to this user.
    assigned_to: Option<uuid::Uuid>,
}
