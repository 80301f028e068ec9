//! A host with the router nested in it, and somebody to talk to it.

#[cfg(feature = "postgres")]
#[path = "../../../../monitoring-core/tests/it/support/postgres.rs"]
mod postgres;

#[cfg(feature = "prometheus")]
#[path = "../../../../monitoring-core/tests/it/support/dice.rs"]
pub(crate) mod dice;
#[cfg(feature = "notify")]
#[allow(dead_code)] // it can do more than is asked of it here
#[path = "../../../../monitoring-core/tests/it/support/listener.rs"]
pub(crate) mod listener;
#[cfg(feature = "prometheus")]
pub(crate) mod prometheus;
#[path = "../../../../monitoring-core/tests/it/support/waiting.rs"]
pub(crate) mod waiting;

use std::path::PathBuf;

use axum::Router;
use axum::body::{Body, Bytes};
use http::request::{Builder, Parts};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use monitoring_core::{Monitoring, Principal, Role};
use monitoring_tower::{Authentication, RouterBuilder};
use serde_json::Value;
use tower::ServiceExt as _;
use uuid::Uuid;

pub(crate) const MOUNT: &str = "/api/v1/monitoring";
/// Where people find it.
pub(crate) const EXTERNAL_URL: &str = "https://shop.example/monitoring";

/// Somebody the host knows; the token is the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Somebody {
    pub name: &'static str,
    pub id: Uuid,
    pub role: Role,
}

const fn somebody(name: &'static str, id: u128, role: Role) -> Somebody {
    Somebody { name, id: Uuid::from_u128(id), role }
}

pub(crate) const ALICE: Somebody = somebody("alice", 0xa11ce, Role::User);
pub(crate) const BOB: Somebody = somebody("bob", 0xb0b, Role::User);
pub(crate) const MODERATOR: Somebody = somebody("mo", 0x30, Role::Moderator);
pub(crate) const ADMIN: Somebody = somebody("ada", 0xada, Role::Admin);

/// The host's answer to "who is calling?".
async fn authenticate(request: &Parts) -> Authentication {
    let header = request.headers.get("authorization").and_then(|value| value.to_str().ok());
    let Some(token) = header.and_then(|value| value.strip_prefix("Bearer ")) else { return Ok(None) };
    if token == "broken" {
        return Err("the session store at 10.0.0.7 is down".into());
    }
    let known = [ALICE, BOB, MODERATOR, ADMIN].into_iter().find(|somebody| somebody.name == token);
    Ok(known.map(|somebody| Principal::new(somebody.id, somebody.role)))
}

/// A host on a fresh database.
#[derive(Debug)]
pub(crate) struct Service {
    pub app: Router,
    pub monitoring: Monitoring,
    database_url: String,
    _database: Database,
}

#[derive(Debug)]
#[allow(dead_code)] // kept for its `Drop`
enum Database {
    Sqlite(TemporaryFolder),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::TestDatabase>),
}

impl Service {
    pub(crate) async fn sqlite() -> Self {
        let folder = TemporaryFolder::new();
        let url = format!("sqlite://{}", folder.0.join("monitoring.db").display());
        Self::start(&url, Database::Sqlite(folder)).await
    }

    /// `None` where there is no server to test with.
    #[cfg(feature = "postgres")]
    pub(crate) async fn postgres() -> Option<Self> {
        let database = postgres::database().await?;
        let url = database.url.clone();
        Some(Self::start(&url, Database::Postgres(Box::new(database))).await)
    }

    async fn start(url: &str, database: Database) -> Self {
        let monitoring = Monitoring::builder().database_url(url).external_url(EXTERNAL_URL);
        let monitoring = monitoring.start().await.expect("a fresh database");
        let app = mount(builder(&monitoring));
        Self { app, monitoring, database_url: url.to_owned(), _database: database }
    }

    /// Another process on the same database, that can be reached at an address.
    #[cfg(feature = "prometheus")]
    pub(crate) async fn replica(&self, address: std::net::SocketAddr) -> (Router, Monitoring) {
        let builder = Monitoring::builder().database_url(&self.database_url).address(address.to_string());
        let monitoring = builder.start().await.expect("a good database and address");
        (mount(RouterBuilder::new(&monitoring, authenticate)), monitoring)
    }

    /// A second router on the same system, built otherwise.
    pub(crate) fn rebuilt(&self, change: impl FnOnce(RouterBuilder) -> RouterBuilder) -> Router {
        mount(change(builder(&self.monitoring)))
    }

    pub(crate) async fn get(&self, path: &str, who: Somebody) -> Answer {
        send(&self.app, Method::GET, path, Some(who), None).await
    }

    pub(crate) async fn post(&self, path: &str, who: Somebody, body: Value) -> Answer {
        send(&self.app, Method::POST, path, Some(who), Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, who: Somebody, body: Value) -> Answer {
        send(&self.app, Method::PUT, path, Some(who), Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, who: Somebody) -> Answer {
        send(&self.app, Method::DELETE, path, Some(who), None).await
    }
}

fn builder(monitoring: &Monitoring) -> RouterBuilder {
    RouterBuilder::new(monitoring, authenticate)
}

fn mount(builder: RouterBuilder) -> Router {
    Router::new().nest(MOUNT, builder.build())
}

/// The head of a request below the mount.
pub(crate) fn request(method: Method, path: &str, who: Option<Somebody>) -> Builder {
    let request = Request::builder().method(method).uri(format!("{MOUNT}{path}"));
    match who {
        Some(who) => request.header("authorization", format!("Bearer {}", who.name)),
        None => request,
    }
}

pub(crate) async fn send(
    app: &Router,
    method: Method,
    path: &str,
    who: Option<Somebody>,
    body: Option<Value>,
) -> Answer {
    let request = request(method, path, who);
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    exchange(app, request.unwrap()).await
}

pub(crate) async fn exchange(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The data of a success.
    #[track_caller]
    pub(crate) fn data(&self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text());
        let mut json = self.json();
        assert_eq!(json["success"], true);
        json["data"].take()
    }

    /// The problem, checked for what all of them have.
    #[track_caller]
    pub(crate) fn problem(&self, status: StatusCode, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let json = self.json();
        assert_eq!(json["code"], code, "{json}");
        assert_eq!(json["success"], false);
        assert_eq!(json["status"], status.as_u16());
        assert_eq!(json["request_id"], self.header("x-request-id"));
        json
    }

    /// The fields a problem names.
    #[track_caller]
    pub(crate) fn invalid_fields(&self) -> Vec<String> {
        let problem = self.problem(StatusCode::BAD_REQUEST, "validation_failed");
        let errors = problem["errors"].as_array().expect("a list of errors");
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

#[derive(Debug)]
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> Self {
        let name = format!("monitoring-tower-{:032x}", monitoring_core::random_u128());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Runs tests of the form `async fn(service: &Service)` on both databases.
macro_rules! on_both_databases {
    ($($test:ident)*) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(&crate::support::Service::sqlite().await).await;
                }
            )*
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(
                #[tokio::test]
                async fn $test() {
                    let Some(service) = crate::support::Service::postgres().await else { return };
                    super::$test(&service).await;
                }
            )*
        }
    };
}
pub(crate) use on_both_databases;
