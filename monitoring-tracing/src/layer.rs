//! The callbacks: they copy what is told into a record and push it. Everything else happens later,
//! on the collector.
//!
//! No lock is held while a value is formatted: its `Debug` may use the same span.

use std::fmt;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use monitoring_core::{Deferred, FieldBytes, Lane, Recorder, Ticks};
use tracing_core::{Event, Subscriber, span};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{Filtered, Targets};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::callsites::Callsites;
use crate::convert::Converter;
use crate::fields::{FieldWriter, SpanFieldWriter};
use crate::filter::{Kind, RecordFilter};
use crate::span_data::{Inherited, SpanData};
use crate::thread::{self, Recording};
use crate::wire;

/// The layer as it is installed: what its filter leaves out, other layers still see, and a callsite
/// that no layer wants costs nothing.
pub type FilteredLayer<S> = Filtered<RecorderLayer, RecordFilter, S>;

/// Records events and closed spans. Install one per subscriber.
pub struct RecorderLayer {
    id: u32,
    lane: Lane,
    callsites: Arc<Callsites>,
}

impl RecorderLayer {
    /// Starts with the defaults: `INFO` and worse, the crate's name as source.
    pub fn builder(recorder: &Recorder) -> LayerBuilder<'_> {
        LayerBuilder { recorder, source: None, filter: RecordFilter::default() }
    }

    fn new(recorder: &Recorder, source: Option<String>) -> Self {
        static NEXT_ID: AtomicU32 = AtomicU32::new(0);
        let callsites = Arc::new(Callsites::new(recorder));
        let lane = recorder.lane(Converter::new(callsites.clone(), source));
        Self { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), lane, callsites }
    }

    /// Uses the data of a span, if this layer keeps any.
    #[inline]
    fn with_data<S, T>(&self, span: &SpanRef<'_, S>, used: impl FnOnce(&SpanData) -> T) -> Option<T>
    where
        S: for<'lookup> LookupSpan<'lookup>,
    {
        span.extensions().get::<SpanData>().filter(|data| data.layer == self.id).map(used)
    }

    /// What a new span takes over.
    #[inline]
    fn inherited<S>(&self, span: &SpanRef<'_, S>) -> Option<Inherited>
    where
        S: for<'lookup> LookupSpan<'lookup>,
    {
        let mut around = span.parent();
        while let Some(span) = around {
            let inherited = self.with_data(&span, SpanData::inherited);
            if inherited.is_some() {
                return inherited;
            }
            around = span.parent();
        }
        None
    }

    /// Adds the fields of the span and of those around it. False if the pipeline works there.
    #[inline]
    fn add_scope<S>(&self, innermost: SpanRef<'_, S>, add_ids: bool, fields: &mut FieldBytes) -> bool
    where
        S: for<'lookup> LookupSpan<'lookup>,
    {
        let mut add_ids = add_ids;
        // Not `scope()`, which looks the innermost span up a second time.
        for span in iter::successors(Some(innermost), SpanRef::parent) {
            let is_pipeline = self.with_data(&span, |data| {
                if std::mem::take(&mut add_ids) {
                    fields.push(&data.ids.to_bytes());
                }
                // What does not fit is left out, item by item.
                if fields.push(&wire::span_head(data.callsite)) {
                    fields.push(data.record.fields.as_slice());
                }
                data.is_pipeline()
            });
            if is_pipeline == Some(true) {
                return false;
            }
        }
        true
    }
}

impl<S> Layer<S> for RecorderLayer
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(_recording) = Recording::begin() else { return };
        let Some(span) = context.span(id) else { return };
        let Some(callsite) = self.callsites.of(attributes.metadata()) else { return };
        let mut data = SpanData::new(self.id, callsite);
        let mut writer = SpanFieldWriter::new(&mut data.record.fields, callsite);
        attributes.record(&mut writer);
        let own = writer.ids;
        data.take_place(own, self.inherited(&span));
        span.extensions_mut().replace(data);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(_recording) = Recording::begin() else { return };
        let Some(span) = context.span(id) else { return };
        let Some(callsite) = self.callsites.of(span.metadata()) else { return };
        let mut fields = FieldBytes::new();
        let mut writer = SpanFieldWriter::new(&mut fields, callsite);
        values.record(&mut writer);
        let own = writer.ids;
        if let Some(data) = span.extensions_mut().get_mut::<SpanData>()
            && data.layer == self.id
        {
            data.update(own, &fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(_recording) = Recording::begin() else { return };
        let metadata = event.metadata();
        let Some(callsite) = self.callsites.of(metadata) else { return };
        if callsite.kind == Kind::Ours {
            return;
        }
        let mut record = Deferred::at(Ticks::now(), Some(metadata));
        event.record(&mut FieldWriter::event(&mut record.fields, callsite));
        if let Some(innermost) = context.event_span(event)
            && !self.add_scope(innermost, true, &mut record.fields)
        {
            return;
        }
        self.lane.push(&mut record);
    }

    fn on_enter(&self, id: &span::Id, _: Context<'_, S>) {
        thread::enter(self.id, id);
    }

    fn on_exit(&self, id: &span::Id, context: Context<'_, S>) {
        if let Some(nanos) = thread::exit(self.id, id)
            && let Some(span) = context.span(id)
        {
            self.with_data(&span, |data| data.add_busy(nanos));
        }
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        // No other span's data is behind this lock, so theirs can be read meanwhile.
        let mut extensions = span.extensions_mut();
        let Some(data) = extensions.get_mut::<SpanData>() else { return };
        if data.layer != self.id || data.kind != Kind::Host {
            return;
        }
        let (closed, ids) = (data.closed(), data.ids);
        let record = &mut data.record;
        record.fields.push(&closed.to_bytes());
        record.fields.push(&ids.to_bytes());
        if let Some(parent) = span.parent() {
            self.add_scope(parent, false, &mut record.fields);
        }
        record.end = Ticks::now();
        self.lane.push(record);
    }
}

impl fmt::Debug for RecorderLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderLayer").field("lane", &self.lane).finish_non_exhaustive()
    }
}

