//! Lines of an archive: JSON, one for each event or sample, in an order that tells where each belongs.
//!
//! An event is written as the API shows it. A sample is written with its series:
//!
//! ```json
//! {"name":"orders_total","labels":{"shop":"a"},"metric_type":"counter","temporality":"delta",
//!  "timestamp":"2026-06-15T12:00:00Z","value":2.0,"observations":2,"series":"-81","origin":"7"}
//! ```
//!
//! What a sample counts in buckets is in `count`, `bounds` and `buckets`, and `value` is the sum then. A
//! number that JSON has no word for is a text: `NaN`, `+Inf`, `-Inf`, or `stale`, the marker of a series that
//! ended. Series and origins are texts, because some readers of JSON round large numbers.
//!
//! Packed samples that cannot be read stand in a file of their own: the series, `end_time`, and the bytes as
//! they are, in hexadecimal digits, as `data`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::{
    Event, EventId, Labels, MetricType, Sample, SampleValue, Series, SeriesId, Temporality, to_micros,
};
use crate::promql::is_present;
use crate::store::archive::ChunkKey;

/// A line and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub place: Place,
    pub json: String,
}

/// Where a line stands, and which one it is: no two that are in one place differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// By time and id.
    Event(i64, u128),
    /// By series, time and origin.
    Sample(i64, i64, i64),
    /// By series and end.
    Chunk(i64, i64),
}

impl Place {
    /// The place of a line that was read; `None` if it is no line of an archive.
    pub(super) fn read(line: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Read {
            Sample { series: String, timestamp: DateTime<Utc>, origin: String },
            Chunk { series: String, end_time: DateTime<Utc> },
            Event { id: EventId, timestamp: DateTime<Utc> },
        }
        Some(match serde_json::from_str(line).ok()? {
            Read::Event { id, timestamp } => Self::of_event(id, timestamp),
            Read::Sample { series, timestamp, origin } => {
                Self::Sample(series.parse().ok()?, to_micros(timestamp), origin.parse().ok()?)
            }
            Read::Chunk { series, end_time } => Self::Chunk(series.parse().ok()?, to_micros(end_time)),
        })
    }

    fn of_event(id: EventId, timestamp: DateTime<Utc>) -> Self {
        Self::Event(to_micros(timestamp), id.into_uuid().as_u128())
    }
}

/// Lines of events.
pub(crate) fn event_lines(events: &[Event]) -> Result<Vec<Line>, serde_json::Error> {
    let line = |event: &Event| {
        Ok(Line { place: Place::of_event(event.id, event.timestamp), json: serde_json::to_string(event)? })
    };
    events.iter().map(line).collect()
}

#[derive(Serialize)]
struct SampleLine<'s> {
    name: &'s str,
    labels: &'s Labels,
    metric_type: MetricType,
    temporality: Temporality,
    timestamp: DateTime<Utc>,
    value: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    bounds: &'s [f64],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    buckets: &'s [u64],
    observations: u64,
    series: String,
    origin: String,
}

/// Lines of samples, whose series are among these.
pub(crate) fn sample_lines(
    samples: &[Sample],
    series: &HashMap<SeriesId, Series>,
) -> Result<Vec<Line>, serde_json::Error> {
    let line = |sample: &Sample| sample_line(sample, known(series, sample.series_id)?);
    samples.iter().map(line).collect()
}

/// Lines of chunks that cannot be read, whose series are among these.
pub(crate) fn chunk_lines(
    chunks: &[(ChunkKey, Vec<u8>)],
    series: &HashMap<SeriesId, Series>,
) -> Result<Vec<Line>, serde_json::Error> {
    let line = |((id, end_time), data): &(ChunkKey, Vec<u8>)| {
        let of = known(series, *id)?;
        let data: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        let json = json!({
            "name": of.name,
            "labels": of.labels,
            "metric_type": of.metric_type,
            "temporality": of.temporality,
            "bounds": of.bounds,
            "series": id.as_i64().to_string(),
            "end_time": end_time,
            "data": data,
        });
        Ok(Line { place: Place::Chunk(id.as_i64(), to_micros(*end_time)), json: json.to_string() })
    };
    chunks.iter().map(line).collect()
}

