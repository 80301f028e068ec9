//! A request is recorded once, when it is over, however it ends.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;
use monitoring_core::Level;
use tower::{Layer, Service};

use super::support::{Monitored, Script, Step, frame, get, ok, poll, read, ready, values};

#[test]
fn a_request_is_over_when_its_body_is() {
    let monitored = Monitored::new();
    let response = monitored.answer(get("/"), |_| ok(Script::stream([Step::Data("ab"), Step::Data("c")])));
    let mut body = response.into_body();
    assert!(frame(&mut body).is_ready());
    assert!(frame(&mut body).is_ready());
    assert_eq!(monitored.events(), [], "the end of the stream is not known yet");
    assert!(matches!(frame(&mut body), Poll::Ready(None)));
    let event = monitored.event();
    assert_eq!(event.tags["outcome"], "completed");
    assert_eq!(event.payload["response_body_bytes"], 3);
    drop(body);
    assert_eq!(monitored.events(), [], "recorded once");
}

#[test]
fn a_body_that_knows_its_end_is_not_asked_again() {
    let monitored = Monitored::new();
    let mut body = monitored.answer(get("/"), |_| ok(Script::buffered([Step::Data("abc")]))).into_body();
    assert!(!body.is_end_stream());
    assert!(frame(&mut body).is_ready());
    assert!(body.is_end_stream());
    assert_eq!(monitored.event().tags["outcome"], "completed");
}

#[test]
fn an_empty_body_need_not_be_polled() {
    let monitored = Monitored::new();
    let _unpolled = monitored.answer(get("/"), |_| ok(Script::buffered([])));
    assert_eq!(monitored.event().tags["outcome"], "completed");
}

#[test]
fn a_server_may_drop_the_body_once_the_announced_length_is_sent() {
    let monitored = Monitored::new();
    let response = monitored.answer(get("/"), |_| {
        let body = Script::stream([Step::Data("abc"), Step::Pending]);
        Response::builder().header("content-length", 3).body(body).unwrap()
    });
    let mut body = response.into_body();
    assert!(frame(&mut body).is_ready());
    drop(body);
    assert_eq!(monitored.event().tags["outcome"], "completed");
}

#[test]
fn responses_without_a_body_are_complete_unread() {
    for (method, status) in [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304)] {
        let monitored = Monitored::new();
        let request = Request::builder().method(method).body(()).unwrap();
        let response = monitored.answer(request, |_| {
            Response::builder().status(status).body(Script::buffered([Step::Data("never sent")])).unwrap()
        });
        drop(response);
        let event = monitored.event();
        assert_eq!(event.tags["outcome"], "completed", "{status}");
        assert_eq!(event.payload["response_body_bytes"], 0, "{status}");
    }
}

#[test]
fn a_client_that_leaves_before_the_response_is_recorded() {
    let monitored = Monitored::new();
    let service = tower::service_fn(|_: Request<()>| pending::<Result<Response<Script>, Infallible>>());
    let mut future = Box::pin(monitored.layer.layer(service).call(get("/slow")));
    assert!(poll(future.as_mut()).is_pending());
    assert_eq!(monitored.events(), []);
    drop(future);
    let event = monitored.event();
    assert_eq!(event.message.as_deref(), Some("GET /slow client_disconnected"));
    assert_eq!(event.tags["outcome"], "client_disconnected");
    assert!(!event.tags.contains_key("status"));
    assert_eq!(event.level, Some(Level::Warn));
}

#[test]
fn a_request_never_polled_is_recorded() {
    let monitored = Monitored::new();
    let service = tower::service_fn(|_: Request<()>| pending::<Result<Response<Script>, Infallible>>());
    drop(monitored.layer.layer(service).call(get("/")));
    assert_eq!(monitored.event().tags["outcome"], "client_disconnected");
}

#[test]
fn a_client_that_leaves_mid_body_is_recorded_with_what_it_got() {
    let monitored = Monitored::new();
    let script = Script::stream([Step::Data("abc"), Step::Pending, Step::Data("never read")]);
    let mut body = monitored.answer(get("/"), |_| ok(script)).into_body();
    assert!(frame(&mut body).is_ready());
    assert!(frame(&mut body).is_pending());
    drop(body);
    let event = monitored.event();
    assert_eq!(event.tags["outcome"], "client_disconnected");
    assert_eq!(event.tags["status"], 200);
    assert_eq!(event.payload["response_body_bytes"], 3);
}

#[test]
fn a_body_that_fails_is_an_error() {
    let monitored = Monitored::new();
    let mut body =
        monitored.answer(get("/"), |_| ok(Script::stream([Step::Data("ab"), Step::Fail]))).into_body();
    assert!(frame(&mut body).is_ready());
    assert!(matches!(frame(&mut body), Poll::Ready(Some(Err(_)))));
    let event = monitored.event();
    assert_eq!(event.tags["outcome"], "error");
    assert_eq!(event.level, Some(Level::Error));
    drop(body);
    assert_eq!(monitored.events(), []);
}

#[test]
fn an_error_of_the_service_passes_through_and_is_recorded() {
    let monitored = Monitored::new();
    let service =
        tower::service_fn(|_: Request<()>| async { Err::<Response<Script>, _>(io::Error::other("gone")) });
    let result = ready(monitored.layer.layer(service).call(get("/")));
    assert_eq!(result.err().unwrap().to_string(), "gone");
    let event = monitored.event();
    assert_eq!(event.tags["outcome"], "error");
    assert_eq!(event.level, Some(Level::Error));
}

