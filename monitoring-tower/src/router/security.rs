//! Who may pass: every route is wrapped in the check its line of the table asks for.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use monitoring_core::{Incident, Permission, Principal};
use uuid::Uuid;

use super::edge::own_work;
use super::error::{Answer, Code, Problem};
use super::state::RouterState;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Schemes whose credentials browsers remember and add to any request to the same place.
const ADDED_BY_BROWSERS: [&str; 4] = ["basic", "digest", "negotiate", "ntlm"];

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Access {
    /// Everybody, without credentials.
    Open,
    /// Everybody the host knows.
    Authenticated,
    /// Whoever has the permission.
    Needs(Permission),
}

/// Lets a request pass to its handler if its sender may, and tells the handler who that is.
pub(super) async fn authorize(
    State((state, access)): State<(RouterState, Access)>,
    request: Request,
    next: Next,
) -> Response {
    if access == Access::Open {
        return own_work(next.run(request)).await;
    }
    let (mut parts, body) = request.into_parts();
    match admit(&state, &parts, access).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            own_work(next.run(Request::from_parts(parts, body))).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn admit(state: &RouterState, parts: &Parts, access: Access) -> Answer<Caller> {
    refuse_foreign_change(parts)?;
    let principal = state.authenticator().authenticate(parts).await.map_err(|error| {
        tracing::error!(target: "monitoring_tower", error = &*error as &dyn std::error::Error,
            "the host cannot tell who is calling");
        Problem::new(Code::Unavailable, "credentials cannot be checked at the moment; try again later")
    })?;
    let principal = principal.ok_or_else(Problem::unauthorized)?;
    if let Access::Needs(permission) = access {
        principal.require(permission)?;
    }
    Ok(Caller(principal))
}

/// Refuses a change that a browser was made to send by a page of another origin. The host may know
/// its users by cookies, which browsers add unasked as they do passwords; tokens they do not.
///
/// Browsers say where a request comes from if the connection is encrypted or local. Else, and of old, there
/// is only the origin of the page, which has to be this host; what sends neither is no browser's doing.
fn refuse_foreign_change(parts: &Parts) -> Answer<()> {
    if parts.method.is_safe() || parts.headers.get(AUTHORIZATION).is_some_and(sent_on_purpose) {
        return Ok(());
    }
    let is_ours = match parts.headers.get(&SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(site) => matches!(site, b"same-origin" | b"none"),
        None => parts.headers.get(ORIGIN).is_none_or(|origin| is_of_host(origin, parts)),
    };
    match is_ours {
        true => Ok(()),
        false => Err(Problem::new(Code::Forbidden, "a page of another origin may not change anything")),
    }
}

/// Whether the origin's host and port are those the request was sent to. The scheme is not known here.
fn is_of_host(origin: &HeaderValue, parts: &Parts) -> bool {
    let host = parts.headers.get(HOST).map(HeaderValue::as_bytes);
    let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str().as_bytes()));
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    matches!((origin, host), (Some((_, of)), Some(host)) if of.as_bytes().eq_ignore_ascii_case(host))
}

fn sent_on_purpose(authorization: &HeaderValue) -> bool {
    let scheme = authorization.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
    !ADDED_BY_BROWSERS.iter().any(|added| scheme.eq_ignore_ascii_case(added.as_bytes()))
}

/// Who sent the request, after the check of its route.
#[derive(Clone, Debug)]
pub(super) struct Caller(Principal);

impl Caller {
    pub(super) fn id(&self) -> Uuid {
        self.0.id
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.0
    }

    pub(super) fn may(&self, permission: Permission) -> bool {
        self.0.may(permission)
    }

    pub(super) fn may_see(&self, incident: &Incident) -> bool {
        self.0.may_see(incident)
    }

    /// The caller's own id, if without this permission they see only what is theirs.
    pub(super) fn limited_to(&self, all: Permission) -> Option<Uuid> {
        (!self.may(all)).then_some(self.0.id)
    }
}

impl FromRequestParts<RouterState> for Caller {
    type Rejection = Problem;

    /// Behind a route's check the caller is known already; the fallbacks have no such check, so
    /// that strangers learn nothing about which paths exist.
    async fn from_request_parts(parts: &mut Parts, state: &RouterState) -> Answer<Self> {
        match parts.extensions.get::<Self>() {
            Some(caller) => Ok(caller.clone()),
            None => admit(state, parts, Access::Authenticated).await,
        }
    }
}
