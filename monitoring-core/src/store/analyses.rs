//! What a store promises about analyses of incidents, and about what they are made of.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::StoreError;
use super::row::{Place, StoredRow};
use crate::model::{AlertTransition, Analysis, Event, Incident, IncidentId, Level, Page, Period, Slice};

/// An incident that an analysis may be due for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenIncident {
    pub id: IncidentId,
    /// When it was opened, or last opened again.
    pub opened_at: DateTime<Utc>,
    /// When an alert last joined it.
    pub joined_at: Option<DateTime<Utc>>,
    /// When the last analysis was made.
    pub analyzed_at: Option<DateTime<Utc>>,
}

/// What the events of one request have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tie {
    Trace,
    Request,
}

/// Of a message this much is read, in characters.
pub(super) const MESSAGE_CHARS_MAX: i32 = 500;
/// Tags of an event that take more, as they are stored, are not read.
pub(super) const TAG_BYTES_MAX: i32 = 8_192;

super::store_trait! {
    /// Analyses, and bounded reads of what they look at. Of events they bring what analyses look at: the
    /// beginning of a message, tags that are not huge, and of the payload how long it took. An event that
    /// cannot be read is left out, for it must not keep an incident from being explained.
    AnalysisStore {
        /// Adds an analysis.
        fn insert_analysis(analysis: &Analysis) -> ();

        /// Removes all analyses of an incident but the newest `keep`, and as many that said something new.
        fn trim_analyses(incident: IncidentId, keep: u32) -> ();

        /// Analyses of an incident, newest first.
        fn analyses(incident: IncidentId, page: &Page) -> Slice<Analysis>;

        /// Up to `limit` unresolved incidents, the last started first.
        fn open_incidents(limit: u32) -> Vec<OpenIncident>;

        /// When an incident that had been resolved or closed was last opened again.
        fn reopened_at(incident: IncidentId) -> Option<DateTime<Utc>>;

        /// When an alert last joined an incident.
        fn joined_at(incident: IncidentId) -> Option<DateTime<Utc>>;

        /// Up to `limit` incidents that started in a period, are over, and whose root cause is known, the last
        /// started first.
        fn explained_incidents(period: &Period, limit: u32) -> Vec<Incident>;

        /// What these incidents looked like when an analysis of this method last found anything.
        fn signatures(incidents: &[IncidentId], method: i64) -> Vec<(IncidentId, Vec<String>)>;

        /// Lets no statement of this transaction take longer, where the database can be told.
        fn limit_time(millis: u32) -> ();

        /// The first `limit` events of a period, in order of time; of one level if it is named, which
        /// must be `warn` or worse.
        fn first_events(period: &Period, level: Option<Level>, limit: u32) -> Vec<Event>;

        /// Up to `each_max` events of a period of each of these requests, request by request.
        fn events_of_requests(tie: Tie, ids: &[String], period: &Period, each_max: u32) -> Vec<Event>;

        /// Those of the first `sources_max` sources that have events in a period, but no more than
        /// `events_max`, and how many they have.
        fn quiet_sources(period: &Period, events_max: u32, sources_max: u32) -> Vec<(String, u32)>;

        /// The first `limit` events of these sources in a period, in order of time.
        fn events_of_sources(sources: &[String], period: &Period, limit: u32) -> Vec<Event>;

        /// Up to `limit` events of a period with one of these tags, the nearest to `near` first.
        fn tagged_events(
            tags: &[(String, String)],
            period: &Period,
            near: DateTime<Utc>,
            limit: u32,
        ) -> Vec<Event>;

        /// The first `limit` alerts that began to fire in a period, among its first `looked_at` changes.
        fn firings(period: &Period, looked_at: u32, limit: u32) -> Vec<AlertTransition>;
    }
}

/// Those that can be read.
pub(super) fn events<R: StoredRow>(rows: &[R]) -> Vec<Event> {
    rows.iter().filter_map(|row| event(row).ok()).collect()
}

fn event(row: &impl StoredRow) -> Result<Event, StoreError> {
    let id: Uuid = row.read("id")?;
    let place = Place { table: "events", row: id };
    let took: Option<Json<Value>> = row.read("duration_ms")?;
    let timestamp = place.time(row, "timestamp")?;
    Ok(Event {
        id: id.into(),
        event_type: place.name(row, "event_type")?,
        source: row.read("source")?,
        message: row.read("message")?,
        level: place.optional_name(row, "level")?,
        tags: place.json(row, "tags")?,
        payload: took.map(|Json(took)| ("duration_ms".to_owned(), took)).into_iter().collect(),
        request_id: row.read("request_id")?,
        trace_id: row.read("trace_id")?,
        span_id: row.read("span_id")?,
        timestamp,
        created_at: timestamp,
        created_by: None,
    })
}

pub(super) fn open_incident(row: &impl StoredRow) -> Result<OpenIncident, StoreError> {
    let id: Uuid = row.read("id")?;
    let place = Place { table: "incidents", row: id };
    let reopened_at = place.optional_time(row, "reopened_at")?;
    Ok(OpenIncident {
        id: id.into(),
        opened_at: reopened_at.map_or_else(|| place.time(row, "started_at"), Ok)?,
        joined_at: place.optional_time(row, "joined_at")?,
        analyzed_at: place.optional_time(row, "analyzed_at")?,
    })
}

pub(super) fn signature(row: &impl StoredRow) -> Result<(IncidentId, Vec<String>), StoreError> {
    let signature: Option<Json<Vec<String>>> = row.read("signature")?;
    Ok((row.read::<Uuid>("id")?.into(), signature.map(|Json(of)| of).unwrap_or_default()))
}

pub(super) fn analysis(row: &impl StoredRow) -> Result<Analysis, StoreError> {
    let id: Uuid = row.read("id")?;
    let place = Place { table: "incident_analyses", row: id };
    let at = |column| place.time(row, column);
    let onset: Option<Json<_>> = row.read("onset")?;
    Ok(Analysis {
        id: id.into(),
        incident_id: row.read::<Uuid>("incident_id")?.into(),
        made_at: at("made_at")?,
        made_by: row.read("made_by")?,
        method: row.read("method")?,
        is_news: row.read("is_news")?,
        window: Period { start: at("window_start")?, end: at("window_end")? },
        reference: Period { start: at("reference_start")?, end: at("reference_end")? },
        onset: onset.map(|Json(onset)| onset),
        findings: place.json(row, "findings")?,
        signature: place.json(row, "signature")?,
        cost: place.json(row, "cost")?,
    })
}
