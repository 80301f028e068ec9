//! Look-ups find their rows through the index that is there for them.
//!
//! PostgreSQL counts scans of each index in the transaction at hand. SQLite is asked how it would run
//! the statements it was sent.

#[cfg(feature = "sqlite")]
use std::collections::BTreeSet;

use chrono::TimeDelta;
use monitoring_core::{
    AsConnection, CreateEventRequest, EventFilter, EventId, Level, Page, StreamPosition, services,
};
use serde_json::json;

use crate::support::database::Database;
use crate::support::fixture::{Fixture, noon, request};

/// Enough for an index to be worth its while.
const EVENTS: usize = 20_000;

/// What is looked up, and the indexes that lead there: on PostgreSQL, and on SQLite.
const LOOKUPS: [(Lookup, &str, &str); 11] = [
    (Lookup::Id, "events_pkey", "monitoring_events_id"),
    (Lookup::Newest, "events_pkey", "monitoring_events_id"),
    (Lookup::Hour, "events_pkey", "monitoring_events_id"),
    (Lookup::Source, "events_source", "monitoring_events_source"),
    (Lookup::Errors, "events_problems", "monitoring_events_problems"),
    (Lookup::Request, "events_request", "monitoring_events_request"),
    (Lookup::Trace, "events_trace", "monitoring_events_trace"),
    (Lookup::Tag, "events_tags", "monitoring_event_tags"),
    (Lookup::Author, "events_author", "monitoring_events_author"),
    (Lookup::Arrivals, "events_arrival", "INTEGER PRIMARY KEY"),
    (Lookup::History, "alert_transitions_rule", "monitoring_alert_transitions_rule"),
];

#[derive(Clone, Copy, Debug)]
enum Lookup {
    Id,
    Newest,
    Hour,
    Source,
    Errors,
    Request,
    Trace,
    Tag,
    Author,
    Arrivals,
    History,
}

/// What look-ups refer to.
struct Stored {
    fixture: Fixture,
    id: EventId,
    /// Before the last events came.
    position: StreamPosition,
}

impl Stored {
    async fn in_database(database: &Database) -> Self {
        let fixture = Fixture::start(database).await;
        let mut conn = fixture.conn().await;
        let mut id = None;
        for half in [0, EVENTS / 2] {
            let requests = (half..half + EVENTS / 2).map(nth).collect();
            id = Some(services::create_events(&mut conn, requests).await.unwrap()[0].id);
        }
        for n in 0..20 {
            services::create_event_as(&mut conn, nth(1_000 * n), Some(AUTHOR)).await.unwrap();
        }
        let position = services::event_position(&mut conn).await.unwrap();
        services::create_event(&mut conn, request("late")).await.unwrap();
        drop(conn);
        database.execute(changes_of_alerts(database)).await;
        database.execute("ANALYZE").await;
        Self { fixture, id: id.unwrap(), position }
    }

    async fn look_up(&self, lookup: Lookup, conn: &mut impl AsConnection) {
        let mut filter = EventFilter::default();
        match lookup {
            Lookup::Id => return drop(services::event(conn, self.id).await.unwrap()),
            Lookup::Arrivals => {
                let mut position = self.position.clone();
                let arrivals = services::follow_events(conn, &mut position, &filter, 10).await.unwrap();
                assert_eq!(arrivals.len(), 1);
                return;
            }
            Lookup::History => {
                let (filter, page) = (services::HistoryFilter::default(), Page::default());
                let found = services::alert_history(conn, QUIET_RULE, &filter, &page).await.unwrap();
                assert_eq!(found.items.len(), EVENTS / 1_000);
                return;
            }
            Lookup::Newest => {}
            Lookup::Hour => {
                filter.start_time = Some(noon() - TimeDelta::hours(13));
                filter.end_time = Some(noon() - TimeDelta::hours(12));
            }
            Lookup::Source => filter.source = Some("source-7".to_owned()),
            Lookup::Errors => filter.level = Some(Level::Error),
            Lookup::Request => filter.request_id = Some("request-77".to_owned()),
            Lookup::Trace => filter.trace_id = Some(format!("{:032x}", 77)),
            Lookup::Author => filter.created_by = Some(AUTHOR),
            Lookup::Tag => filter.tags = [("order_id".to_owned(), "77".to_owned())].into(),
        }
        let found = services::query_events(conn, &filter, &Page::default()).await.unwrap();
        assert!(!found.items.is_empty(), "{lookup:?}");
    }
}

/// Somebody who has sent little.
const AUTHOR: uuid::Uuid = uuid::Uuid::from_u128(8);

/// A rule whose alerts change rarely, among many others.
const QUIET_RULE: uuid::Uuid = uuid::Uuid::from_u128(7);

