//! What a store promises about analyses of incidents, and about what they are made of.

use chrono::{DateTime, Utc};

use crate::model::{Analysis, Event, IncidentId, Level, Page, Period, Slice};

/// An incident that an analysis may be due for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenIncident {
    pub id: IncidentId,
    pub started_at: DateTime<Utc>,
    /// When the last analysis was made.
    pub analyzed_at: Option<DateTime<Utc>>,
}

super::store_trait! {
    /// Analyses, and bounded reads of what they look at. Nothing here walks over more rows than it
    /// returns.
    AnalysisStore {
        /// Adds an analysis.
        fn insert_analysis(analysis: &Analysis) -> ();

        /// Removes all analyses of an incident but the newest `keep`.
        fn trim_analyses(incident: IncidentId, keep: u32) -> ();

        /// Analyses of an incident, newest first.
        fn analyses(incident: IncidentId, page: &Page) -> Slice<Analysis>;

        /// Up to `limit` unresolved incidents that started at or after `since`, the last started
        /// first.
        fn open_incidents(since: DateTime<Utc>, limit: u32) -> Vec<OpenIncident>;

        /// What incidents that started in a period looked like when they were last analyzed: up to
        /// `limit`, the last started first.
        fn signatures(period: &Period, limit: u32) -> Vec<(IncidentId, Vec<String>)>;

        /// The first `limit` events of a period, in order of time; of one level if it is named, which
        /// must be `warn` or worse.
        fn first_events(period: &Period, level: Option<Level>, limit: u32) -> Vec<Event>;

        /// Up to `limit` events of a period that belong to these traces.
        fn events_of_traces(traces: &[String], period: &Period, limit: u32) -> Vec<Event>;
    }
}
