//! PromQL for callers: instants and ranges, names of series and labels.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::index::{Index, SeriesFigures};
use super::stored::StoredSeries;
use crate::model::{MetricType, SeriesId, default_metadata};
use crate::promql::{Columns, Note, Query, QueryAnswer, QueryError, QueryLimits, QueryResult, QueryStats};
use crate::store::metrics::MetricStore as _;
use crate::store::removal::RemovalStore as _;
use crate::store::series::{RegisteredSeries, SeriesNews, SeriesStore as _};
use crate::store::{Access, AsConnection as _, Pool, StoreError};

/// Queries evaluated at once; more wait their turn. They share connections with everything else.
const QUERIES_MAX: usize = 2;
/// How far back series are looked for again: a transaction may have been open that long, and clocks
/// of replicas differ.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);
/// The same before the last look, where nothing new has come for long: our clock may be ahead by so much.
const OVERLAP_AT_REST: TimeDelta = TimeDelta::hours(1);
/// How often the series known are counted: a transaction may have been open for longer than the overlap.
const COUNTED_EVERY: TimeDelta = TimeDelta::minutes(10);
/// Registrations read at once, of some bytes each: those that are known need not be read whole.
const REGISTRATIONS_PER_PAGE: u32 = 100_000;
/// Series read whole at once.
const SERIES_PER_PAGE: usize = 10_000;
/// Removals read at once.
const REMOVALS_PER_PAGE: u32 = 10_000;

/// Answers PromQL over everything stored. Cheap to clone; clones share what they know.
#[derive(Clone, Debug)]
pub struct PromQuery {
    pub(super) shared: Arc<Shared>,
    pub(super) turns: Arc<Semaphore>,
    pub(super) limits: QueryLimits,
    /// What lists of series are limited to: milliseconds since 1970, both included.
    pub(super) span: Option<(i64, i64)>,
    /// How long the turn was waited for that this asks in.
    pub(super) waited: Duration,
}

/// A turn to ask queries, for which others wait. What they answer is best let go of first.
#[derive(Debug)]
pub struct QueryTurn {
    /// With turns of its own.
    promql: PromQuery,
    _turn: OwnedSemaphorePermit,
}

impl Deref for QueryTurn {
    type Target = PromQuery;

    fn deref(&self) -> &PromQuery {
        &self.promql
    }
}

/// A metric as it is known by name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricDescription {
    /// Its name.
    pub name: String,
    /// How its values are to be read.
    pub metric_type: MetricType,
    /// What it is about; empty if nobody said.
    pub help: String,
    /// The unit of its values; empty if nobody said.
    pub unit: String,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub pool: Pool,
    pub index: RwLock<Index>,
    /// Of series with readings, a time at which there is one.
    pub seen: std::sync::Mutex<HashMap<SeriesId, i64>>,
    /// Locked while the index is brought up to date.
    followed: Mutex<Followed>,
}

/// How far the index follows the database.
#[derive(Debug, Default)]
struct Followed {
    /// When the newest series known was registered.
    registered_to: Option<DateTime<Utc>>,
    /// Since when series were looked for the last time, and how many there were and were removed.
    news: Option<(DateTime<Utc>, SeriesNews)>,
    /// When that was.
    looked_up_at: DateTime<Utc>,
    /// When those known were counted for the last time.
    counted_at: DateTime<Utc>,
}

/// What was removed since the last time.
#[derive(Debug, Default)]
struct Removed {
    /// Whether anything was, be it that it is back.
    is_any: bool,
    /// Series that are not back.
    gone: HashSet<SeriesId>,
}

impl PromQuery {
    pub(crate) fn new(pool: Pool, limits: QueryLimits) -> Self {
        let shared = Shared {
            pool,
            index: RwLock::default(),
            seen: std::sync::Mutex::default(),
            followed: Mutex::default(),
        };
        let turns = Arc::new(Semaphore::new(QUERIES_MAX));
        Self { shared: Arc::new(shared), turns, limits, span: None, waited: Duration::ZERO }
    }

