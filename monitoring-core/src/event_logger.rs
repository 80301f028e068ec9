//! A logger for one request: every event carries its request id and source.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use crate::error::Result;
use crate::ingest::Recorder;
use crate::model::{CreateEventRequest, EventType, Level, cut};
use crate::services;
use crate::store::AsConnection;

/// Characters kept of an error's details, which some errors have pages of.
const DETAILS_CHARS_MAX: usize = 10_000;

/// Logs on behalf of one request, so that request id and source are said once.
///
/// With `&mut conn` each call stores an event, inside the host's transaction if one is open. With
/// a [`Recorder`] nothing is waited for. Either way, what is too long is cut rather than refused:
/// an error worth logging is worth logging in part.
///
/// ```no_run
/// # async fn charge() -> Result<(), std::io::Error> { Ok(()) }
/// # async fn example(mut conn: impl monitoring_core::AsConnection, request_id: String) -> monitoring_core::Result<()> {
/// use std::collections::HashMap;
///
/// use monitoring_core::EventLogger;
///
/// let mut logger = EventLogger::new(&mut conn, request_id, "payment-service".to_string());
/// logger.log_info("payment started", HashMap::from([("amount".to_string(), 42.into())])).await?;
/// if let Err(error) = charge().await {
///     logger.log_error("payment failed", &error).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EventLogger<S> {
    sink: S,
    source: String,
    /// Tags of every event: the request, and the trace if it is known.
    context: HashMap<String, Value>,
}

impl<S: EventSink> EventLogger<S> {
    /// A logger into `sink`: `&mut` any connection the services take, or a [`Recorder`].
    pub fn new(sink: S, request_id: impl Into<String>, source: impl Into<String>) -> Self {
        let context = HashMap::from([("request_id".to_owned(), Value::from(request_id.into()))]);
        Self { sink, source: source.into(), context }
    }

    /// Makes every event part of a trace, at this span: what is logged is then found with the trace
    /// it belongs to. Both ids as in `traceparent`: 32 and 16 hexadecimal digits.
    #[must_use]
    pub fn with_trace(mut self, trace_id: impl fmt::Display, span_id: impl fmt::Display) -> Self {
        self.context.insert("trace_id".to_owned(), trace_id.to_string().into());
        self.context.insert("span_id".to_owned(), span_id.to_string().into());
        self
    }

    /// Logs that something happened.
    ///
    /// # Errors
    ///
    /// Storage failed. Never with a [`Recorder`].
    pub async fn log_info(&mut self, message: &str, tags: HashMap<String, Value>) -> Result<()> {
        self.log(EventType::Log, Level::Info, message, tags, HashMap::new()).await
    }

    /// Logs that something is not as it should be.
    ///
    /// # Errors
    ///
    /// As [`EventLogger::log_info`].
    pub async fn log_warn(&mut self, message: &str, tags: HashMap<String, Value>) -> Result<()> {
        self.log(EventType::Log, Level::Warn, message, tags, HashMap::new()).await
    }

    /// Stores an event of the type `alert` and the level `error` with what went wrong: its text as the tag
    /// `error_type`, all that is known of it as `error_details` in the payload. Nobody is notified of it,
    /// unless an alert rule counts such events.
    ///
    /// # Errors
    ///
    /// As [`EventLogger::log_info`].
    pub fn log_error<E>(&mut self, message: &str, error: &E) -> impl Future<Output = Result<()>> + Send
    where
        E: std::error::Error + ?Sized,
    {
        self.log_error_with(message, error, HashMap::new())
    }

    /// Like [`EventLogger::log_error`], with tags to find the event by.
    ///
    /// # Errors
    ///
    /// As [`EventLogger::log_info`].
    pub fn log_error_with<E>(
        &mut self,
        message: &str,
        error: &E,
        mut tags: HashMap<String, Value>,
    ) -> impl Future<Output = Result<()>> + Send + use<'_, S, E>
    where
        E: std::error::Error + ?Sized,
    {
        // Before anything is awaited, so that the error need not be shared between threads.
        tags.entry("error_type".to_owned()).or_insert_with(|| error.to_string().into());
        let payload = HashMap::from([(
            "error_details".to_owned(),
            Value::from(cut(&format!("{error:?}"), DETAILS_CHARS_MAX)),
        )]);
        self.log(EventType::Alert, Level::Error, message, tags, payload)
    }

    fn log(
        &mut self,
        event_type: EventType,
        level: Level,
        message: &str,
        tags: HashMap<String, Value>,
        payload: HashMap<String, Value>,
    ) -> impl Future<Output = Result<()>> + Send + use<'_, S> {
        let mut all_tags = self.context.clone();
        all_tags.extend(tags);
        self.sink.record(CreateEventRequest {
            event_type,
            source: self.source.clone(),
            message: Some(message.to_owned()),
            level: Some(level.to_string()),
            tags: all_tags,
            payload,
            timestamp: None,
        })
    }
}

/// Where an [`EventLogger`] logs to: `&mut` any connection the services take, or a [`Recorder`].
pub trait EventSink: sealed::Sealed + Send {
    /// Takes an event.
    #[doc(hidden)]
    fn record(&mut self, request: CreateEventRequest) -> impl Future<Output = Result<()>> + Send;
}

mod sealed {
    pub trait Sealed {}
}

impl<C: AsConnection> sealed::Sealed for &mut C {}
impl<C: AsConnection> EventSink for &mut C {
    async fn record(&mut self, request: CreateEventRequest) -> Result<()> {
        services::log_event(&mut **self, request).await
    }
}

impl sealed::Sealed for Recorder {}
impl EventSink for Recorder {
    async fn record(&mut self, request: CreateEventRequest) -> Result<()> {
        self.event(request);
        Ok(())
    }
}

impl sealed::Sealed for &Recorder {}
impl EventSink for &Recorder {
    async fn record(&mut self, request: CreateEventRequest) -> Result<()> {
        self.event(request);
        Ok(())
    }
}
