//! Writes the series of rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use chrono::{DateTime, Utc};

use crate::model::{Sample, SampleValue, Series, SeriesId};
use crate::random::random_u64;
use crate::store::metrics::{MetricStore as _, Novelty, registered};
use crate::store::{StoreError, Transaction};

/// Writes a value of each series at `time`, and returns which could not be, and why.
pub(super) async fn write(
    transaction: &mut Transaction<'_>,
    values: Vec<(Series, f64)>,
    time: DateTime<Utc>,
) -> Result<HashMap<SeriesId, String>, StoreError> {
    if values.is_empty() {
        return Ok(HashMap::new());
    }
    let settings = &transaction.connection().context().settings;
    let (limits, now) = (settings.limits.clone(), settings.clock.now());
    let values = values.into_iter().map(|(series, value)| {
        let (id, fitted) = (series.id, series.fitted(&limits).map(|(fitted, _)| fitted));
        (id, fitted.unwrap_or(series), value)
    });
    let values: Vec<_> = values.collect();
    let all = values.iter().map(|(_, series, _)| series);
    let mut registered = registered(&mut transaction.store(), all, &limits).await?;
    let (mut series, mut samples, mut refused) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
    for (id, one, value) in values {
        match registered.admit(&one) {
            Ok(()) => {
                // Of a marker and a value for the same series, the one that comes later counts.
                samples.insert(one.id, sample(one.id, time, value));
                series.insert(one.id, one);
            }
            Err(refusal) => drop(refused.insert(id, format!("{} {refusal}", one.name))),
        }
    }
    let (series, samples): (Vec<_>, Vec<_>) =
        (series.into_values().collect(), samples.into_values().collect());
    if !samples.is_empty() {
        transaction.store().record(&series, &samples, Novelty::MaybeRepeated, writer(), now).await?;
    }
    Ok(refused)
}

fn sample(series_id: SeriesId, timestamp: DateTime<Utc>, value: f64) -> Sample {
    // Origin zero: series and time alone say which sample it is.
    let value = SampleValue::Number(value);
    Sample { series_id, timestamp, origin: 0, value, observations: 1, exemplars: Vec::new() }
}

/// A writer of totals that nobody else is: its transactions are short.
fn writer() -> i64 {
    static WRITER: LazyLock<i64> = LazyLock::new(|| (random_u64() | 1).cast_signed());
    *WRITER
}
