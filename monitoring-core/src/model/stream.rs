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
    /// When it was reached, or when the page it stands in was opened.
    pub(crate) time: DateTime<Utc>,
    pub(crate) place: StreamPlace,
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
pub(crate) enum StreamPlace {
    /// Where arrivals are numbered: the last number passed.
    Numbered(i64),
    /// Where transactions end in any order.
    Witnessed(Witnessed),
}

/// What this snapshot saw has been passed, and of what another one saw some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Witnessed {
    pub before: Snapshot,
    pub page: Option<OpenPage>,
}

/// What became visible between two snapshots, in the order of transactions and ids, up to the last
/// event passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenPage {
    pub snapshot: Snapshot,
    pub last: (u64, Uuid),
}

/// Which transactions had ended at one moment: those before `end`, but for the running ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub end: u64,
    /// In ascending order. Their number is bounded by the server's connections.
    pub running: Arc<[u64]>,
}

/// Transactions of which one snapshot saw the end and an earlier one did not.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "PostgreSQL's half"))]
pub(crate) enum Ended {
    /// They were running then.
    Late(Vec<u64>),
    /// They began since, and are not among those running.
    New { from: u64, to: u64, running: Vec<u64> },
}

#[cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    allow(dead_code, reason = "each database uses its half")
)]
impl StreamPosition {
    /// How long a position is good for: whoever was away for longer would be shown too much.
    const AGE_MAX: TimeDelta = TimeDelta::hours(1);
    /// How long an event may take from its creation to its commit. What is older and has not been
    /// passed is not news: it was restored from a backup, or the position is another database's.
    const NEWS_AGE_MAX: TimeDelta = TimeDelta::days(1);

    pub(crate) const fn numbered(sequence: i64, time: DateTime<Utc>) -> Self {
        Self { time, place: StreamPlace::Numbered(sequence) }
    }

    /// At a moment: everything that was not visible then is yet to come.
    pub(crate) const fn behind(snapshot: Snapshot, time: DateTime<Utc>) -> Self {
        Self { time, place: StreamPlace::Witnessed(Witnessed { before: snapshot, page: None }) }
    }

    /// Whether it is too old to go on from.
    pub(crate) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.time < now - Self::AGE_MAX
    }

    /// What was created before this is nothing new here.
    pub(crate) fn news_since(&self) -> DateTime<Utc> {
        self.time - Self::NEWS_AGE_MAX
    }
}

#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "PostgreSQL's half"))]
impl Witnessed {
    /// The newest snapshot it knows.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.page.as_ref().map_or(&self.before, |page| &page.snapshot)
    }

    /// After an event of the page up to a snapshot.
    pub(crate) fn after(
        &self,
        snapshot: &Snapshot,
        last: (u64, Uuid),
        time: DateTime<Utc>,
    ) -> StreamPosition {
        let page = Some(OpenPage { snapshot: snapshot.clone(), last });
        let place = StreamPlace::Witnessed(Self { before: self.before.clone(), page });
        StreamPosition { time, place }
    }
}

#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "PostgreSQL's half"))]
impl Snapshot {
    /// What ended between this and a later snapshot, in the order of transactions.
    pub(crate) fn ended_by(&self, later: &Self) -> impl Iterator<Item = Ended> + use<> {
        let is_running = |id: &u64| later.running.binary_search(id).is_ok();
        let late: Vec<_> = self.running.iter().copied().filter(|id| !is_running(id)).collect();
        let began = later.running.iter().copied().filter(|id| *id >= self.end);
        let new = Ended::New { from: self.end, to: later.end, running: began.collect() };
        let late = (!late.is_empty()).then_some(Ended::Late(late));
        late.into_iter().chain((self.end < later.end).then_some(new))
    }

    /// As PostgreSQL writes it: `xmin:xmax:running,…`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (_xmin, end) = (parts.next()?, parts.next()?.parse().ok()?);
        let running = parts.next()?;
        let running = running.split(',').filter(|_| !running.is_empty()).map(|id| id.parse().ok());
        Some(Self { end, running: running.collect::<Option<_>>()? })
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

/// Digits only: no sign.
fn number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|_| is_digits(text))
}

/// A transaction's id, or the distance of two; the databases count them in 63 bits.
fn transaction(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok().filter(|id| is_digits(text) && i64::try_from(*id).is_ok())
}

