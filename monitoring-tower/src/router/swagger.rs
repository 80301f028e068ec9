//! Swagger UI. Its addresses are relative, because only the host knows where the router is nested.

use std::sync::Arc;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use utoipa_swagger_ui::{Config, serve};

use super::error::{Answer, Code, Problem};

/// The page is in the host's origin and open to everybody: it may run its own script and talk to its
/// own origin, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Leads into the folder, without which the page's relative addresses would miss.
pub(super) async fn entrance() -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, "docs/")]).into_response()
}

/// One file of the page.
pub(super) async fn file(name: Option<Path<String>>) -> Answer<Response> {
    let name = name.map_or_else(|| "index.html".to_owned(), |Path(name)| name);
    let config = Arc::new(Config::from("../openapi.json"));
    let file = serve(&name, config).map_err(|error| {
        tracing::error!(target: "monitoring_tower", error = &*error, "a file of Swagger UI is unreadable");
        Problem::new(Code::Internal, "the page is broken; the log has the cause")
    })?;
    let file = file.ok_or_else(|| Problem::not_found("file", name))?;
    let headers = [(CONTENT_TYPE, file.content_type.as_str()), (CONTENT_SECURITY_POLICY, POLICY)];
    Ok((headers, file.bytes.into_owned()).into_response())
}