    /// The same with other limits and turns of its own: whoever asks through it and whoever asks through
    /// this do not wait for each other.
    pub(crate) fn apart(&self, limits: QueryLimits) -> Self {
        Self { turns: Arc::new(Semaphore::new(QUERIES_MAX)), limits, ..self.clone() }
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(&self, limits: QueryLimits) -> Self {
        Self { limits, ..self.clone() }
    }

    /// Where it reads from.
    pub(crate) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// The time queries are asked at where they name none.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.shared.pool.context().settings.clock.now()
    }

    /// What a query may cost.
    #[must_use]
    pub fn limits(&self) -> &QueryLimits {
        &self.limits
    }

    /// The answer to a query at one instant.
    ///
    /// # Errors
    ///
    /// [`QueryError::BadData`] if the text is no query; otherwise as [`PromQuery::range`].
    pub async fn instant(&self, query: &str, time: DateTime<Utc>) -> QueryResult<QueryAnswer> {
        self.answer(|| Query::instant(query, time.timestamp_millis(), self.limits())).await
    }

    /// The answer to a query at every `step` from `start` up to `end`, both included.
    ///
    /// # Errors
    ///
    /// [`QueryError::BadData`] if the text is no query or the times make no sense,
    /// [`QueryError::Execution`] if the data do not allow an answer or it would take too much,
    /// [`QueryError::Timeout`], or [`QueryError::Source`] if storage failed.
    pub async fn range(
        &self,
        query: &str,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        step: TimeDelta,
    ) -> QueryResult<QueryAnswer> {
        let (start, end) = (start.timestamp_millis(), end.timestamp_millis());
        self.answer(|| Query::range(query, start, end, step.num_milliseconds(), self.limits())).await
    }

    /// What a query yields at one instant, as a rule looks at it. Series that are new since the last
    /// [`learn`](Self::learn) are not seen.
    pub(crate) async fn columns_at(&self, query: &str, time: DateTime<Utc>) -> QueryResult<Columns> {
        self.columns(|| Query::instant(query, time.timestamp_millis(), self.limits())).await
    }

    /// The same at every `step` from `start` up to `end`, both included.
    pub(crate) async fn columns_between(
        &self,
        query: &str,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        step: TimeDelta,
    ) -> QueryResult<Columns> {
        let (start, end) = (start.timestamp_millis(), end.timestamp_millis());
        self.columns(|| Query::range(query, start, end, step.num_milliseconds(), self.limits())).await
    }

    /// Learns of series that are new or gone.
    pub(crate) async fn learn(&self) -> QueryResult<()> {
        self.follow().await
    }

    /// A query is read in its turn too: to compile its regular expressions takes memory and time.
    async fn answer(&self, read: impl FnOnce() -> QueryResult<Query> + Send) -> QueryResult<QueryAnswer> {
        let asked = Instant::now();
        let answering = async {
            let began = Instant::now();
            let query = read()?;
            self.follow().await?;
            let preparation = began.elapsed();
            let mut answer = query.answer(&self.source(), self.limits()).await?;
            let waiting = self.waited + began.duration_since(asked);
            answer.stats = QueryStats { waiting, preparation, ..answer.stats };
            let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            Ok(match index.cut_at() {
                Some(known) => answer.with_note(Note::SeriesLeftOut(known)),
                None => answer,
            })
        };
        self.in_turn(answering).await
    }

    async fn columns(&self, read: impl FnOnce() -> QueryResult<Query> + Send) -> QueryResult<Columns> {
        self.in_turn(async { read()?.columns(&self.source(), self.limits()).await }).await
    }

    /// Waits for a turn to keep until all is done with what queries answered: of big answers, only as
    /// many are in memory as there are turns.
    ///
    /// ```
    /// # async fn example(monitoring: &monitoring_core::Monitoring) -> monitoring_core::QueryResult<()> {
    /// let turn = monitoring.promql().turn().await?;
    /// let answer = turn.instant("orders_total", turn.now()).await?;
    /// let text = format!("{:?}", answer.value);
    /// drop((turn, answer));
    /// # let _ = text;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`QueryError::Timeout`], if it does not come within the time a query may take.
    pub async fn turn(&self) -> QueryResult<QueryTurn> {
        let (began, mut limits) = (Instant::now(), self.limits.clone());
        let turn = tokio::time::timeout(limits.timeout, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| QueryError::Timeout)?.expect("turns are never closed");
        let waited = began.elapsed();
        limits.timeout = limits.timeout.saturating_sub(waited);
        Ok(QueryTurn { promql: Self { waited, ..self.apart(limits) }, _turn: turn })
    }

