//! What an analysis of an incident found: what changed, and where.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AnalysisId, EventId, IncidentId, Invalid};

/// What kind of thing a finding or a piece of evidence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// A kind of message that is new, surging or missing.
    Template,
    /// Tags that failing or slow requests have and others have not.
    Tags,
    /// Tags whose share of the traffic changed.
    Traffic,
    /// An operation that became slow or began to fail.
    Span,
    /// A metric series that shifted.
    Series,
    /// A deployment or a change of configuration.
    Change,
    /// An alert or an incident at the same time.
    Related,
    /// An earlier incident that looked the same.
    Past,
}

impl FindingKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Template,
        Self::Tags,
        Self::Traffic,
        Self::Span,
        Self::Series,
        Self::Change,
        Self::Related,
        Self::Past,
    ];

    /// The name as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Tags => "tags",
            Self::Traffic => "traffic",
            Self::Span => "span",
            Self::Series => "series",
            Self::Change => "change",
            Self::Related => "related",
            Self::Past => "past",
        }
    }
}

impl FindingKind {
    /// What changed, without saying which.
    const fn in_words(self) -> &'static str {
        match self {
            Self::Template => "a kind of message",
            Self::Tags => "how requests with certain tags go",
            Self::Traffic => "the traffic",
            Self::Span => "an operation",
            Self::Series => "a metric",
            Self::Change => "a deployment or the configuration",
            Self::Related => "another alert or incident",
            Self::Past => "something known from an earlier incident",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FindingKind {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| Invalid::field("kind", "unknown kind of finding"))
    }
}

/// From when to when; the end is not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Period {
    /// Included.
    pub start: DateTime<Utc>,
    /// Not included.
    pub end: DateTime<Utc>,
}

/// When it began, as the data show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Onset {
    /// The beginning of the first stretch of time that is different.
    pub time: DateTime<Utc>,
    /// How likely chance alone makes such a change somewhere.
    pub p_value: f64,
    /// What changed then, such as `failing requests`.
    pub signal: String,
}

/// One observation a finding rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Evidence {
    /// What it is about.
    pub kind: FindingKind,
    /// The template, tags, span, series or change.
    pub subject: String,
    /// The number before the onset.
    pub before: Option<f64>,
    /// The number since.
    pub after: Option<f64>,
    /// What the numbers count.
    pub unit: String,
    /// How likely chance alone makes such a difference, corrected for the number of comparisons.
    pub p_value: Option<f64>,
    /// When it began.
    pub onset: Option<DateTime<Utc>>,
    /// The tags or labels concerned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Some events that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventId>,
    /// The incident it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<IncidentId>,
}

/// One answer to "what changed, and where?".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Finding {
    /// What its strongest evidence is about.
    pub kind: FindingKind,
    /// How much it stands out, from 0 to 1. Findings are ranked by it.
    pub score: f64,
    /// How likely chance alone makes such a difference, corrected for the number of comparisons.
    pub p_value: Option<f64>,
    /// How large the difference is; for tags, the difference of shares.
    pub effect: Option<f64>,
    /// When it began.
    pub onset: Option<DateTime<Utc>>,
    /// The finding in one sentence.
    pub summary: String,
    /// What it rests on, the strongest first.
    pub evidence: Vec<Evidence>,
}

/// What an analysis read and took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct AnalysisCost {
    /// Events read.
    pub events: u64,
    /// Events there were, as far as could be told from those read.
    pub events_estimated: u64,
    /// Series read.
    pub series: u64,
    /// Statistical comparisons that were made.
    pub comparisons: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// What was sampled or left out.
    pub notes: Vec<String>,
}

/// What was found about an incident at some time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Analysis {
    /// Its id.
    pub id: AnalysisId,
    /// The incident.
    pub incident_id: IncidentId,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// Who asked for it; `None` if nobody did.
    pub made_by: Option<Uuid>,
    /// The version of the method.
    pub method: i64,
    /// Whether it says something else than the one before.
    pub is_news: bool,
    /// The time that is explained.
    pub window: Period,
    /// What it is compared with.
    pub reference: Period,
    /// When it began; `None` if no change was found.
    pub onset: Option<Onset>,
    /// What stands out, most important first; empty if nothing does.
    pub findings: Vec<Finding>,
    /// What the incident looks like, to recognize one like it.
    pub signature: Vec<String>,
    /// What it took.
    pub cost: AnalysisCost,
}

impl Analysis {
    /// What whoever may not read everybody's events may know of it: when it began, what kinds of
    /// things changed, and the metrics among them.
    #[must_use]
    pub fn without_events(mut self) -> Self {
        for finding in &mut self.findings {
            finding.evidence.retain(|evidence| evidence.kind == FindingKind::Series);
            finding.summary = match finding.evidence.first() {
                Some(series) if finding.kind == FindingKind::Series => format!("{} shifted.", series.subject),
                _ => format!("{} changed.", finding.kind.in_words()),
            };
        }
        self.signature.clear();
        self
    }

    /// The whole in one sentence.
    #[must_use]
    pub fn headline(&self) -> String {
        match self.findings.first() {
            Some(first) => first.summary.clone(),
            None => "nothing stands out".to_owned(),
        }
    }
}