/// Chooses what is recorded and under which name.
///
/// ```
/// use monitoring_core::Recorder;
/// use monitoring_tracing::RecorderLayer;
/// use tracing_subscriber::filter::Targets;
/// use tracing_subscriber::prelude::*;
///
/// let recorder = Recorder::detached();
/// let targets: Targets = "info,hyper=warn,shop=debug".parse()?;
/// let layer = RecorderLayer::builder(&recorder).source("shop-api").filter(targets).build();
/// let subscriber = tracing_subscriber::registry().with(layer);
/// # let _ = subscriber;
/// # Ok::<(), tracing_subscriber::filter::ParseError>(())
/// ```
///
/// To decide by another kind of filter, let everything through here and put that filter on top:
/// `.filter(Targets::new().with_default(LevelFilter::TRACE)).build().with_filter(other)`; see
/// [`RecordFilter`] for what `other` must let pass.
#[derive(Clone, Debug)]
#[must_use]
pub struct LayerBuilder<'r> {
    recorder: &'r Recorder,
    source: Option<String>,
    filter: RecordFilter,
}

impl LayerBuilder<'_> {
    /// The service's name, the source of all its events. Without it, the source is the first
    /// segment of each event's target: the name of a crate. A blank name counts as none.
    pub fn source(mut self, name: impl Into<String>) -> Self {
        self.source = Some(name.into()).filter(|name| !name.trim().is_empty());
        self
    }

    /// The levels and targets to record; `INFO` and worse of every target by default.
    pub fn filter(mut self, targets: Targets) -> Self {
        self.filter = RecordFilter::new(targets);
        self
    }

    /// The layer, ready to be installed.
    #[must_use]
    pub fn build<S>(self) -> FilteredLayer<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        RecorderLayer::new(self.recorder, self.source).with_filter(self.filter)
    }
}
