//! In an axum router: matched paths, the extractor, real connections.

use axum::body::Body;
use axum::extract::Path;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use monitoring_core::{Event, Recorder};
use monitoring_tower::{MonitoringLayer, MonitoringTags, RequestContext};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

async fn text(app: Router, request: Request<Body>) -> (StatusCode, String) {
    let response = app.oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

fn request(path: &str) -> Request<Body> {
    Request::get(path).header("x-request-id", "order-7").body(Body::empty()).unwrap()
}

fn one_event(recorder: &Recorder) -> Event {
    let mut events = recorder.capture().events;
    assert_eq!(events.len(), 1, "{events:#?}");
    events.remove(0)
}

async fn id_of(context: RequestContext) -> String {
    context.request_id.to_string()
}

#[tokio::test]
async fn the_matched_path_is_the_route() {
    let recorder = Recorder::detached();
    let app = Router::new()
        .route("/orders/{id}", get(async |Path(id): Path<u64>| Json(id)))
        .layer(MonitoringLayer::with_recorder(&recorder));
    assert_eq!(text(app, request("/orders/7")).await.0, 200);
    let event = one_event(&recorder);
    assert_eq!(event.message.as_deref(), Some("GET /orders/{id} 200"));
    assert_eq!(event.tags["path"], "/orders/7");
    assert_eq!(event.payload["response_body_bytes"], 1);
}

#[tokio::test]
async fn the_fallback_is_unmatched() {
    let recorder = Recorder::detached();
    let app = Router::new().route("/", get(async || "")).layer(MonitoringLayer::with_recorder(&recorder));
    assert_eq!(text(app, request("/wp-login.php")).await.0, 404);
    let event = one_event(&recorder);
    assert_eq!(event.tags["route"], "unmatched");
    assert_eq!(event.message.as_deref(), Some("GET /wp-login.php 404"));
}

#[tokio::test]
async fn nested_routers_show_the_whole_template_and_path() {
    for layer_inside in [false, true] {
        let recorder = Recorder::detached();
        let layer = MonitoringLayer::with_recorder(&recorder);
        let orders = Router::new().route("/{id}", get(async || "an order"));
        let app = if layer_inside {
            Router::new().nest("/shop", Router::new().nest("/orders", orders.layer(layer)))
        } else {
            Router::new().nest("/shop", Router::new().nest("/orders", orders)).layer(layer)
        };
        assert_eq!(text(app, request("/shop/orders/7")).await.0, 200);
        let event = one_event(&recorder);
        assert_eq!(event.tags["route"], "/shop/orders/{id}");
        assert_eq!(event.tags["path"], "/shop/orders/7");
    }
}

#[tokio::test]
async fn handlers_extract_the_context() {
    let recorder = Recorder::detached();
    let app = Router::new().route("/", get(id_of)).layer(MonitoringLayer::with_recorder(&recorder));
    assert_eq!(text(app, request("/")).await, (StatusCode::OK, "order-7".to_owned()));
}

#[tokio::test]
async fn handlers_read_the_id_from_the_headers_too() {
    let recorder = Recorder::detached();
    let app = Router::new()
        .route(
            "/",
            get(async |headers: HeaderMap| headers["x-request-id"].to_str().unwrap().len().to_string()),
        )
        .layer(MonitoringLayer::with_recorder(&recorder));
    let without_id = Request::get("/").body(Body::empty()).unwrap();
    assert_eq!(text(app, without_id).await.1, "36");
}

#[tokio::test]
async fn without_the_layer_the_extractor_says_what_is_missing() {
    let app = Router::new().route("/", get(id_of));
    let (status, message) = text(app, request("/")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(message.contains("MonitoringLayer"), "{message}");
}

#[tokio::test]
async fn without_the_layer_an_optional_context_is_none() {
    let app =
        Router::new().route("/", get(async |context: Option<RequestContext>| context.is_none().to_string()));
    assert_eq!(text(app, request("/")).await.1, "true");
}

#[tokio::test]
async fn the_context_survives_waiting() {
    let recorder = Recorder::detached();
    let app = Router::new()
        .route(
            "/",
            get(async || {
                tokio::task::yield_now().await;
                RequestContext::current().map(|context| context.request_id.to_string()).unwrap_or_default()
            }),
        )
        .layer(MonitoringLayer::with_recorder(&recorder));
    assert_eq!(text(app, request("/")).await.1, "order-7");
}

#[tokio::test]
async fn tags_are_a_part_of_the_answer() {
    let recorder = Recorder::detached();
    let app = Router::new()
        .route("/", get(async || (MonitoringTags::new().tag("tier", "gold"), "done")))
        .layer(MonitoringLayer::with_recorder(&recorder));
    assert_eq!(text(app, request("/")).await.1, "done");
    assert_eq!(one_event(&recorder).tags["tier"], "gold");
}

#[tokio::test]
async fn head_is_complete_though_axum_drops_the_body() {
    let recorder = Recorder::detached();
    let app =
        Router::new().route("/", get(async || "never sent")).layer(MonitoringLayer::with_recorder(&recorder));
    let head = Request::head("/").body(Body::empty()).unwrap();
    assert_eq!(text(app, head).await, (StatusCode::OK, String::new()));
    assert_eq!(one_event(&recorder).tags["outcome"], "completed");
}

async fn upgrade(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| while socket.recv().await.is_some() {}).into_response()
}

/// Sends a request over a real connection and reads until the answer's head is there.
async fn raw(app: Router, request: &str) -> (TcpStream, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    client.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    (client, String::from_utf8(head).unwrap())
}

#[tokio::test]
async fn a_websocket_is_recorded_while_it_is_open() {
    let recorder = Recorder::detached();
    let app = Router::new().route("/socket", get(upgrade)).layer(MonitoringLayer::with_recorder(&recorder));
    let handshake = "GET /socket HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (_open, head) = raw(app, handshake).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let event = one_event(&recorder);
    assert_eq!(event.tags["outcome"], "upgraded");
    assert_eq!(event.message.as_deref(), Some("GET /socket 101"));
}

#[tokio::test]
async fn over_a_real_connection_the_answer_is_whole_and_complete() {
    let recorder = Recorder::detached();
    let app =
        Router::new().route("/", get(async || "hello")).layer(MonitoringLayer::with_recorder(&recorder));
    let (mut client, head) = raw(app, "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(head.contains("content-length: 5\r\n"), "{head}");
    assert!(head.contains("x-request-id: "), "{head}");
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "hello");
    assert_eq!(one_event(&recorder).tags["outcome"], "completed");
}
