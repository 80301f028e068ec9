//! What was recorded, as a sender would describe it.

use serde_json::{Map, Value};

/// Microseconds of a second and a minute.
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;

/// One event, as a sender would describe it.
#[derive(Clone, Debug)]
pub(crate) struct PlantedEvent {
    /// Since the beginning of the story.
    pub micros: i64,
    pub event_type: &'static str,
    pub source: String,
    pub message: String,
    pub level: &'static str,
    pub tags: Map<String, Value>,
    pub payload: Map<String, Value>,
}

/// One series.
#[allow(dead_code)] // not every test binary looks at series
#[derive(Clone, Debug)]
pub(crate) struct PlantedSeries {
    pub name: &'static str,
    pub labels: Vec<(&'static str, String)>,
    /// Whether values are increments.
    pub is_counter: bool,
    pub points: Vec<(i64, f64)>,
}

/// Everything that was recorded.
#[allow(dead_code)] // tests of the API open an incident when the story is at its end
#[derive(Clone, Debug, Default)]
pub(crate) struct Planted {
    pub events: Vec<PlantedEvent>,
    pub series: Vec<PlantedSeries>,
    /// Where what is looked at begins, when the incident was opened, and when somebody asks.
    pub looked_from: i64,
    pub opened: i64,
    pub asked: i64,
    /// When the fault began.
    pub onset: i64,
}

/// Requests a minute.
#[allow(dead_code)] // not every test binary plants all sizes
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    #[allow(dead_code)] // nor all of them
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    pub(super) fn requests_a_minute(self) -> f64 {
        match self {
            Self::Small => 20.0,
            Self::Medium => 60.0,
            Self::Large => 150.0,
        }
    }
}