#[test]
fn a_panic_of_the_handler_goes_on_and_is_recorded() {
    let monitored = Monitored::new();
    let service = tower::service_fn(|_: Request<()>| async {
        if true {
            panic!("on purpose");
        }
        Ok::<_, Infallible>(ok(Script::default()))
    });
    let unwound = catch_unwind(AssertUnwindSafe(|| ready(monitored.layer.layer(service).call(get("/")))));
    assert!(unwound.is_err());
    let event = monitored.event();
    assert_eq!(event.tags["outcome"], "panicked");
    assert_eq!(event.level, Some(Level::Error));
}

/// A runtime catches the panic first and drops the future later.
#[test]
fn a_panic_is_told_from_a_disconnect_after_it_was_caught() {
    let monitored = Monitored::new();
    let service = tower::service_fn(|_: Request<()>| async {
        if true {
            panic!("on purpose");
        }
        Ok::<_, Infallible>(ok(Script::default()))
    });
    let mut future = Box::pin(monitored.layer.layer(service).call(get("/")));
    assert!(catch_unwind(AssertUnwindSafe(|| poll(future.as_mut()))).is_err());
    drop(future);
    assert_eq!(monitored.event().tags["outcome"], "panicked");
}

#[test]
fn a_panic_while_the_service_is_called_is_recorded() {
    let monitored = Monitored::new();
    let service = tower::service_fn(|_: Request<()>| {
        if true {
            panic!("on purpose");
        }
        async { Ok::<_, Infallible>(ok(Script::default())) }
    });
    let mut service = monitored.layer.layer(service);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(service.call(get("/"))))).is_err());
    assert_eq!(monitored.event().tags["outcome"], "panicked");
}

#[test]
fn a_panic_of_the_body_is_recorded() {
    let monitored = Monitored::new();
    let mut body =
        monitored.answer(get("/"), |_| ok(Script::stream([Step::Data("ab"), Step::Panic]))).into_body();
    assert!(frame(&mut body).is_ready());
    assert!(catch_unwind(AssertUnwindSafe(|| frame(&mut body).is_ready())).is_err());
    drop(body);
    let event = monitored.event();
    assert_eq!(event.tags["outcome"], "panicked");
    assert_eq!(event.tags["status"], 200);
}

#[test]
fn an_upgrade_is_recorded_at_the_handshake() {
    let connect = Request::connect("example.com:443").body(()).unwrap();
    for (request, status) in [(get("/socket"), StatusCode::SWITCHING_PROTOCOLS), (connect, StatusCode::OK)] {
        let monitored = Monitored::new();
        let response = monitored.answer(request, |_| {
            Response::builder().status(status).body(Script::stream([Step::Pending])).unwrap()
        });
        assert_eq!(monitored.event().tags["outcome"], "upgraded");
        drop(response);
        assert_eq!(monitored.events(), [], "what is spoken afterwards is not the request");
    }
}

#[test]
fn frames_and_trailers_pass_unchanged() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let monitored = Monitored::new();
    let script = Script::buffered([Step::Data("abc"), Step::Trailers(trailers.clone())]);
    let mut body = monitored.answer(get("/"), |_| ok(script)).into_body();
    assert_eq!(body.size_hint().exact(), Some(3));
    let Poll::Ready(Some(Ok(data))) = frame(&mut body) else { panic!("data first") };
    assert_eq!(data.into_data().unwrap(), "abc");
    let Poll::Ready(Some(Ok(last))) = frame(&mut body) else { panic!("then trailers") };
    assert_eq!(last.into_trailers().unwrap(), trailers);
    assert_eq!(monitored.event().payload["response_body_bytes"], 3);
}

#[test]
fn requests_under_way_are_counted_until_they_end() {
    let monitored = Monitored::new();
    let active = || values(&monitored.captured().observations, "http_server_active_requests");
    let future = {
        let service = tower::service_fn(|_: Request<()>| pending::<Result<Response<Script>, Infallible>>());
        monitored.layer.layer(service).call(get("/"))
    };
    let body = monitored.answer(get("/"), |_| ok(Script::stream([Step::Data("a")]))).into_body();
    assert_eq!(active(), [2.0]);
    assert!(active().is_empty(), "told only when it changes");
    read(body);
    assert_eq!(active(), [1.0]);
    drop(future);
    assert_eq!(active(), [0.0]);
}

#[test]
fn a_full_queue_sheds_the_record_and_serves_the_request() {
    let recorder = monitoring_core::Recorder::with_capacity(1);
    let layer = monitoring_tower::MonitoringLayer::with_recorder(&recorder);
    for _ in 0..3 {
        let service =
            tower::service_fn(|_: Request<()>| async { Ok::<_, Infallible>(ok(Script::buffered([]))) });
        let Ok(response) = ready(pin!(layer.layer(service).call(get("/"))));
        assert_eq!(response.status(), 200);
    }
    assert_eq!(recorder.shed_total(monitoring_core::ShedReason::QueueFull), 2);
    assert_eq!(recorder.capture().events.len(), 1);
}
