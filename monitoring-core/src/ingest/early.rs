//! What is recorded before there is a pipeline: kept as it was said, because only the settings of
//! the pipeline say what is secret, how long things may be and which buckets a histogram has.
//!
//! So it waits with its secrets, in memory and nowhere else: like the bytes of a lane, it is redacted
//! by the collector on the way to the buffer, and until then nothing can print it.

use super::{Counters, Record, ShedReason};
use crate::model::{
    CreateEventRequest, CreateMetricRequest, Exemplar, IntoEventType, Invalid, Labels, Observation,
};
use crate::store::Context;

/// A request that waits for settings. Not `Debug`: it holds what it was given, secrets too.
pub(crate) enum Early {
    Event(CreateEventRequest),
    Metric(CreateMetricRequest, Option<Labels>),
}

impl Early {
    /// Keeps an event, dated now if it has no date.
    pub(super) fn event<T: IntoEventType>(request: CreateEventRequest<T>) -> Result<Self, Invalid> {
        let CreateEventRequest { event_type, source, message, level, tags, payload, timestamp } = request;
        let event_type = event_type.into_event_type()?;
        let timestamp = timestamp.or_else(|| Some(now()));
        let request = CreateEventRequest { event_type, source, message, level, tags, payload, timestamp };
        Ok(Self::Event(request))
    }

    /// Keeps an observation, dated now if it has no date.
    pub(super) fn metric(request: CreateMetricRequest, exemplar: Option<Labels>) -> Self {
        let timestamp = request.timestamp.or_else(|| Some(now()));
        Self::Metric(CreateMetricRequest { timestamp, ..request }, exemplar)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Event(request) => request.approximate_bytes(),
            Self::Metric(request, exemplar) => {
                request.approximate_bytes() + exemplar.as_ref().map_or(0, |_| Exemplar::BYTES)
            }
        }
    }

    /// What it is by these settings; counted as shed if it is nothing.
    pub(super) fn into_record(self, context: &Context, counters: &Counters) -> Option<Record> {
        match self {
            Self::Event(request) => event_record(request, context, counters),
            Self::Metric(request, exemplar) => observation_record(request, exemplar, context, counters),
        }
    }
}

fn now() -> chrono::DateTime<chrono::Utc> {
    Context::shared_default().settings.clock.now()
}

/// An event as it is queued: cut to the limits, without secrets.
pub(super) fn event_record<T: IntoEventType>(
    request: CreateEventRequest<T>,
    context: &Context,
    counters: &Counters,
) -> Option<Record> {
    let settings = &context.settings;
    let now = settings.clock.now();
    let made = request.into_event_leniently(now, &settings.limits);
    let checked =
        made.and_then(|(event, was_cut)| context.check_time(&event, now).map(|()| (event, was_cut)));
    let Ok((mut event, was_cut)) = checked else {
        counters.shed(ShedReason::Invalid, 1);
        return None;
    };
    if was_cut {
        counters.truncated();
    }
    context.redactor.event(&mut event);
    let bytes = event.approximate_bytes();
    Some(Record::Event(Box::new(event), bytes))
}

/// An observation as it is queued.
pub(super) fn observation_record(
    request: CreateMetricRequest,
    exemplar: Option<Labels>,
    context: &Context,
    counters: &Counters,
) -> Option<Record> {
    let made = context.observation(request);
    if made.is_err() {
        counters.shed(ShedReason::Invalid, 1);
    }
    made.ok().map(|observation| Record::Observation(Box::new(Observation { exemplar, ..observation })))
}
