//! Samples that somebody wants gone: measured wrongly, or not to be kept.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::record_audit;
use crate::error::{Error, Result};
use crate::model::{Invalid, Series};
use crate::query::{Selector, registered_series};
use crate::store::exemplars::ExemplarStore as _;
use crate::store::removal::{RemovalStore as _, Span};
use crate::store::{AsConnection, Connection};

/// Samples removed in one transaction. Few, because SQLite's other writers wait meanwhile.
const SAMPLES_MAX: u32 = 2_000;
/// Exemplars, likewise.
const EXEMPLARS_MAX: u32 = 2_000;
/// Series looked at in one transaction.
const SERIES_MAX: usize = 100;
/// Nothing is stored so far from 1970, and both databases know the time.
const FURTHEST: TimeDelta = TimeDelta::days(365_250);

/// Which samples are to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SeriesDeletion {
    /// Those of the series that any of these selectors finds.
    pub selectors: Vec<String>,
    /// From this time on; from the first on, if absent.
    pub start: Option<DateTime<Utc>>,
    /// Up to this time, included; up to the last, if absent.
    pub end: Option<DateTime<Utc>>,
}

/// What the audit log keeps of a deletion.
#[derive(Serialize)]
struct Ordered<'d> {
    #[serde(flatten)]
    deletion: &'d SeriesDeletion,
    /// How many stored series that means.
    series: usize,
}

/// Removes samples, and series of which nothing is left, for good; returns how many samples that
/// were.
///
/// An increment of a counter or a measurement of a distribution that is removed counts as never
/// made, so later totals are smaller: whoever scrapes them sees a counter that starts anew. What
/// retention dropped long ago stays in the totals, unless the whole past of the series is removed
/// and nothing comes after it. All of a distribution is removed, whichever of its buckets, count and
/// sum a selector finds: they are one. Exemplars of the span go with the samples; they are not counted.
///
/// The work is done in many small transactions, the first of which holds the entry of the audit log;
/// what was removed before a failure stays removed. On a connection with a transaction of the host's
/// open it is all part of that, and others who remove anything wait for its end.
///
/// ```
/// # async fn example(monitoring: &monitoring_core::Monitoring, admin: uuid::Uuid) -> monitoring_core::Result<()> {
/// use monitoring_core::services::{self, SeriesDeletion};
///
/// let selectors = vec![r#"orders_total{shop="test"}"#.to_owned()];
/// let deletion = SeriesDeletion { selectors, ..SeriesDeletion::default() };
/// let mut conn = monitoring.acquire().await?;
/// let samples = services::delete_series(&mut conn, &deletion, Some(admin)).await?;
/// # let _ = samples;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Invalid`] if there is no selector, or a text is none. Storage failed.
pub async fn delete_series(
    conn: &mut impl AsConnection,
    deletion: &SeriesDeletion,
    actor: Option<Uuid>,
) -> Result<u64> {
    delete(&mut conn.as_connection(), deletion, actor).await
}

async fn delete(
    connection: &mut Connection<'_>,
    deletion: &SeriesDeletion,
    actor: Option<Uuid>,
) -> Result<u64> {
    let selectors = selectors(deletion)?;
    let series = registered_series(connection, &selectors).await?;
    let span = span(deletion);
    let ordered = Ordered { deletion, series: series.len() };
    let mut left = &*series;
    let mut deleted = delete_some(connection, &mut left, &span, Some((actor, &ordered))).await?;
    while !left.is_empty() {
        deleted += delete_some(connection, &mut left, &span, None).await?;
    }
    Ok(deleted)
}

/// One transaction's worth. Series are taken in the order of their ids, as whoever adds to their
/// totals does, so that neither waits for the other in a circle.
async fn delete_some(
    connection: &mut Connection<'_>,
    left: &mut &[Arc<Series>],
    span: &Span,
    ordered: Option<(Option<Uuid>, &Ordered<'_>)>,
) -> Result<u64> {
    let now = connection.context().settings.clock.now();
    let (mut deleted, mut rest) = (0, *left);
    let mut transaction = connection.begin().await?;
    transaction.store().begin_removal().await?;
    if let Some((actor, ordered)) = ordered {
        let states = (None::<()>, ordered);
        record_audit(&mut transaction.connection(), actor, "metrics.delete_series", "metrics", states)
            .await?;
    }
    let mut exemplars = 0;
    for series in left.iter().take(SERIES_MAX) {
        // First, for a series whose samples are gone is not looked at again.
        exemplars += transaction.store().delete_exemplars(series.id, span, EXEMPLARS_MAX - exemplars).await?;
        if exemplars == EXEMPLARS_MAX {
            break;
        }
        let done = transaction.store().delete_samples(series, span, SAMPLES_MAX - deleted, now).await?;
        deleted += done.samples;
        if !done.is_finished {
            break;
        }
        rest = &rest[1..];
        if deleted == SAMPLES_MAX {
            break;
        }
    }
    transaction.commit().await?;
    *left = rest;
    Ok(u64::from(deleted))
}

fn selectors(deletion: &SeriesDeletion) -> Result<Vec<Selector>> {
    let mut invalid = Invalid::default();
    if deletion.selectors.is_empty() {
        invalid.push("selectors", "must name at least one selector");
    }
    let mut selectors = Vec::new();
    for (n, text) in deletion.selectors.iter().enumerate() {
        match text.parse() {
            Ok(selector) => selectors.push(selector),
            Err(error) => invalid.push(format!("selectors.{n}"), format!("{error}")),
        }
    }
    invalid.or(selectors).map_err(Error::from)
}

fn span(deletion: &SeriesDeletion) -> Span {
    let (first, last) = (DateTime::UNIX_EPOCH - FURTHEST, DateTime::UNIX_EPOCH + FURTHEST);
    let known = |time: DateTime<Utc>| time.clamp(first, last);
    let from = deletion.start.map_or(first, known);
    // Samples are shown by the millisecond, so the whole of the last one is meant.
    let before = deletion.end.map_or(last, |end| known(end) + TimeDelta::milliseconds(1));
    Span { from, before, is_whole_past: from == first }
}

/// What Prometheus calls by this name: there, deleted samples are only hidden at first. Here they
/// are gone at once, so it is noted in the audit log that somebody asked, and that is all.
///
/// # Errors
///
/// Storage failed.
pub async fn clean_tombstones(conn: &mut impl AsConnection, actor: Option<Uuid>) -> Result<()> {
    let mut connection = conn.as_connection();
    let states = (None::<()>, None::<()>);
    record_audit(&mut connection, actor, "metrics.clean_tombstones", "metrics", states).await
}
