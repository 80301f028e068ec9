//! The code the specification shows, compiled as it stands and run on the host's own connections of
//! both databases, with what it must have done checked afterwards.

#[rustfmt::skip]
mod snippets;

use monitoring_core::services::{self, Exposition};
use monitoring_core::{
    AsConnection, Event, EventFilter, EventType, ExpositionFormat, IncidentFilter, IncidentSeverity, Level,
    MetricFilter, Monitoring, Page,
};
use serde_json::{Value, json};
use sqlx::pool::PoolConnection;
use uuid::Uuid;

use super::handlers::Tasks;
use crate::support::database::{Database, on_each_database};
use snippets::{Exchange, Method, PaymentGateway, Status, Task, Uri, User};

on_each_database!(
    direct_service_calls_store_an_event_and_open_an_incident,
    what_the_host_rolls_back_never_happened,
    a_background_task_stores_its_event,
    a_login_is_an_event_with_user_and_request,
    a_middleware_logs_requests_from_a_task_of_its_own,
    a_business_event_carries_tags_and_payload,
    a_payment_is_logged_by_either_logger,
    endpoint_performance_is_a_histogram_and_a_counter,
    events_are_stored_as_the_usage_patterns_say,
    a_timeline_is_printed_line_by_line,
    custom_metrics_appear_at_once,
    an_incident_is_assigned_to_who_is_on_call,
    the_statistics_make_an_exposition,
);

/// A running system, and the host's own way to its database.
struct Host<D: sqlx::Database> {
    monitoring: Monitoring,
    pool: sqlx::Pool<D>,
}

impl<D: sqlx::Database> Host<D>
where
    PoolConnection<D>: AsConnection,
{
    async fn start(database: &Database) -> Self {
        let monitoring = Monitoring::builder().database_url(database.url()).start().await.unwrap();
        Self { monitoring, pool: sqlx::Pool::connect(&database.url()).await.unwrap() }
    }

    async fn conn(&self) -> PoolConnection<D> {
        self.pool.acquire().await.unwrap()
    }

    /// Events of a source, the last stored last.
    async fn events(&self, source: &str) -> Vec<Event> {
        let mut filter = EventFilter::default();
        filter.source = Some(source.to_owned());
        let slice = services::query_events(&mut self.conn().await, &filter, &Page::default()).await.unwrap();
        let mut events = slice.items;
        events.sort_by_key(|event| event.created_at);
        events
    }

    async fn scrape(&self) -> String {
        let mut exposition = Exposition::new(ExpositionFormat::Prometheus);
        let mut text = String::new();
        while let Some(chunk) = exposition.next_chunk(&mut self.conn().await).await.unwrap() {
            text.push_str(&chunk);
        }
        text
    }
}

/// Runs a block with a host on whichever database it is.
macro_rules! on_host {
    ($database:ident, $host:ident => $block:block) => {
        match $database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => {
                let $host = Host::<sqlx::Sqlite>::start($database).await;
                $block
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(_) => {
                let $host = Host::<sqlx::Postgres>::start($database).await;
                $block
            }
        }
    };
}

fn user() -> User {
    User { id: Uuid::from_u128(7), username: "alice", tier: 2, region: "eu".to_owned() }
}

fn tags(event: &Event) -> Value {
    Value::Object(event.tags.clone())
}

fn messages(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.message.as_deref().unwrap()).collect()
}

async fn direct_service_calls_store_an_event_and_open_an_incident(database: &Database) {
    on_host!(database, host => {
        let mut transaction = host.pool.begin().await.unwrap();
        let (event, incident) =
            snippets::direct_service_calls(&mut transaction, user().id).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(host.events("internal-service").await, std::slice::from_ref(&event));
        assert_eq!((event.event_type, event.level), (EventType::Log, Some(Level::Info)));
        assert_eq!(services::incident(&mut host.conn().await, incident.id).await.unwrap(), incident);
        assert_eq!((incident.severity, incident.created_by), (IncidentSeverity::Medium, Some(user().id)));
    });
}

async fn what_the_host_rolls_back_never_happened(database: &Database) {
    on_host!(database, host => {
        let mut transaction = host.pool.begin().await.unwrap();
        snippets::direct_service_calls(&mut transaction, user().id).await.unwrap();
        snippets::track_endpoint_performance("GET", "/", 200, 1.0, &mut transaction).await.unwrap();
        transaction.rollback().await.unwrap();
        let mut conn = host.conn().await;
        let events = services::query_events(&mut conn, &EventFilter::default(), &Page::default()).await.unwrap();
        assert!(events.items.is_empty());
        let filter = IncidentFilter::default();
        let incidents = services::query_incidents(&mut conn, &filter, &Page::default()).await.unwrap();
        assert!(incidents.items.is_empty());
        let samples = services::query_metrics(&mut conn, &MetricFilter::default(), &Page::default()).await;
        assert!(samples.unwrap().items.is_empty());
        assert_eq!(services::get_monitoring_stats(&mut conn).await.unwrap(), Default::default());
    });
}

