//! A shop on a fresh database, and a client without a socket.
//!
//! [`on_each_database!`] turns one test function into one test per database; a new database
//! is a line there and a function that makes a fresh one.

#[path = "../../../../monitoring-core/tests/it/support/postgres.rs"]
mod postgres;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod socket;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use example_app::{App, Settings};
use http_body_util::BodyExt;
use monitoring_core::Recorder;
use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) const ADMIN: &str = "root-of-all";
pub(crate) const PASSWORD: &str = "correct horse";

/// Makes a test for each database out of `async fn name(database: TestDatabase)`.
macro_rules! on_each_database {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::support::TestDatabase;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name(TestDatabase::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(database) = TestDatabase::postgres().await {
                    super::$name(database).await;
                }
            }
        }
    )+};
}
pub(crate) use on_each_database;

/// A database nobody else uses, gone after the test.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    _folder: Option<TempDir>,
    _on_server: Option<postgres::TestDatabase>,
}

impl TestDatabase {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("data/shop.db").display());
        Self { url, _folder: Some(folder), _on_server: None }
    }

    pub(crate) async fn postgres() -> Option<Self> {
        let database = postgres::database().await?;
        Some(Self { url: database.url.clone(), _folder: None, _on_server: Some(database) })
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::parse(|variable| match variable {
            "DATABASE_URL" => Some(self.url.clone().into()),
            "ADMIN_USERNAME" => Some(ADMIN.into()),
            "ADMIN_PASSWORD" => Some(PASSWORD.into()),
            _ => None,
        })
        .unwrap()
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }

    /// One column of whole numbers, read beside the shop.
    pub(crate) async fn numbers(&self, sql: &'static str) -> Vec<i64> {
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        } else {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        }
    }

    /// Changes rows behind the shop's back.
    pub(crate) async fn execute(&self, sql: &'static str) {
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        } else {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
    }

    /// Applies someone else's migrations, before or after the shop's.
    pub(crate) async fn migrate(&self, migrator: &Migrator) {
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            migrator.run(&mut connection).await.unwrap();
        } else {
            let options: SqliteConnectOptions = self.url.parse().unwrap();
            std::fs::create_dir_all(options.get_filename().parent().unwrap()).unwrap();
            let mut connection = options.create_if_missing(true).connect().await.unwrap();
            migrator.run(&mut connection).await.unwrap();
        }
    }

    pub(crate) async fn start(&self) -> Shop {
        let app = App::start(&self.settings(), Recorder::detached()).await.unwrap();
        Shop { router: app.router(), app, address: SocketAddr::from(([127, 0, 0, 1], 4711)) }
    }
}

/// A running shop and a client at an address.
pub(crate) struct Shop {
    pub(crate) app: App,
    router: Router,
    address: SocketAddr,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Reply {
    /// The data of a success with this status.
    #[track_caller]
    pub(crate) fn data(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        assert_eq!(self.body["success"], true);
        self.body["data"].clone()
    }

    /// Checks that this is a problem with this status and code.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["success"], false);
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["code"], code);
        assert!(self.body["title"].is_string() && self.body["detail"].is_string());
        self
    }
}

impl Shop {
    /// The same shop, called from another address.
    pub(crate) fn at_address(&self, last: u8) -> Client<'_> {
        Client { shop: self, address: SocketAddr::from(([10, 0, 0, last], 4711)) }
    }

    fn client(&self) -> Client<'_> {
        Client { shop: self, address: self.address }
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Reply {
        self.client().call(Method::GET, path, token, None).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Reply {
        self.client().call(Method::POST, path, token, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, token: &str, body: Value) -> Reply {
        self.client().call(Method::PUT, path, token, Some(body)).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        self.client().send(request).await
    }

    /// Registers someone and returns their id.
    pub(crate) async fn register(&self, username: &str) -> String {
        let body = json!({ "username": username, "password": PASSWORD });
        let user = self.post("/auth/register", "", body).await.data(201);
        user["id"].as_str().unwrap().to_owned()
    }

    /// Logs someone in and returns their token.
    pub(crate) async fn login(&self, username: &str) -> String {
        let body = json!({ "username": username, "password": PASSWORD });
        let session = self.post("/auth/login", "", body).await.data(200);
        session["token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn register_and_login(&self, username: &str) -> (String, String) {
        (self.register(username).await, self.login(username).await)
    }

    /// Registers someone, gives them a role and returns their token.
    pub(crate) async fn login_as(&self, username: &str, role: &str) -> String {
        let (id, token) = self.register_and_login(username).await;
        let admin = self.login(ADMIN).await;
        let role = json!({ "role": role });
        self.put(&format!("/users/{id}/role"), &admin, role).await.data(200);
        token
    }

    /// The stored events that match, newest first, once everything recorded so far is stored.
    pub(crate) async fn events(&self, filter: &str) -> Vec<Value> {
        let admin = self.login(ADMIN).await;
        self.app.monitoring().recorder().flush().await.unwrap();
        let events = self.get(&format!("/monitoring/events?limit=1000&{filter}"), &admin).await.data(200);
        events.as_array().unwrap().clone()
    }

    /// The scrape, once everything recorded so far is in it.
    pub(crate) async fn scrape(&self, token: &str) -> String {
        self.app.monitoring().recorder().flush().await.unwrap();
        let reply = self.get("/monitoring/metrics/prometheus", token).await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
        reply.text
    }

    pub(crate) async fn stop(self) -> example_app::Stopped {
        self.app.shutdown(Duration::from_secs(10)).await
    }
}

/// A client at an address.
pub(crate) struct Client<'a> {
    shop: &'a Shop,
    address: SocketAddr,
}

impl Client<'_> {
    pub(crate) async fn register(&self, account: Value) -> Reply {
        self.call(Method::POST, "/auth/register", "", Some(account)).await
    }

    pub(crate) async fn login(&self, username: &str, password: &str) -> Reply {
        let body = json!({ "username": username, "password": password });
        self.call(Method::POST, "/auth/login", "", Some(body)).await
    }

    async fn call(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    async fn send(&self, mut request: Request<Body>) -> Reply {
        request.extensions_mut().insert(ConnectInfo(self.address));
        let response = self.shop.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}
