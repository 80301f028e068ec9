//! Every route with every role, from the router's own table.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use monitoring_core::{Permission, Principal};
use monitoring_tower::{Access, Endpoint, FromExtensions, endpoints};

use crate::support::{ADMIN, ALICE, Answer, MODERATOR, Service, Somebody, exchange, request, send};

const EVERYBODY: [Option<Somebody>; 4] = [None, Some(ALICE), Some(MODERATOR), Some(ADMIN)];

fn path(endpoint: &Endpoint) -> String {
    let id = "00000000-0000-7000-8000-000000000001";
    endpoint
        .path
        .replace("{id}", id)
        .replace("{event_id}", id)
        .replace("{name}", "default")
        .replace("{*file}", "index.html")
}

/// Sends what passes the check but changes nothing. A stream never ends, so its answer is not
/// waited for.
async fn knock(service: &Service, endpoint: &Endpoint, who: Option<Somebody>) -> Answer {
    let method = match (endpoint.path, &endpoint.method) {
        ("/events/stream", &Method::GET) => Method::HEAD,
        (_, method) => method.clone(),
    };
    send(&service.app, method, &path(endpoint), who, None).await
}

#[tokio::test]
async fn every_route_is_open_to_exactly_the_roles_the_table_names() {
    let service = Service::sqlite().await;
    for endpoint in endpoints() {
        for who in EVERYBODY {
            let status = knock(&service, &endpoint, who).await.status;
            let refused =
                matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN).then_some(status);
            let expected = match (endpoint.access, who) {
                (Access::Open, _) => None,
                (_, None) => Some(StatusCode::UNAUTHORIZED),
                (Access::Needs(permission), Some(who)) if !who.role.allows(permission) => {
                    Some(StatusCode::FORBIDDEN)
                }
                _ => None,
            };
            let name = who.map(|who| who.name);
            assert_eq!(refused, expected, "{} {} as {name:?}: {status}", endpoint.method, endpoint.path);
        }
    }
}

#[test]
fn what_is_sensitive_is_not_for_plain_users() {
    let needs = |method: Method, path: &str| {
        let endpoint = endpoints().into_iter().find(|e| e.method == method && e.path == path);
        endpoint.unwrap_or_else(|| panic!("no {method} {path}")).access
    };
    assert_eq!(needs(Method::GET, "/audit"), Access::Needs(Permission::ReadAudit));
    assert_eq!(needs(Method::GET, "/stats"), Access::Needs(Permission::ReadStats));
    assert_eq!(needs(Method::POST, "/alerts"), Access::Needs(Permission::ManageAlerts));
    let open = endpoints().into_iter().filter(|e| e.access == Access::Open).map(|e| e.path);
    let holds_no_data = [
        "/livez",
        "/readyz",
        "/openapi.json",
        "/docs",
        "/docs/",
        "/docs/{*file}",
        "/prometheus/-/healthy",
        "/prometheus/-/ready",
    ];
    for path in open {
        assert!(holds_no_data.contains(&path), "{path}");
    }
}

