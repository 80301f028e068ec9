//! Where a live stream of events stands.
//!
//! A position must survive the stream: a client that was cut off hands it in, perhaps to another
//! replica, and misses nothing and sees nothing twice. A time cannot be one, because events become
//! visible late: when their transaction commits. SQLite has one writer and numbers arrivals.
//! PostgreSQL says in a few bytes which transactions it has seen the end of, and each event names
//! the one it came with.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Event, Invalid, from_micros, to_micros};

/// How far a live stream of events has come, in the order in which events arrived in the database,
/// whichever replica sent them. Its text can be kept, and read back by any replica.
///
/// ```no_run
/// # async fn example(conn: &mut impl monitoring_core::AsConnection) -> monitoring_core::Result<()> {
/// use monitoring_core::{EventFilter, StreamPosition, services};
///
/// let kept = services::event_position(conn).await?.to_string();
/// // … later, after a restart …
/// let kept: StreamPosition = kept.parse()?;
/// let mut position = match services::resume_events(conn, &kept).await? {
///     Some(position) => position,
///     None => services::event_position(conn).await?, // too long ago
/// };
/// for arrival in services::follow_events(conn, &mut position, &EventFilter::default(), 100).await? {
///     println!("{}", arrival.event.id);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    pub(crate) place: Place,
}

/// An event on a live stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Arrival {
    /// The event.
    pub event: Event,
    /// Where the stream stands after it.
    pub position: StreamPosition,
}

/// What a position is to the database at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Numbered(Numbered),
    Witnessed(Witnessed),
}

/// Where arrivals are numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    /// The last number passed.
    pub sequence: i64,
    /// When it was passed, or when what it numbers was made.
    pub time: DateTime<Utc>,
}

/// Where transactions end in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Witnessed {
    /// What this saw has been passed.
    pub before: Snapshot,
    /// What was created before this has been seen or given up on.
    pub settled: DateTime<Utc>,
    /// What is being passed at the moment.
    pub page: Option<OpenPage>,
}

/// What has become visible since, in the order of creation, up to the last event passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenPage {
    pub snapshot: Snapshot,
    pub taken_at: DateTime<Utc>,
    pub last: Option<(DateTime<Utc>, Uuid)>,
}

/// Which transactions had ended at one moment, as PostgreSQL writes it: `xmin:xmax:running,…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(Arc<str>);

#[cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    allow(dead_code, reason = "each database uses its half")
)]
impl StreamPosition {
    /// How long an event may take from its creation to being visible to others, differences
    /// between the replicas' clocks included. What takes longer is not streamed.
    const ARRIVAL_MAX: TimeDelta = TimeDelta::seconds(10);
    /// How long a position is good for: whoever was away for longer would be shown too much.
    const AGE_MAX: TimeDelta = TimeDelta::hours(1);

    /// After so many arrivals.
    pub(crate) fn numbered(sequence: i64, time: DateTime<Utc>) -> Self {
        Self { place: Place::Numbered(Numbered { sequence, time }) }
    }

    /// At a moment: everything that was not visible then is yet to come.
    pub(crate) fn at(snapshot: Snapshot, now: DateTime<Utc>) -> Self {
        Witnessed { before: snapshot, settled: now - Self::ARRIVAL_MAX, page: None }.into()
    }

    /// Whether it is too old to go on from.
    pub(crate) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        let time = match &self.place {
            Place::Numbered(numbered) => numbered.time,
            Place::Witnessed(witnessed) => witnessed.settled,
        };
        time < now - Self::AGE_MAX
    }

    /// The newest snapshot it knows, if it is made of snapshots.
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        let Place::Witnessed(Witnessed { before, page, .. }) = &self.place else { return None };
        Some(page.as_ref().map_or(before, |page| &page.snapshot))
    }
}

#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "PostgreSQL's half"))]
impl Witnessed {
    /// After an event of a page.
    pub(crate) fn after(&self, page: &OpenPage, event: &Event) -> StreamPosition {
        let last = Some((event.created_at, event.id.into_uuid()));
        Self { page: Some(OpenPage { last, ..page.clone() }), ..self.clone() }.into()
    }

    /// At the end of a page.
    pub(crate) fn behind(&self, page: OpenPage) -> StreamPosition {
        let settled = self.settled.max(page.taken_at - StreamPosition::ARRIVAL_MAX);
        Self { before: page.snapshot, settled, page: None }.into()
    }
}

impl From<Witnessed> for StreamPosition {
    fn from(witnessed: Witnessed) -> Self {
        Self { place: Place::Witnessed(witnessed) }
    }
}

impl Snapshot {
    #[cfg(feature = "postgres")]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What PostgreSQL would read, and nothing else: it comes from outside.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax): (u64, u64) = (number(parts.next()?)?, number(parts.next()?)?);
        let running = parts.next()?;
        let mut last = xmin.checked_sub(1)?; // there is no transaction 0
        for id in running.split(',').filter(|_| !running.is_empty()) {
            let id: u64 = number(id).filter(|id| *id > last && *id < xmax)?;
            last = id;
        }
        let is_whole = parts.next().is_none() && xmin <= xmax && i64::try_from(xmax).is_ok();
        is_whole.then(|| Self(text.into()))
    }
}

