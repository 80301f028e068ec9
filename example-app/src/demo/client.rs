//! A client for the shop, over real sockets.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::DemoError;

/// Sends requests, for somebody or for nobody; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    request: String,
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    /// A client nobody has signed in with.
    pub(super) fn new(address: SocketAddr) -> Self {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { http, address, token: None }
    }

    /// The same client, signed in.
    pub(super) fn with_token(&self, token: String) -> Self {
        Self { token: Some(token), ..self.clone() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn get(&self, path: &str) -> Result<Reply, DemoError> {
        self.send(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Reply, DemoError> {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Result<Reply, DemoError> {
        self.send(Method::PUT, path, Some(body)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Reply, DemoError> {
        let request = format!("{method} {path}");
        let answer = self.exchange(method, path, body).await;
        let (status, headers, body) =
            answer.map_err(|source| DemoError::Unanswered { request: request.clone(), source })?;
        Ok(Reply { request, status, headers, body })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let (parts, body) = self.http.request(request.body(Full::new(body))?).await?.into_parts();
        Ok((parts.status, parts.headers, body.collect().await?.to_bytes()))
    }
}

impl Reply {
    /// Insists on a status.
    pub(super) fn expect(self, status: u16) -> Result<Self, DemoError> {
        if self.status.as_u16() == status {
            return Ok(self);
        }
        let (request, body) = (self.request.clone(), self.text());
        Err(DemoError::Unexpected { request, status: self.status, expected: status, body })
    }

    /// The `data` of an answer with this status.
    pub(super) fn data(self, status: u16) -> Result<Value, DemoError> {
        let reply = self.expect(status)?;
        let mut body: Value = serde_json::from_slice(&reply.body)
            .map_err(|error| DemoError::Unanswered { request: reply.request, source: error.into() })?;
        Ok(body["data"].take())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The id the monitoring's layer gave the request.
    pub(super) fn request_id(&self) -> Result<String, DemoError> {
        let id = self.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        id.map(str::to_owned).ok_or(DemoError::Missing("the header x-request-id"))
    }
}