    /// Waits for a turn, and no longer than a query may take.
    pub(super) async fn in_turn<T>(
        &self,
        work: impl Future<Output = QueryResult<T>> + Send,
    ) -> QueryResult<T> {
        let work = async {
            let turn = self.turns.acquire().await;
            debug_assert!(turn.is_ok(), "turns are never closed");
            work.await
        };
        // An evaluation looks at the clock itself; this is for a database that does not answer.
        tokio::time::timeout(self.limits().timeout, work).await.unwrap_or(Err(QueryError::Timeout))
    }

    /// What is known of each metric, by name: of the one asked for, or of up to `max`.
    ///
    /// # Errors
    ///
    /// Storage failed.
    pub async fn metadata(&self, name: Option<&str>, max: usize) -> QueryResult<Vec<MetricDescription>> {
        self.follow().await?;
        let metrics = self.shared.index.read().unwrap_or_else(PoisonError::into_inner).metrics(name, max);
        let names: Vec<_> = metrics.iter().map(|(name, _)| name.clone()).collect();
        let told = self.told(&names).await.map_err(|error| QueryError::Source(error.into()))?;
        let described = |(name, metric_type): (String, MetricType)| {
            let known = default_metadata(&name);
            let (mut help, mut unit) = told.get(&name).cloned().unwrap_or_default();
            for (text, known) in [(&mut help, known.0), (&mut unit, known.1)] {
                if text.is_empty() {
                    known.clone_into(text);
                }
            }
            MetricDescription { name, metric_type, help, unit }
        };
        Ok(metrics.into_iter().map(described).collect())
    }

    /// How many series there are and of what, with up to `max` entries in each list.
    ///
    /// # Errors
    ///
    /// Storage failed.
    pub async fn figures(&self, max: usize) -> QueryResult<SeriesFigures> {
        self.follow().await?;
        Ok(self.shared.index.read().unwrap_or_else(PoisonError::into_inner).figures(max))
    }

    /// Help and unit of metrics, as far as somebody said.
    async fn told(&self, names: &[String]) -> Result<HashMap<String, (String, String)>, StoreError> {
        let mut connection = self.shared.pool.acquire(Access::Read).await?;
        let metadata = connection.as_connection().store().metric_metadata(names).await?;
        Ok(metadata.into_iter().map(|told| (told.name, (told.help, told.unit))).collect())
    }