/// Digits only: no sign.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for StreamPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Numbered(Numbered { sequence, time }) => write!(f, "n.{}.{sequence}", to_micros(*time)),
            Place::Witnessed(Witnessed { before, settled, page }) => {
                write!(f, "w.{}.{}", to_micros(*settled), before.0)?;
                let Some(OpenPage { snapshot, taken_at, last }) = page else { return Ok(()) };
                write!(f, ".{}.{}", to_micros(*taken_at), snapshot.0)?;
                let Some((created_at, id)) = last else { return Ok(()) };
                write!(f, ".{}.{}", to_micros(*created_at), id.simple())
            }
        }
    }
}

impl FromStr for StreamPosition {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut parts = text.split('.');
        let position = match parts.next() {
            Some("n") => numbered(&mut parts),
            Some("w") => witnessed(&mut parts),
            _ => None,
        };
        let position = position.filter(|_| parts.next().is_none());
        position.ok_or_else(|| Invalid::field("position", "is not the position of a stream"))
    }
}

type Parts<'t> = std::str::Split<'t, char>;

fn numbered(parts: &mut Parts<'_>) -> Option<StreamPosition> {
    let time = time(parts)?;
    Some(StreamPosition::numbered(number(parts.next()?)?, time))
}

fn witnessed(parts: &mut Parts<'_>) -> Option<StreamPosition> {
    let settled = time(parts)?;
    let before = Snapshot::parse(parts.next()?)?;
    let mut witnessed = Witnessed { before, settled, page: None };
    if parts.clone().next().is_some() {
        let taken_at = time(parts)?;
        let snapshot = Snapshot::parse(parts.next()?)?;
        let last = match parts.clone().next() {
            Some(_) => Some((time(parts)?, Uuid::try_parse(parts.next()?).ok()?)),
            None => None,
        };
        witnessed.page = Some(OpenPage { snapshot, taken_at, last });
    }
    Some(witnessed.into())
}

/// A time databases can hold.
fn time(parts: &mut Parts<'_>) -> Option<DateTime<Utc>> {
    from_micros(number(parts.next()?)?).filter(|time| time.timestamp() < 253_402_300_800) // year 10000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text).unwrap()
    }

    fn witnessed() -> Witnessed {
        Witnessed { before: snapshot("10:20:10,14"), settled: time(0), page: None }
    }

    fn page() -> OpenPage {
        OpenPage { snapshot: snapshot("14:30:"), taken_at: time(60), last: None }
    }

    #[test]
    fn a_position_reads_back() {
        let paged =
            |last| StreamPosition::from(Witnessed { page: Some(OpenPage { last, ..page() }), ..witnessed() });
        for position in [
            StreamPosition::numbered(7, time(3)),
            witnessed().into(),
            paged(None),
            paged(Some((time(5), Uuid::from_u128(9)))),
        ] {
            let text = position.to_string();
            assert_eq!(text.parse(), Ok(position), "{text}");
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let good = "w.1700000000000000.10:20:10,14.1700000060000000.14:30:.1700000000000000.00000000000000000000000000000009";
        good.parse::<StreamPosition>().unwrap();
        for text in [
            "",
            "x",
            "n",
            "n.1",
            "n.1.2.3",
            "n.-1.2",
            "n.1.+2",
            "w.1",
            "w.1.20:10:",
            "w.1.0:10:",
            "w.1.10:20",
            "w.1.10:20:9",
            "w.1.10:20:20",
            "w.1.10:20:14,12",
            "w.1.10:20:12,12",
            "w.1.10:20::",
            "w.1.10:20:,",
            "w.1.10:99999999999999999999:",
            "w.999999999999999999.10:20:",
            "w.1.10:20:.1",
            &good[..good.len() - 1],
            "01890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            assert!(text.parse::<StreamPosition>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[nw]\\.[0-9:,.a-f-]{0,60}") {
            if let Ok(position) = text.parse::<StreamPosition>() {
                prop_assert_eq!(position.to_string().parse(), Ok(position));
            }
        }
    }

    #[test]
    fn the_end_of_a_page_is_where_the_next_begins() {
        let StreamPosition { place: Place::Witnessed(next) } = witnessed().behind(page()) else { panic!() };
        let expected = Witnessed { before: snapshot("14:30:"), settled: time(50), page: None };
        assert_eq!(next, expected);
    }

    #[test]
    fn a_clock_set_back_settles_nothing_again() {
        let early = OpenPage { taken_at: time(-60), ..page() };
        let StreamPosition { place: Place::Witnessed(next) } = witnessed().behind(early) else { panic!() };
        assert_eq!(next.settled, time(0));
    }

    #[test]
    fn a_position_is_good_for_an_hour() {
        let position = StreamPosition::numbered(7, time(0));
        assert!(!position.is_expired(time(3_600)));
        assert!(position.is_expired(time(3_601)));
    }
}