impl fmt::Display for StreamPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = to_micros(self.time);
        match &self.place {
            StreamPlace::Numbered(sequence) => write!(f, "n.{micros}.{sequence}"),
            StreamPlace::Witnessed(Witnessed { before, page }) => {
                write!(f, "w.{micros}.{before}")?;
                let Some(OpenPage { snapshot, last: (transaction, id) }) = page else { return Ok(()) };
                write!(f, ".{snapshot}.{transaction:x}.{}", id.simple())
            }
        }
    }
}

/// The end and the distances back from it, which are short: a position must fit into a header.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.end)?;
        self.running.iter().rev().try_for_each(|id| write!(f, "-{:x}", self.end - id))
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
    let time = time(parts)?;
    let before = snapshot(parts.next()?)?;
    let page = match parts.next() {
        Some(text) => Some(OpenPage {
            snapshot: snapshot(text)?,
            last: (transaction(parts.next()?)?, Uuid::try_parse(parts.next()?).ok()?),
        }),
        None => None,
    };
    Some(StreamPosition { time, place: StreamPlace::Witnessed(Witnessed { before, page }) })
}

fn snapshot(text: &str) -> Option<Snapshot> {
    let mut numbers = text.split('-').map(transaction);
    let end = numbers.next()??;
    let mut running = numbers.map(|distance| end.checked_sub(distance?)).collect::<Option<Vec<_>>>()?;
    running.reverse();
    let is_ordered = running.windows(2).all(|pair| pair[0] < pair[1]);
    let is_within = running.first() != Some(&0) && running.last().is_none_or(|last| *last < end);
    (is_ordered && is_within && end > 0).then(|| Snapshot { end, running: running.into() })
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

    fn witnessed() -> Witnessed {
        Witnessed { before: Snapshot { end: 20, running: [10, 14].into() }, page: None }
    }

    #[test]
    fn a_position_reads_back() {
        let snapshot = Snapshot { end: 30, running: [].into() };
        for position in [
            StreamPosition::numbered(7, time(3)),
            StreamPosition::behind(witnessed().before, time(3)),
            witnessed().after(&snapshot, (25, Uuid::from_u128(9)), time(60)),
        ] {
            let text = position.to_string();
            assert_eq!(text.parse(), Ok(position), "{text}");
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let good = "w.1700000000000000.14-6-a.1e.19.00000000000000000000000000000009";
        good.parse::<StreamPosition>().unwrap();
        for text in [
            "",
            "x",
            "n",
            "n.1",
            "n.1.2.3",
            "n.-1.2",
            "n.1.+2",
            "n.1.a",
            "w.1",
            "w.1.",
            "w.1.0",
            "w.1.-1",
            "w.1.14-0",
            "w.1.14-14",
            "w.1.14-15",
            "w.1.14-6-6",
            "w.1.14-a-6",
            "w.1.14-",
            "w.1.14-+6",
            "w.1.1A",
            "w.1.8000000000000000",
            "w.1.99999999999999999999",
            "w.999999999999999999.14",
            "w.1.14.1e",
            "w.1.14.1e.19",
            &good[..good.len() - 1],
            "01890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            assert!(text.parse::<StreamPosition>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[nw]\\.[0-9,.a-f-]{0,60}") {
            if let Ok(position) = text.parse::<StreamPosition>() {
                prop_assert_eq!(position.to_string().parse(), Ok(position));
            }
        }
    }

    #[test]
    fn a_position_fits_into_a_header_however_busy_the_server() {
        let running: Vec<_> = (0..500).map(|n| 4_000_000_000_000 + 7 * n).collect();
        let snapshot = Snapshot { end: 4_000_000_004_000, running: running.into() };
        let before = Witnessed { before: snapshot.clone(), page: None };
        let position = before.after(&snapshot, (4_000_000_000_007, Uuid::from_u128(9)), time(0));
        assert!(position.to_string().len() <= 4_096, "{}", position.to_string().len());
    }

    #[test]
    fn what_ended_between_two_snapshots() {
        let before = witnessed().before;
        let ended = |end, running: &[u64]| {
            let later = Snapshot { end, running: running.into() };
            before.ended_by(&later).collect::<Vec<_>>()
        };
        assert_eq!(ended(20, &[10, 14]), []);
        assert_eq!(ended(20, &[14]), [Ended::Late(vec![10])]);
        let new = Ended::New { from: 20, to: 30, running: vec![22] };
        assert_eq!(ended(30, &[10, 22]), [Ended::Late(vec![14]), new]);
    }

    #[test]
    fn a_position_is_good_for_an_hour() {
        let position = StreamPosition::numbered(7, time(0));
        assert!(!position.is_expired(time(3_600)));
        assert!(position.is_expired(time(3_601)));
    }
}