    pub(super) fn source(&self) -> StoredSeries<'_> {
        StoredSeries { pool: &self.shared.pool, index: &self.shared.index }
    }

    /// Learns of series registered or removed since the last time.
    pub(super) async fn follow(&self) -> QueryResult<()> {
        self.follow_store().await.map_err(|error| QueryError::Source(error.into()))
    }

    async fn follow_store(&self) -> Result<(), StoreError> {
        let mut followed = self.shared.followed.lock().await;
        self.catch_up(&mut followed).await?;
        if self.now() - followed.counted_at >= COUNTED_EVERY {
            followed.counted_at = self.now();
            if self.is_incomplete(followed.since()).await? {
                // Since no time they were looked for before, so they all are.
                followed.news = followed.news.map(|(_, news)| (DateTime::<Utc>::MAX_UTC, news));
                followed.registered_to = None;
                self.catch_up(&mut followed).await?;
            }
        }
        Ok(())
    }

    /// Whether some series are not known that were registered before a time, from which on they are looked for.
    async fn is_incomplete(&self, since: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut connection = self.shared.pool.acquire(Access::Read).await?;
        let registered = connection.as_connection().store().series_before(since).await?;
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        Ok(!index.is_full() && index.registered_before(since) as u64 != registered)
    }

    async fn catch_up(&self, followed: &mut Followed) -> Result<(), StoreError> {
        let now = self.now();
        let since = followed.since();
        let news = self.news(since).await?;
        if followed.is_up_to_date(since, news) {
            followed.looked_up_at = now;
            return Ok(());
        }
        // At first there is nothing to forget.
        let known = followed.news.map_or(news.removals, |(_, known)| known.removals);
        let removed = match known == news.removals {
            true => Removed::default(),
            false => self.removed(followed.looked_up_at).await?,
        };
        self.forget(&removed.gone, &mut followed.registered_to);
        let since = if followed.registered_to.is_some() { since } else { DateTime::UNIX_EPOCH };
        let mut after = None;
        loop {
            let mut connection = self.shared.pool.acquire(Access::Read).await?;
            let mut connection = connection.as_connection();
            let page =
                connection.store().registrations(since, after.as_ref(), REGISTRATIONS_PER_PAGE).await?;
            let is_last = page.len() < REGISTRATIONS_PER_PAGE as usize;
            after = page.last().copied();
            // Most of what was registered in the overlap is known, unless some of it was removed meanwhile.
            for asked in self.unknown(&page, removed.is_any).chunks(SERIES_PER_PAGE) {
                let series = connection.store().present_series(asked).await?;
                self.take_in(series, removed.is_any);
            }
            // Only now: what a failure leaves out is looked for again.
            followed.registered_to = after.map(|(time, _)| time).max(followed.registered_to);
            if is_last {
                break;
            }
        }
        // Only now: after a failure it is all looked up again.
        (followed.news, followed.looked_up_at) = (Some((since, news)), now);
        Ok(())
    }

    /// Makes series known, in the place of what was known by their ids if that may have changed.
    fn take_in(&self, series: Vec<RegisteredSeries>, may_be_known: bool) {
        let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        if may_be_known {
            let outdated = index.outdated(&series);
            index.remove(&outdated);
        }
        let was_whole = index.cut_at().is_none();
        series.into_iter().for_each(|registered| index.add(registered));
        if let Some(known) = index.cut_at().filter(|_| was_whole) {
            tracing::warn!(target: "monitoring::internal", known,
                "queries and rules see no newer series: there are more than can be kept in memory");
        }
    }

    /// Those of the series registered that are to be read.
    fn unknown(&self, registrations: &[(DateTime<Utc>, SeriesId)], is_any: bool) -> Vec<SeriesId> {
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let ids = registrations.iter().map(|(_, id)| *id);
        ids.filter(|id| is_any || !index.knows(*id)).collect()
    }

    /// Whether there is anything to look for.
    async fn news(&self, since: DateTime<Utc>) -> Result<SeriesNews, StoreError> {
        let mut connection = self.shared.pool.acquire(Access::Read).await?;
        connection.as_connection().store().series_news(since).await
    }

    async fn removed(&self, looked_up_at: DateTime<Utc>) -> Result<Removed, StoreError> {
        let mut connection = self.shared.pool.acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        let (since, mut after) = (looked_up_at - OVERLAP, None);
        let mut removed = Removed { is_any: true, gone: HashSet::new() };
        loop {
            let page = connection.store().series_removed(since, after.as_ref(), REMOVALS_PER_PAGE).await?;
            removed.gone.extend(page.iter().map(|(_, id)| *id));
            if page.len() < REMOVALS_PER_PAGE as usize {
                self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
                return Ok(removed);
            }
            after = page.last().copied();
        }
    }

    /// Forgets series. An index that was full forgets all of them: it did not keep what came after.
    fn forget(&self, gone: &HashSet<SeriesId>, registered_to: &mut Option<DateTime<Utc>>) {
        let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        if index.is_full() && !gone.is_empty() {
            index.clear();
            *registered_to = None;
        } else {
            index.remove(gone);
        }
    }
}

impl Followed {
    /// Since when to look for series.
    fn since(&self) -> DateTime<Utc> {
        let Some(registered_to) = self.registered_to else { return DateTime::UNIX_EPOCH };
        // Those that came together long ago are not looked at for ever. Nobody may have asked for days. And
        // the newest may have been registered by a clock that is ahead of all others.
        let since = (registered_to.min(self.looked_up_at) - OVERLAP).max(self.looked_up_at - OVERLAP_AT_REST);
        // The same for a while, so that what comes in between can be told by a count.
        since.duration_trunc(OVERLAP).unwrap_or(since)
    }