async fn a_background_task_stores_its_event(database: &Database) {
    on_host!(database, host => {
        let (tasks, task) = snippets::background_task(Tasks::none(&host.monitoring)).await;
        assert_eq!(
            tasks.task_types(),
            [
                "monitoring_alert_evaluation",
                "monitoring_data_retention",
                "monitoring_event_processing",
                "monitoring_incident_analysis",
            ]
        );
        tasks.run(&task.task_type, task.payload).await.unwrap();
        let events = host.events("api-gateway").await;
        assert_eq!(messages(&events), ["High error rate detected"]);
        assert_eq!(events[0].event_type, EventType::Log);
    });
}

async fn a_login_is_an_event_with_user_and_request(database: &Database) {
    on_host!(database, host => {
        let client_ip = "192.0.2.7".parse().unwrap();
        snippets::login(host.conn().await, &user(), client_ip, false).await.unwrap();
        assert!(host.events("auth-service").await.is_empty());
        let request_id = snippets::login(host.conn().await, &user(), client_ip, true).await.unwrap();
        let events = host.events("auth-service").await;
        assert_eq!(messages(&events), ["User alice logged in successfully"]);
        assert_eq!(events[0].request_id, Some(request_id.to_string()));
        let expected =
            json!({"request_id": request_id, "user_id": user().id, "action": "login", "ip_address": client_ip});
        assert_eq!(tags(&events[0]), expected);
    });
}

async fn a_middleware_logs_requests_from_a_task_of_its_own(database: &Database) {
    on_host!(database, host => {
        for (status, level) in [(204, Level::Info), (503, Level::Warn)] {
            let exchange = Exchange { method: Method("GET"), uri: Uri("/api/users"), status: Status(status) };
            let pool = host.pool.clone();
            let acquire = async move { pool.acquire().await };
            snippets::track_request(acquire, format!("req-{status}"), exchange).await.unwrap();
            let event = host.events("api-gateway").await.pop().unwrap();
            assert_eq!(event.message.as_deref(), Some("GET /api/users completed"));
            assert_eq!((event.level, event.request_id), (Some(level), Some(format!("req-{status}"))));
            assert_eq!((&event.tags["status"], &event.tags["path"]), (&json!(status), &json!("/api/users")));
            assert!(event.tags["duration_ms"].is_f64());
        }
    });
}

async fn a_business_event_carries_tags_and_payload(database: &Database) {
    on_host!(database, host => {
        let headers = [("x-request-id", "req-123")].into();
        let task = Task { id: Uuid::from_u128(9), task_type: "mail".to_owned(), priority: 3, scheduled_for: None };
        let task = snippets::create_task(host.conn().await, &user(), &headers, task).await.unwrap();
        let events = host.events("task-service").await;
        assert_eq!(messages(&events), ["Task created: mail"]);
        let expected =
            json!({"request_id": "req-123", "user_id": user().id, "task_id": task.id, "task_type": "mail"});
        assert_eq!(tags(&events[0]), expected);
        assert_eq!(json!(events[0].payload), json!({"priority": 3, "scheduled_for": null}));
    });
}

async fn a_payment_is_logged_by_either_logger(database: &Database) {
    on_host!(database, host => {
        let id = |n: u32| format!("req-{n}");
        let gateway = |declines| PaymentGateway { declines };
        snippets::process_payment(host.conn().await, id(1), gateway(false)).await.unwrap();
        snippets::process_payment(host.conn().await, id(2), gateway(true)).await.unwrap_err();
        let own = snippets::process_payment_with_own_logger;
        own(host.conn().await, id(3), gateway(false)).await.unwrap();
        own(host.conn().await, id(4), gateway(true)).await.unwrap_err();

        let events = host.events("payment-service").await;
        let (library, own) = events.split_at(4);
        for (events, [paid, declined]) in [(library, [1, 2]), (own, [3, 4])] {
            let told = ["Payment processing started", "Payment completed successfully"];
            assert_eq!(messages(&events[..2]), told);
            assert_eq!(messages(&events[2..]), ["Payment processing started", "Payment failed"]);
            let requests = [paid, paid, declined, declined].map(|n| Some(id(n)));
            assert_eq!(events.iter().map(|event| event.request_id.clone()).collect::<Vec<_>>(), requests);
            assert_eq!(tags(&events[0]), json!({"request_id": id(paid), "amount": 42, "currency": "EUR"}));
            assert_eq!(events[1].tags["payment_id"], 7);
            let failed = &events[3];
            assert_eq!((failed.event_type, failed.level), (EventType::Alert, Some(Level::Error)));
            assert_eq!(failed.tags["error_type"], "card declined");
            assert_eq!(failed.payload["error_details"], "Declined");
        }
    });
}