#[tokio::test]
async fn strangers_are_asked_for_credentials() {
    let service = Service::sqlite().await;
    for path in ["/events", "/no/such/path"] {
        let answer = send(&service.app, Method::GET, path, None, None).await;
        answer.problem(StatusCode::UNAUTHORIZED, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

/// A page of another site can have a browser send these with the user's cookies, unasked.
#[tokio::test]
async fn a_change_from_another_sites_page_is_refused() {
    let service = Service::sqlite().await;
    let app = monitoring_tower::router(&service.monitoring, FromExtensions)
        .layer(axum::Extension(Principal::new(ADMIN.id, ADMIN.role)));
    let enable = "/alerts/00000000-0000-7000-8000-000000000001/enable";
    let status = async |method: Method, path: &str, site: &str, authorization: Option<&str>| {
        let mut request = Request::builder().method(method).uri(path).header("sec-fetch-site", site);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        exchange(&app, request.body(Body::empty()).unwrap()).await.status
    };
    for site in ["cross-site", "same-site"] {
        assert_eq!(status(Method::POST, enable, site, None).await, StatusCode::FORBIDDEN);
        assert_eq!(status(Method::GET, "/stats", site, None).await, StatusCode::OK);
        // What carries a token of its own was sent on purpose.
        assert_eq!(status(Method::POST, enable, site, Some("Bearer t")).await, StatusCode::NOT_FOUND);
        // A browser that was told a name and a password once sends them along as it does cookies.
        for remembered in ["Basic dTpw", "basic dTpw", "Digest u", "Negotiate t", "NTLM t"] {
            let status = status(Method::POST, enable, site, Some(remembered)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{remembered}");
        }
    }
    for site in ["same-origin", "none"] {
        assert_eq!(status(Method::POST, enable, site, None).await, StatusCode::NOT_FOUND);
    }
}

/// Browsers name no site where the connection is not encrypted, and old ones nowhere.
#[tokio::test]
async fn a_change_from_another_origin_is_refused() {
    let service = Service::sqlite().await;
    let app = monitoring_tower::router(&service.monitoring, FromExtensions)
        .layer(axum::Extension(Principal::new(ADMIN.id, ADMIN.role)));
    let enable = "/alerts/00000000-0000-7000-8000-000000000001/enable";
    let status = async |headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(Method::POST).uri(enable);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        exchange(&app, request.body(Body::empty()).unwrap()).await.status
    };
    let host = ("host", "mon.example:8080");
    for origin in ["http://evil.example", "http://mon.example", "http://mon.example:80801", "null", ""] {
        assert_eq!(status(&[host, ("origin", origin)]).await, StatusCode::FORBIDDEN, "{origin}");
        let token = ("authorization", "Bearer t");
        assert_eq!(status(&[host, ("origin", origin), token]).await, StatusCode::NOT_FOUND, "{origin}");
    }
    for origin in ["http://mon.example:8080", "https://MON.example:8080"] {
        assert_eq!(status(&[host, ("origin", origin)]).await, StatusCode::NOT_FOUND, "{origin}");
    }
    assert_eq!(status(&[("origin", "http://mon.example")]).await, StatusCode::FORBIDDEN, "no host");
    assert_eq!(status(&[host]).await, StatusCode::NOT_FOUND, "no browser");
    let says_so = [host, ("origin", "http://proxied.example"), ("sec-fetch-site", "same-origin")];
    assert_eq!(status(&says_so).await, StatusCode::NOT_FOUND, "the browser knows better");
}

#[tokio::test]
async fn a_refusal_names_the_role_that_is_missing() {
    let service = Service::sqlite().await;
    let problem = service.get("/audit", MODERATOR).await.problem(StatusCode::FORBIDDEN, "forbidden");
    assert_eq!(problem["detail"], "this needs the role admin");
}

#[tokio::test]
async fn an_unknown_path_is_a_problem_too() {
    let service = Service::sqlite().await;
    for path in ["/no/such/path", "/events/1/2", ""] {
        service.get(path, ALICE).await.problem(StatusCode::NOT_FOUND, "not_found");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let service = Service::sqlite().await;
    for endpoint in endpoints() {
        let path = path(&endpoint);
        let answer = send(&service.app, Method::TRACE, &path, Some(ADMIN), None).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        assert!(allowed.contains(&endpoint.method.as_str()), "{path}: {allowed:?}");
    }
}

#[tokio::test]
async fn a_host_that_cannot_tell_who_is_calling_is_unavailable_and_says_no_more() {
    let service = Service::sqlite().await;
    let request = request(Method::GET, "/events", None).header("authorization", "Bearer broken");
    let answer = exchange(&service.app, request.body(Body::empty()).unwrap()).await;
    answer.problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    assert!(!answer.header("retry-after").is_empty());
    assert!(!answer.text().contains("10.0.0.7"));
}

mod authenticators {
    use super::*;
    use axum::{Extension, Router};
    use http::request::Parts;
    use monitoring_core::{Principal, Role};
    use monitoring_tower::{Authentication, Authenticator, FromExtensions};
    use uuid::Uuid;

    struct ByKey(&'static str);

    impl Authenticator for ByKey {
        async fn authenticate(&self, request: &Parts) -> Authentication {
            let key = request.headers.get("x-key").and_then(|value| value.to_str().ok());
            Ok(key.filter(|key| *key == self.0).map(|_| Principal::new(Uuid::nil(), Role::Admin)))
        }
    }

    async fn status(app: Router) -> StatusCode {
        let request = Request::get("/audit").header("x-key", "k").body(Body::empty()).unwrap();
        exchange(&app, request).await.status
    }

    #[tokio::test]
    async fn may_be_a_type_a_closure_or_the_hosts_own_middleware() {
        let service = Service::sqlite().await;
        let monitoring = &service.monitoring;
        assert_eq!(status(monitoring_tower::router(monitoring, ByKey("k"))).await, StatusCode::OK);
        assert_eq!(status(monitoring_tower::router(monitoring, ByKey("x"))).await, StatusCode::UNAUTHORIZED);

        let sessions = std::sync::Arc::new(["k".to_owned()]);
        let closure = move |request: &Parts| {
            let sessions = sessions.clone();
            let key = request.headers.get("x-key").cloned();
            async move {
                let known = key.is_some_and(|key| sessions.iter().any(|session| key == session.as_str()));
                Ok(known.then(|| Principal::new(Uuid::nil(), Role::Admin)))
            }
        };
        assert_eq!(status(monitoring_tower::router(monitoring, closure)).await, StatusCode::OK);

        let app: Router = monitoring_tower::router(monitoring, FromExtensions);
        assert_eq!(status(app.clone()).await, StatusCode::UNAUTHORIZED);
        let app = app.layer(Extension(Principal::new(Uuid::nil(), Role::Admin)));
        assert_eq!(status(app).await, StatusCode::OK);
    }

    #[tokio::test]
    async fn the_router_fits_a_host_with_state() {
        #[derive(Clone)]
        struct HostState;
        let service = Service::sqlite().await;
        let monitoring = &service.monitoring;
        let app = Router::<HostState>::new()
            .nest("/m", monitoring_tower::router(monitoring, FromExtensions))
            .with_state(HostState);
        let request = Request::get("/m/livez").body(Body::empty()).unwrap();
        assert_eq!(exchange(&app, request).await.status, StatusCode::OK);
    }
}