    fn is_up_to_date(&self, since: DateTime<Utc>, news: SeriesNews) -> bool {
        let is_known = |then: DateTime<Utc>, known: SeriesNews| {
            let adds_nothing = news.registered == 0 || (then, known.registered) == (since, news.registered);
            known.removals == news.removals && adds_nothing
        };
        self.news.is_some_and(|(then, known)| is_known(then, known))
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::Settings;
    use crate::model::{Labels, Sample, SampleValue, Series, Temporality};
    use crate::store::Context;
    use crate::store::metrics::Novelty;
    use crate::store::removal::Span;

    fn series(name: &str) -> Series {
        Series::new(name.to_owned(), Labels::new(), MetricType::Gauge, Temporality::Delta, Vec::new())
    }

    async fn add(pool: &Pool, series: Series, timestamp: DateTime<Utc>) {
        let value = SampleValue::Number(1.0);
        let (series_id, exemplars) = (series.id, Vec::new());
        let sample = Sample { series_id, timestamp, origin: 0, value, observations: 1, exemplars };
        let mut conn = pool.acquire(Access::Write).await.unwrap();
        let mut connection = conn.as_connection();
        connection.store().record(&[series], &[sample], Novelty::New, 1, timestamp).await.unwrap();
    }

    async fn remove(pool: &Pool, series: &Series, now: DateTime<Utc>) {
        let span = Span { from: DateTime::UNIX_EPOCH, before: now, is_whole_past: true };
        let mut conn = pool.acquire(Access::Write).await.unwrap();
        let mut connection = conn.as_connection();
        connection.store().begin_removal().await.unwrap();
        assert_eq!(connection.store().delete_samples(series, &span, 9, now).await.unwrap().samples, 1);
    }

    #[tokio::test]
    async fn after_a_removal_what_did_not_fit_is_known() {
        let clock = Clock::fixed(DateTime::UNIX_EPOCH);
        let settings = Settings { clock: clock.clone(), ..Settings::default() };
        let pool = Pool::open("sqlite::memory:", Arc::new(Context::new(settings).unwrap())).unwrap();
        pool.migrate().await.unwrap();
        for name in ["a", "b", "c", "left_out", "newest"] {
            add(&pool, series(name), clock.now()).await;
            clock.advance(std::time::Duration::from_secs(3_600));
        }
        let promql = PromQuery::new(pool.clone(), QueryLimits::default());
        *promql.shared.index.write().unwrap() = Index::with_room_for(3, usize::MAX);
        assert_eq!(promql.metadata(None, 10).await.unwrap().len(), 3);
        let warnings = promql.instant("left_out or a", clock.now()).await.unwrap().warnings();
        assert!(warnings.iter().any(|warning| warning.contains("the newest past 3")), "{warnings:?}");
        promql.learn().await.unwrap();
        let seen = promql.columns_at("a", clock.now()).await;
        assert!(seen.is_ok(), "rules go on: {seen:?}");
        for name in ["a", "b", "c"] {
            remove(&pool, &series(name), clock.now()).await;
        }
        let known: Vec<_> =
            promql.metadata(None, 10).await.unwrap().into_iter().map(|metric| metric.name).collect();
        assert_eq!(known, ["left_out", "newest"]);
        assert!(promql.instant("newest", clock.now()).await.unwrap().warnings().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_tells_how_long_its_turn_was_waited_for() {
        let pool =
            Pool::open("sqlite::memory:", Arc::new(Context::new(Settings::default()).unwrap())).unwrap();
        let promql = PromQuery::new(pool, QueryLimits::default());
        let (first, _second) = (promql.turn().await.unwrap(), promql.turn().await.unwrap());
        assert_eq!(first.waited, Duration::ZERO);
        let leaves = async {
            tokio::time::advance(Duration::from_secs(3)).await;
            drop(first);
        };
        let (third, ()) = tokio::join!(promql.turn(), leaves);
        assert_eq!(third.unwrap().waited, Duration::from_secs(3));
    }
}