async fn endpoint_performance_is_a_histogram_and_a_counter(database: &Database) {
    on_host!(database, host => {
        let (method, path, status, duration_ms) = ("GET", "/api/users", 200, 12.5);
        let mut connection = host.conn().await;
        let conn = &mut connection;
        services::track_endpoint_performance(method, path, status, duration_ms, conn).await.unwrap();
        snippets::track_endpoint_performance(method, path, status, duration_ms, conn).await.unwrap();
        drop(connection);
        let scrape = host.scrape().await;
        for line in [
            r#"http_requests_total{method="GET",path="/api/users",status="200"} 2"#,
            r#"http_request_duration_ms_count{method="GET",path="/api/users",status="200"} 2"#,
            r#"http_request_duration_ms_sum{method="GET",path="/api/users",status="200"} 25"#,
        ] {
            assert!(scrape.lines().any(|found| found == line), "{line} is not in\n{scrape}");
        }
    });
}

async fn events_are_stored_as_the_usage_patterns_say(database: &Database) {
    on_host!(database, host => {
        snippets::application_monitoring(host.conn().await, &user()).await.unwrap();
        snippets::error_tracking(host.conn().await).await.unwrap();
        snippets::performance_metrics(host.conn().await, 245.0).await.unwrap();
        let login = &host.events("user-service").await[0];
        assert_eq!(login.message.as_deref(), Some("User alice logged in"));
        assert_eq!(tags(login), json!({"user_id": user().id, "action": "login"}));
        let error = &host.events("database-service").await[0];
        assert_eq!((error.event_type, error.level), (EventType::Alert, Some(Level::Error)));
        assert_eq!(tags(error), json!({"severity": "critical", "component": "database"}));
        let payload = json!({"pool_size": 10, "active_connections": 10, "error_code": "POOL_EXHAUSTED"});
        assert_eq!(json!(error.payload), payload);
        let line = r#"api_request_duration_sum{endpoint="/api/users",method="GET",status="200"} 245"#;
        assert!(host.scrape().await.lines().any(|found| found == line));
    });
}

async fn a_timeline_is_printed_line_by_line(database: &Database) {
    on_host!(database, host => {
        snippets::error_tracking(host.conn().await).await.unwrap();
        let incident = snippets::direct_incident(host.conn().await, Uuid::nil(), &user()).await.unwrap();
        snippets::application_monitoring(host.conn().await, &user()).await.unwrap();
        let printed = snippets::timeline(host.conn().await, incident.id.into_uuid()).await.unwrap();
        let before = host.events("database-service").await[0].timestamp;
        let after = host.events("user-service").await[0].timestamp;
        let opened = incident.started_at;
        assert_eq!(
            printed,
            [
                format!("{before}: database-service - Connection pool exhausted"),
                format!("{opened}: incident - incident opened: Payment Processing Degraded (severity high)"),
                format!("{after}: user-service - User alice logged in"),
            ]
        );
    });
}

async fn custom_metrics_appear_at_once(database: &Database) {
    on_host!(database, host => {
        let metrics = snippets::custom_metrics(host.conn().await, 0.031, &user()).await.unwrap();
        assert_eq!(metrics.each_ref().map(|metric| metric.value), [0.031, 0.25]);
        let scrape = host.scrape().await;
        for line in [
            r#"user_conversion_rate{funnel_stage="checkout",user_segment="premium"} 0.031"#,
            r#"user_churn_risk_score{region="eu",user_tier="2"} 0.25"#,
        ] {
            assert!(scrape.lines().any(|found| found == line), "{line} is not in\n{scrape}");
        }
    });
}

async fn an_incident_is_assigned_to_who_is_on_call(database: &Database) {
    on_host!(database, host => {
        let on_call = Uuid::from_u128(8);
        let incident = snippets::direct_incident(host.conn().await, on_call, &user()).await.unwrap();
        assert_eq!(services::incident(&mut host.conn().await, incident.id).await.unwrap(), incident);
        assert_eq!((incident.assigned_to, incident.created_by), (Some(on_call), Some(user().id)));
        assert_eq!(incident.description.as_deref(), Some("Stripe API latency increased"));
    });
}

async fn the_statistics_make_an_exposition(database: &Database) {
    on_host!(database, host => {
        for _ in 0..3 {
            snippets::error_tracking(host.conn().await).await.unwrap();
        }
        let text = snippets::get_prometheus_metrics(host.conn().await).await.unwrap();
        let expected = "# HELP app_events_total Total events\n# TYPE app_events_total counter\napp_events_total 3\n";
        assert_eq!(text, expected);
    });
}
