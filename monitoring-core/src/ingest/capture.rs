//! What producers recorded, taken out of the queue by hand instead of by the pipeline.
//!
//! For tests and benchmarks of the layers: they see what would be stored without a database.

use std::sync::PoisonError;

use super::aggregate::{Measured, mend};
use super::deferred::Sink;
use super::{Anchor, Decoded, Record, Recorder};
use crate::model::{Event, Observation, Series};
use crate::store::Context;

/// Everything recorded since the last time somebody looked, in the order it was recorded.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Captured {
    /// The events, cut to the limits and redacted.
    pub events: Vec<Event>,
    /// The observations, not yet aggregated.
    pub observations: Vec<Observation>,
}

impl Recorder {
    /// Takes everything out of the queue and decodes it. What a running pipeline takes first is
    /// not seen here.
    #[doc(hidden)]
    #[must_use]
    pub fn capture(&self) -> Captured {
        let queue = &self.shared().queue;
        let context = self.context();
        let anchor = Anchor::now(context.settings.clock.now());
        let mut sink = Capture { context, captured: Captured::default() };
        let mut lanes = queue.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(record) = queue.pop() {
            match record {
                Record::Deferred(lane, record) => {
                    if let Some(decoder) = lanes.get_mut(usize::from(lane)) {
                        decoder.decode(&record, &mut Decoded::new(anchor, &mut sink));
                    }
                }
                Record::Event(event, _) => sink.captured.events.push(*event),
                Record::Observation(observation) => sink.captured.observations.push(*observation),
                Record::Early(early) => match early.into_record(context, &queue.counters) {
                    Some(Record::Event(event, _)) => sink.captured.events.push(*event),
                    Some(Record::Observation(observation)) => sink.captured.observations.push(*observation),
                    Some(Record::Deferred(..) | Record::Early(_)) | None => {}
                },
            }
        }
        for decoder in &mut *lanes {
            decoder.sample(&mut Decoded::new(anchor, &mut sink));
        }
        sink.captured
    }
}

struct Capture<'c> {
    context: &'c Context,
    captured: Captured,
}

impl Sink for Capture<'_> {
    fn event(&mut self, mut event: Event) {
        event.fit(&self.context.settings.limits);
        self.context.redactor.event(&mut event);
        self.captured.events.push(event);
    }

    fn observe(&mut self, series: &Series, Measured { value, time: timestamp, exemplar }: Measured<'_>) {
        let series = mend(series, self.context).0.into_owned();
        let exemplar = exemplar.map(|labels| self.context.redactor.exemplar(labels()));
        self.captured.observations.push(Observation { series, value, timestamp, exemplar });
    }
}