fn changes_of_alerts(database: &Database) -> String {
    let table = database.table("alert_transitions");
    let (id, quiet, labels, at) = if table.contains('.') {
        let quiet = format!("'{QUIET_RULE}'::uuid");
        ("gen_random_uuid()", quiet, "'{}'::jsonb", "now() - n * interval '1 second'")
    } else {
        ("randomblob(16)", format!("X'{}'", QUIET_RULE.simple()), "'{}'", "1780000000000000 - n * 1000000")
    };
    format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {EVENTS})
         INSERT INTO {table} (id, rule_id, rule_name, rule_version, fingerprint, labels, to_state, value, at)
         SELECT {id}, CASE WHEN n % 1000 = 0 THEN {quiet} ELSE {id} END, 'r', 1, n, {labels}, 'firing', 1, {at}
         FROM numbers"
    )
}

fn nth(n: usize) -> CreateEventRequest<String> {
    let tags = [
        ("request_id".to_owned(), json!(format!("request-{n}"))),
        ("trace_id".to_owned(), json!(format!("{n:032x}"))),
        ("order_id".to_owned(), json!(n)),
    ];
    CreateEventRequest {
        level: Some(if n.is_multiple_of(1_000) { "error" } else { "info" }.to_owned()),
        tags: tags.into(),
        timestamp: Some(noon() - TimeDelta::seconds(5 * i64::try_from(n).unwrap())),
        ..request(&format!("source-{}", n % 500))
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres_looks_up_through_indexes() {
    use sqlx::Connection as _;

    let Some(database) = Database::postgres().await else { return };
    let stored = Stored::in_database(&database).await;
    for (lookup, expected, _) in LOOKUPS {
        // Counts of earlier transactions stay with a connection for a while.
        let mut host = sqlx::PgConnection::connect(&database.url()).await.unwrap();
        let mut transaction = host.begin().await.unwrap();
        stored.look_up(lookup, &mut stored.fixture.monitoring.connection(&mut transaction)).await;
        // A partition with next to nothing in it may be read in any way.
        let used: Vec<String> = sqlx::query_scalar(
            "SELECT coalesce(parent.relname, own.relname)::text
             FROM pg_class AS own
                 LEFT JOIN pg_inherits ON inhrelid = own.oid
                 LEFT JOIN pg_class AS parent ON parent.oid = inhparent
             WHERE own.relkind = 'i' AND own.relnamespace = 'monitoring'::regnamespace
             GROUP BY 1
             HAVING sum(pg_stat_get_xact_tuples_returned(own.oid)) > 5",
        )
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
        let scanned: i64 = sqlx::query_scalar(
            "SELECT sum(seq_tup_read)::bigint FROM pg_stat_xact_all_tables WHERE schemaname = 'monitoring'",
        )
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
        assert!(used.iter().all(|index| index == expected), "{lookup:?}: {used:?}");
        assert!(scanned < 100, "{lookup:?}: {scanned} rows were read without an index");
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite_looks_up_through_indexes() {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

    let database = Database::sqlite();
    let stored = Stored::in_database(&database).await;
    let options: SqliteConnectOptions = database.url().parse().unwrap();
    let mut host = options.thread_name(|_| statements::THREAD.to_owned()).connect().await.unwrap();
    let statements = statements::Statements::listen();
    for (lookup, _, expected) in LOOKUPS {
        statements.take();
        stored.look_up(lookup, &mut stored.fixture.monitoring.connection(&mut host)).await;
        let mut steps = BTreeSet::new();
        for statement in statements.take() {
            let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
            let rows = plan.fetch_all(&mut host).await.unwrap();
            steps.extend(rows.iter().map(|row| row.get::<String, _>("detail")));
        }
        assert!(steps.iter().any(|step| step.contains(expected)), "{lookup:?}: {steps:?}");
        let scans =
            |step: &String| step == "SCAN monitoring_events" || step.contains("SCAN monitoring_alert");
        assert!(!steps.iter().any(scans), "{lookup:?}: {steps:?}");
    }
}

/// What one connection was asked. Statements are logged by the thread that runs them, so only a
/// subscriber of the whole process hears of them.
#[cfg(feature = "sqlite")]
mod statements {
    use std::fmt;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    pub(super) const THREAD: &str = "plans";

    #[derive(Clone, Default)]
    pub(super) struct Statements(Arc<Mutex<Vec<String>>>);

    impl Statements {
        pub(super) fn listen() -> Self {
            let statements = Self::default();
            tracing::subscriber::set_global_default(statements.clone()).unwrap();
            statements
        }

        pub(super) fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl Subscriber for Statements {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "sqlx::query"
        }

        fn event(&self, event: &Event<'_>) {
            let mut statement = Statement::default();
            event.record(&mut statement);
            let Statement { summary, whole } = statement;
            if std::thread::current().name() == Some(THREAD) {
                self.0.lock().unwrap().push(if whole.is_empty() { summary } else { whole });
            }
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// Short ones are their own summary.
    #[derive(Default)]
    struct Statement {
        summary: String,
        whole: String,
    }

    impl Visit for Statement {
        fn record_str(&mut self, field: &Field, value: &str) {
            match field.name() {
                "summary" => self.summary = value.to_owned(),
                "db.statement" => self.whole = value.trim().to_owned(),
                _ => {}
            }
        }

        fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
    }
}
