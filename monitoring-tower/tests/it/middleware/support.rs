//! A body that follows a script, services that answer with it, and polling by hand.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use monitoring_core::{Captured, Event, Observation, Recorder};
use monitoring_tower::{MonitoringBody, MonitoringLayer};
use tower::{Layer, Service};

/// What a scripted body does when it is polled.
pub(crate) enum Step {
    Data(&'static str),
    Trailers(HeaderMap),
    Pending,
    Fail,
    Panic,
}

/// A body that does one step per poll, of a type no framework knows.
#[derive(Default)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    /// Whether it knows its length and its end, as a buffered body does and a stream does not.
    pub(crate) buffered: bool,
}

impl Script {
    pub(crate) fn stream(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), buffered: false }
    }

    pub(crate) fn buffered(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { buffered: true, ..Self::stream(steps) }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.steps.pop_front() {
            Some(Step::Data(text)) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))),
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Fail) => Poll::Ready(Some(Err(io::Error::other("on purpose")))),
            Some(Step::Panic) => panic!("on purpose"),
            Some(Step::Pending) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.buffered && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let bytes = |step: &Step| if let Step::Data(text) = step { text.len() as u64 } else { 0 };
        if self.buffered {
            SizeHint::with_exact(self.steps.iter().map(bytes).sum())
        } else {
            SizeHint::default()
        }
    }
}

pub(crate) fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that never has to wait.
pub(crate) fn ready<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future should have been ready"),
    }
}

pub(crate) type PolledFrame<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

/// Polls the body once.
pub(crate) fn frame<B: Body + Unpin>(body: &mut B) -> PolledFrame<B> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// Reads a body to its end.
pub(crate) fn read<B: Body + Unpin>(mut body: B) {
    while let Poll::Ready(Some(Ok(_))) = frame(&mut body) {}
}

/// Recorder and layer, with what they recorded.
pub(crate) struct Monitored {
    pub(crate) recorder: Recorder,
    pub(crate) layer: MonitoringLayer,
}

impl Monitored {
    pub(crate) fn new() -> Self {
        Self::with(|layer| layer)
    }

    pub(crate) fn with(configure: impl FnOnce(MonitoringLayer) -> MonitoringLayer) -> Self {
        let recorder = Recorder::detached();
        let layer = configure(MonitoringLayer::with_recorder(&recorder));
        Self { recorder, layer }
    }

    /// Sends one request through the layer to a service that answers at once.
    pub(crate) fn answer(
        &self,
        request: Request<()>,
        response: impl FnOnce(Request<()>) -> Response<Script>,
    ) -> Response<MonitoringBody<Script>> {
        let mut response = Some(response);
        let service = tower::service_fn(|request| {
            let response = response.take().expect("one request per service")(request);
            async { Ok::<_, Infallible>(response) }
        });
        let Ok(response) = ready(self.layer.layer(service).call(request));
        response
    }

    /// One request from arrival to its last byte.
    pub(crate) fn serve(&self, request: Request<()>, response: Response<Script>) {
        read(self.answer(request, |_| response).into_body());
    }

    pub(crate) fn captured(&self) -> Captured {
        self.recorder.capture()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.captured().events
    }

    /// The one event there is.
    pub(crate) fn event(&self) -> Event {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:#?}");
        events.remove(0)
    }
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(path).body(()).unwrap()
}

pub(crate) fn ok(body: Script) -> Response<Script> {
    Response::new(body)
}

/// The observations of a metric, each as its value.
pub(crate) fn values(observations: &[Observation], name: &str) -> Vec<f64> {
    observations.iter().filter(|o| o.series.name == name).map(|o| o.value).collect()
}
