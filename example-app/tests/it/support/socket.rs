//! A shop on a socket, and clients from all over the loopback network.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use example_app::{App, Stopped};
use monitoring_core::{Monitoring, Recorder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::TestDatabase;
use super::process::{Answer, exchange_from};

/// A shop that listens.
pub(crate) struct Listening {
    pub(crate) address: String,
    pub(crate) monitoring: Monitoring,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Stopped>,
}

impl Listening {
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut settings = database.settings();
        settings.monitoring.address = Some(address.clone());
        let app = App::start(&settings, Recorder::detached()).await.unwrap();
        let monitoring = app.monitoring().clone();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(app.serve(listener, async { stopped.await.unwrap_or(()) }));
        Self { address, monitoring, stop, server }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        assert_eq!(self.server.await.unwrap(), Stopped::Finished);
    }

    /// A client at `127.0.0.last` with this `Authorization` header, or without one.
    pub(crate) fn client(&self, last: u8, authorization: impl AsRef<[u8]>) -> Client<'_> {
        Client { shop: self, last, authorization: authorization.as_ref().to_vec() }
    }

    /// Registers someone and returns their id.
    pub(crate) async fn register(&self, username: &str, password: &str) -> String {
        let body = json!({ "username": username, "password": password });
        let user = self.client(1, "").post("/auth/register", body).await;
        assert_eq!(user.status, 201, "{}", user.body);
        user.json()["data"]["id"].as_str().unwrap().to_owned()
    }

    /// Logs someone in, from where nobody guesses.
    pub(crate) async fn log_in(&self, username: &str, password: &str) -> Client<'_> {
        let body = json!({ "username": username, "password": password });
        let session = self.client(1, "").post("/auth/login", body).await;
        assert_eq!(session.status, 200, "{}", session.body);
        let token = session.json()["data"]["token"].as_str().unwrap().to_owned();
        self.client(1, format!("Bearer {token}"))
    }
}

/// The header of a name and a password.
pub(crate) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// Somebody who calls the shop.
#[derive(Clone)]
pub(crate) struct Client<'a> {
    shop: &'a Listening,
    last: u8,
    authorization: Vec<u8>,
}

impl Client<'_> {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "text/plain", "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, "application/json", &body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, "application/json", &body.to_string()).await
    }

    pub(crate) async fn post_form(&self, path: &str, form: &str) -> Answer {
        self.send("POST", path, "application/x-www-form-urlencoded", form).await
    }

    async fn send(&self, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
        let mut headers = format!("content-type: {content_type}\r\n").into_bytes();
        if !self.authorization.is_empty() {
            headers = [&headers, &b"authorization: "[..], &self.authorization, b"\r\n"].concat();
        }
        let (from, request) = ([127, 0, 0, self.last].into(), format!("{method} /api/v1{path}"));
        exchange_from(from, &self.shop.address, &request, &headers, body).await.unwrap()
    }
}
