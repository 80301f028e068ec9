//! What every use of a connection needs to know.

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::config::{Retention, Settings};
use crate::model::{CreateEventRequest, CreateMetricRequest, Event, IntoEventType, Invalid, Observation};
use crate::redact::Redactor;

/// Settings and what was compiled of them, shared by all connections of one `Monitoring`.
#[derive(Debug)]
pub(crate) struct Context {
    pub settings: Settings,
    pub redactor: Redactor,
}

impl Context {
    /// Checks and compiles `settings`.
    pub(crate) fn new(settings: Settings) -> Result<Self, Invalid> {
        settings.check()?;
        let redactor = Redactor::new(&settings.redaction)?;
        Ok(Self { settings, redactor })
    }

    /// Checks an event request and makes the event of it, without secrets.
    pub(crate) fn event<T: IntoEventType>(
        &self,
        request: CreateEventRequest<T>,
        created_by: Option<Uuid>,
    ) -> Result<Event, Invalid> {
        let Settings { clock, limits, .. } = &self.settings;
        let now = clock.now();
        let mut event = request.into_event(now, created_by, limits)?;
        self.check_time(&event, now)?;
        self.redactor.event(&mut event);
        Ok(event)
    }

    /// Refuses an event that is too old to be kept, or from too far ahead.
    pub(crate) fn check_time(&self, event: &Event, now: DateTime<Utc>) -> Result<(), Invalid> {
        Retention::check(self.settings.retention.events, event.timestamp, now)
    }

    /// Checks a metric request and makes the observation of it, without secrets in its labels.
    pub(crate) fn observation(&self, request: CreateMetricRequest) -> Result<Observation, Invalid> {
        let Settings { clock, limits, retention, buckets, .. } = &self.settings;
        let now = clock.now();
        let bounds = buckets.get(&request.name).cloned();
        let mut observation = request.into_observation(now, bounds, limits)?;
        Retention::check(retention.metrics, observation.timestamp, now)?;
        if let Some(redacted) = self.redactor.series(&observation.series) {
            observation.series = redacted;
        }
        Ok(observation)
    }

    /// The defaults, for those who belong to no system.
    pub(crate) fn shared_default() -> &'static Arc<Self> {
        static DEFAULT: LazyLock<Arc<Context>> = LazyLock::new(|| {
            Arc::new(Context::new(Settings::default()).expect("the default settings are valid"))
        });
        &DEFAULT
    }
}