fn known(series: &HashMap<SeriesId, Series>, id: SeriesId) -> Result<&Series, serde_json::Error> {
    let missing =
        || <serde_json::Error as serde::ser::Error>::custom(format_args!("no series {id} of a sample"));
    series.get(&id).ok_or_else(missing)
}

fn sample_line(sample: &Sample, series: &Series) -> Result<Line, serde_json::Error> {
    let (id, origin) = (sample.series_id.as_i64(), sample.origin);
    let (value, count, buckets) = match &sample.value {
        SampleValue::Number(number) => (*number, None, &[][..]),
        SampleValue::Distribution(of) => (of.sum, Some(of.count), &*of.buckets),
    };
    let json = serde_json::to_string(&SampleLine {
        name: &series.name,
        labels: &series.labels,
        metric_type: series.metric_type,
        temporality: series.temporality,
        timestamp: sample.timestamp,
        value: number(value),
        count,
        bounds: &series.bounds,
        buckets,
        observations: sample.observations,
        series: id.to_string(),
        origin: origin.to_string(),
    })?;
    Ok(Line { place: Place::Sample(id, to_micros(sample.timestamp), origin), json })
}

fn number(value: f64) -> Value {
    match value {
        value if value.is_finite() => json!(value),
        value if !is_present(value) => json!("stale"),
        value if value.is_nan() => json!("NaN"),
        value if value > 0.0 => json!("+Inf"),
        _ => json!("-Inf"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Distribution;
    use crate::promql::STALE;

    #[test]
    fn the_place_of_a_line_is_read_from_it() {
        let labels: Labels = [("shop", "a"), ("id", "7")].into_iter().collect();
        let bounds = vec![0.5];
        let histogram =
            Series::new("s".to_owned(), labels, MetricType::Histogram, Temporality::Delta, bounds);
        let sample = |micros, origin, value| Sample {
            series_id: histogram.id,
            timestamp: DateTime::from_timestamp_micros(micros).unwrap(),
            origin,
            value,
            observations: 1,
            exemplars: Vec::new(),
        };
        let distribution = Distribution { count: 3, sum: 1.5, buckets: vec![1, 2] };
        let samples = [
            sample(1, i64::MIN, SampleValue::Number(f64::NAN)),
            sample(2, i64::MAX, SampleValue::Number(STALE)),
            sample(1_700_000_000_123_456, 0, SampleValue::Distribution(distribution)),
        ];
        let series = [(histogram.id, histogram.clone())].into();
        let lines = sample_lines(&samples, &series).unwrap();
        for (line, sample) in lines.iter().zip(&samples) {
            assert_eq!(Place::read(&line.json), Some(line.place));
            let place = (histogram.id.as_i64(), to_micros(sample.timestamp), sample.origin);
            assert_eq!(line.place, Place::Sample(place.0, place.1, place.2));
        }
        let read: Vec<Value> = lines.iter().map(|line| serde_json::from_str(&line.json).unwrap()).collect();
        assert_eq!([&read[0]["value"], &read[1]["value"]], ["NaN", "stale"]);
        assert_eq!(read[2]["buckets"], json!([1, 2]));
        assert_eq!(read[2]["bounds"], json!([0.5]));
        assert_eq!(read[2]["labels"], json!({"shop": "a", "id": "7"}));
        let end = DateTime::from_timestamp_micros(7).unwrap();
        let chunk = &chunk_lines(&[((histogram.id, end), vec![1, 0xaf])], &series).unwrap()[0];
        assert_eq!(chunk.place, Place::Chunk(histogram.id.as_i64(), 7));
        assert_eq!(Place::read(&chunk.json), Some(chunk.place));
        assert!(chunk.json.contains(r#""data":"01af""#), "{}", chunk.json);
        assert_eq!(Place::read("{}"), None);
        assert!(sample_lines(&samples, &HashMap::new()).is_err());
    }
}
