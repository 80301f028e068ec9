//! Events and timelines as an aligned list.

use serde_json::Value;

use super::DemoError;
use super::print::{Screen, Tone, WIDTH, wrap};
use super::traffic::text;

const INDENT_CHARS: usize = 2;
const GAP: &str = "  ";
/// Tags worth a line of their own below the message.
const TELLING: [&str; 3] = ["error", "error_type", "code"];

/// One line of the list, with what is noted below it.
#[derive(Debug)]
pub(super) struct Row {
    time: String,
    kind: String,
    level: String,
    source: String,
    what: String,
    notes: Vec<String>,
}

impl Row {
    /// An event of `GET /events`.
    pub(super) fn event(event: &Value) -> Self {
        let mut row = Self::new(event, &text(&event["event_type"]), &event["tags"]);
        let duration =
            [&event["tags"], &event["payload"]].into_iter().find_map(|map| map["duration_ms"].as_f64());
        if let Some(milliseconds) = duration {
            row.what = format!("{}, {milliseconds:.0} ms", row.what);
        }
        row
    }

    /// An entry of an incident's timeline.
    pub(super) fn timeline(entry: &Value) -> Self {
        let kind = match entry["kind"].as_str() {
            Some("status_change") => "status",
            Some("notification") => "page",
            Some("acknowledgement") => "seen",
            other => other.unwrap_or_default(),
        };
        let mut row = Self::new(entry, kind, &entry["details"]);
        if entry["attached"] == true {
            row.what.push_str(" (attached)");
        }
        row
    }

    fn new(json: &Value, kind: &str, tags: &Value) -> Self {
        let notes = TELLING.iter().filter_map(|key| Some(format!("{key}: {}", tags[*key].as_str()?)));
        Self {
            time: time(&json["timestamp"]),
            kind: kind.to_owned(),
            level: text(&json["level"]),
            source: text(&json["source"]),
            what: text(&json["message"]),
            notes: notes.collect(),
        }
    }

    /// Without what is noted below.
    pub(super) fn brief(mut self) -> Self {
        self.notes.clear();
        self
    }
}

/// Prints rows under one another.
pub(super) fn print(screen: &mut Screen, rows: &[Row]) -> Result<(), DemoError> {
    let widest =
        |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let (time, kind) = (widest(|row| &row.time), widest(|row| &row.kind));
    let (level, source) = (widest(|row| &row.level), widest(|row| &row.source));
    let before = time + kind + level + source + 4 * GAP.len();
    let left = WIDTH.saturating_sub(INDENT_CHARS + before);
    for row in rows {
        let tone = Tone::of_level(&row.level);
        let mut what = wrap(&row.what, left).into_iter();
        screen.line(&[
            (&format!("{:time$}{GAP}{:kind$}{GAP}", row.time, row.kind), Tone::Faint),
            (&format!("{:level$}{GAP}", row.level), tone),
            (&format!("{:source$}{GAP}", row.source), Tone::Plain),
            (&what.next().unwrap_or_default(), tone),
        ])?;
        for more in what {
            screen.line(&[(&format!("{:before$}{more}", ""), tone)])?;
        }
        // Under the source, where there is more room.
        let (before, left) = (before - source - GAP.len(), left + source + GAP.len());
        for note in row.notes.iter().flat_map(|note| wrap(note, left)) {
            screen.line(&[(&format!("{:before$}{note}", ""), Tone::Faint)])?;
        }
    }
    Ok(())
}

/// The time of day, to the millisecond, of a date in JSON.
fn time(timestamp: &Value) -> String {
    let date = timestamp.as_str().and_then(|text| text.parse::<chrono::DateTime<chrono::Utc>>().ok());
    date.map_or_else(String::new, |date| date.format("%H:%M:%S%.3f").to_string())
}
