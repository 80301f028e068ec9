//! The OpenAPI document: written beside the handlers, completed from the table of routes, so that
//! what it says about access is what is checked.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::OriginalUri;
use http::StatusCode;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{self, Content, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

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
