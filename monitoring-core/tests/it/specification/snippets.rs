//! The code of the specification, letter by letter, and not formatted for that reason. What stands
//! around it is what such an application would have: a connection, a user, an error type.
//!
//! `DbConn` is a type parameter, so that the same code runs on a pool's connection, a bare one and
//! an open transaction of both databases.
//!
//! One letter differs: in the middleware, `level` has to be text of its own (`.to_string()`), which
//! that snippet has everywhere else.

use std::collections::HashMap;
use std::time::Instant;

use monitoring_core as monitoring;
use monitoring::handlers::{CreateTaskRequest, TaskProcessor};
use monitoring::{
    AsConnection, CreateEventRequest, CreateIncidentRequest, CreateMetricRequest, Event, EventLogger,
    EventType, Incident, IncidentSeverity, Metric, MetricType, services,
};
use serde_json::json;
use uuid::Uuid;

/// The application's own error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("card declined")]
    Declined,
    #[error(transparent)]
    Monitoring(#[from] monitoring::Error),
}

pub(super) type Result<T, E = Error> = std::result::Result<T, E>;

/// Somebody the application knows.
pub(super) struct User {
    pub id: Uuid,
    pub username: &'static str,
    pub tier: u8,
    pub region: String,
}

pub(super) async fn direct_service_calls<DbConn: AsConnection>(
    conn: &mut DbConn,
    user_id: Uuid,
) -> Result<(Event, Incident)> {
    // Create event within a database transaction
    let event = services::create_event(conn, CreateEventRequest {
        event_type: EventType::Log,
        source: "internal-service".to_string(),
        message: Some("Operation completed".to_string()),
        level: Some("info".to_string()),
        tags: HashMap::new(),
        payload: HashMap::new(),
        timestamp: None,
    }).await?;

    // Create incident from within another service
    let incident = services::create_incident(conn, CreateIncidentRequest {
        title: "Automated incident".to_string(),
        description: Some("Detected by internal monitoring".to_string()),
        severity: IncidentSeverity::Medium,
        assigned_to: None,
    }, Some(user_id)).await?;

    Ok((event, incident))
}

pub(super) async fn background_task<P: TaskProcessor>(task_processor: P) -> (P, CreateTaskRequest) {
    // Register monitoring task types
    monitoring::handlers::register_monitoring_handlers(&task_processor).await;

    // Create background task for event analysis
    let task = CreateTaskRequest::new(
        "monitoring_event_processing",
        json!({
            "event_type": "log",
            "source": "api-gateway",
            "message": "High error rate detected"
        })
    );

    (task_processor, task)
}

pub(super) async fn login<DbConn: AsConnection>(
    mut conn: DbConn,
    user: &User,
    client_ip: std::net::IpAddr,
    login_successful: bool,
) -> Result<Uuid> {
    let request_id = Uuid::new_v4(); // Generate correlation ID

    // Log successful login
    if login_successful {
        let _event = monitoring::services::create_event(&mut conn, CreateEventRequest {
            event_type: "log".to_string(),
            source: "auth-service".to_string(),
            message: Some(format!("User {} logged in successfully", user.username)),
            level: Some("info".to_string()),
            tags: HashMap::from([
                ("request_id".to_string(), json!(request_id)),
                ("user_id".to_string(), json!(user.id)),
                ("action".to_string(), json!("login")),
                ("ip_address".to_string(), json!(client_ip))
            ]),
            payload: HashMap::new(),
            timestamp: None,
        }).await?;
    }

    Ok(request_id)
}

/// What the middleware knows of a request and its response.
pub(super) struct Exchange {
    pub method: Method,
    pub uri: Uri,
    pub status: Status,
}

pub(super) struct Uri(pub &'static str);

impl Uri {
    fn path(&self) -> &str {
        self.0
    }
}

pub(super) struct Status(pub u16);

impl Status {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.0)
    }

    fn as_u16(&self) -> u16 {
        self.0
    }
}

pub(super) struct Method(pub &'static str);

impl Method {
    fn as_str(&self) -> &str {
        self.0
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

pub(super) fn track_request<DbConn: AsConnection + 'static>(
    acquire: impl Future<Output = Result<DbConn, sqlx::Error>> + Send + 'static,
    request_id: String,
    Exchange { method, uri, status }: Exchange,
) -> tokio::task::JoinHandle<()> {
    let start_time = Instant::now();
    let duration_ms = start_time.elapsed().as_millis() as f64;

    // Log request completion (fire-and-forget)
    tokio::spawn(async move {
        if let Ok(mut conn) = acquire.await {
            let _event = monitoring::services::create_event(&mut conn, CreateEventRequest {
                event_type: "log".to_string(),
                source: "api-gateway".to_string(),
                message: Some(format!("{} {} completed", method, uri.path())),
                level: Some(if status.is_success() { "info" } else { "warn" }.to_string()),
                tags: HashMap::from([
                    ("request_id".to_string(), json!(request_id)),
                    ("method".to_string(), json!(method.as_str())),
                    ("path".to_string(), json!(uri.path())),
                    ("status".to_string(), json!(status.as_u16())),
                    ("duration_ms".to_string(), json!(duration_ms))
                ]),
                payload: HashMap::new(),
                timestamp: None,
            }).await;
        }
    })
}

/// A task of the application's own.
pub(super) struct Task {
    pub id: Uuid,
    pub task_type: String,
    pub priority: u8,
    pub scheduled_for: Option<String>,
}

pub(super) async fn create_task<DbConn: AsConnection>(
    mut conn: DbConn,
    auth_user: &User,
    headers: &HashMap<&str, &str>,
    task: Task,
) -> Result<Task> {
    let request_id = headers
        .get("x-request-id")
        .copied()
        .unwrap_or("unknown");

    // Log business event with correlation
    monitoring::services::create_event(&mut conn, CreateEventRequest {
        event_type: "log".to_string(),
        source: "task-service".to_string(),
        message: Some(format!("Task created: {}", task.task_type)),
        level: Some("info".to_string()),
        tags: HashMap::from([
            ("request_id".to_string(), json!(request_id)),
            ("user_id".to_string(), json!(auth_user.id)),
            ("task_id".to_string(), json!(task.id)),
            ("task_type".to_string(), json!(task.task_type))
        ]),
        payload: HashMap::from([
            ("priority".to_string(), json!(task.priority)),
            ("scheduled_for".to_string(), json!(task.scheduled_for))
        ]),
        timestamp: None,
    }).await?;

    Ok(task)
}

/// The helper that applications are told to write themselves, and that the library has too.
pub(super) mod monitoring_helpers {
    use super::*;

    pub(crate) struct EventLogger<'a, DbConn> {
        conn: &'a mut DbConn,
        request_id: String,
        source: String,
    }

    impl<'a, DbConn: AsConnection> EventLogger<'a, DbConn> {
        pub(crate) fn new(conn: &'a mut DbConn, request_id: String, source: String) -> Self {
            Self { conn, request_id, source }
        }

        pub(crate) async fn log_info(&mut self, message: &str, tags: HashMap<String, serde_json::Value>) -> Result<()> {
            let mut event_tags = HashMap::from([
                ("request_id".to_string(), json!(self.request_id))
            ]);
            event_tags.extend(tags);

            monitoring::services::create_event(self.conn, CreateEventRequest {
                event_type: "log".to_string(),
                source: self.source.clone(),
                message: Some(message.to_string()),
                level: Some("info".to_string()),
                tags: event_tags,
                payload: HashMap::new(),
                timestamp: None,
            }).await?;

            Ok(())
        }

        pub(crate) async fn log_error(&mut self, message: &str, error: &Error) -> Result<()> {
            monitoring::services::create_event(self.conn, CreateEventRequest {
                event_type: "alert".to_string(),
                source: self.source.clone(),
                message: Some(message.to_string()),
                level: Some("error".to_string()),
                tags: HashMap::from([
                    ("request_id".to_string(), json!(self.request_id)),
                    ("error_type".to_string(), json!(error.to_string()))
                ]),
                payload: HashMap::from([
                    ("error_details".to_string(), json!(format!("{:?}", error)))
                ]),
                timestamp: None,
            }).await?;

            Ok(())
        }
    }
}

#[derive(Debug)]
pub(super) struct Payment {
    pub id: u32,
}

pub(super) struct PaymentGateway {
    pub declines: bool,
}

impl PaymentGateway {
    async fn charge(&self, _amount: u32, _currency: &str) -> Result<Payment> {
        if self.declines { Err(Error::Declined) } else { Ok(Payment { id: 7 }) }
    }
}

/// The same handler with the library's logger and with the application's own.
macro_rules! process_payment {
    ($name:ident, $EventLogger:path) => {
        pub(super) async fn $name<DbConn: AsConnection>(
            mut conn: DbConn,
            request_id: String,
            payment_gateway: PaymentGateway,
        ) -> Result<Payment> {
            use $EventLogger as EventLogger;
            let (amount, currency) = (42, "EUR");
            let mut logger = EventLogger::new(&mut conn, request_id, "payment-service".to_string());

            logger.log_info("Payment processing started", HashMap::from([
                ("amount".to_string(), json!(amount)),
                ("currency".to_string(), json!(currency))
            ])).await?;

            match payment_gateway.charge(amount, currency).await {
                Ok(payment) => {
                    logger.log_info("Payment completed successfully", HashMap::from([
                        ("payment_id".to_string(), json!(payment.id))
                    ])).await?;
                    Ok(payment)
                }
                Err(e) => {
                    logger.log_error("Payment failed", &e).await?;
                    Err(e)
                }
            }
        }
    };
}
process_payment!(process_payment, EventLogger);
process_payment!(process_payment_with_own_logger, monitoring_helpers::EventLogger);

/// The function that applications are told to write themselves, and that the library has too.
pub(super) async fn track_endpoint_performance<DbConn: AsConnection>(
    method: &str,
    path: &str,
    status: u16,
    duration_ms: f64,
    conn: &mut DbConn,
) -> Result<()> {
    monitoring::services::create_metric(conn, CreateMetricRequest {
        name: "http_request_duration_ms".to_string(),
        metric_type: MetricType::Histogram,
        value: duration_ms,
        labels: HashMap::from([
            ("method".to_string(), method.to_string()),
            ("path".to_string(), path.to_string()),
            ("status".to_string(), status.to_string())
        ]),
        timestamp: None,
    }).await?;

    monitoring::services::create_metric(conn, CreateMetricRequest {
        name: "http_requests_total".to_string(),
        metric_type: MetricType::Counter,
        value: 1.0,
        labels: HashMap::from([
            ("method".to_string(), method.to_string()),
            ("path".to_string(), path.to_string()),
            ("status".to_string(), status.to_string())
        ]),
        timestamp: None,
    }).await?;

    Ok(())
}

pub(super) async fn application_monitoring<DbConn: AsConnection>(mut conn: DbConn, user: &User) -> Result<()> {
    // Log application events
    let event_request = CreateEventRequest {
        event_type: "log".to_string(), // String validation in service layer
        source: "user-service".to_string(),
        message: Some(format!("User {} logged in", user.username)),
        level: Some("info".to_string()),
        tags: {
            let mut tags = HashMap::new();
            tags.insert("user_id".to_string(), json!(user.id));
            tags.insert("action".to_string(), json!("login"));
            tags
        },
        payload: HashMap::new(),
        timestamp: None,
    };

    monitoring::services::create_event(&mut conn, event_request).await?;
    Ok(())
}

pub(super) async fn performance_metrics<DbConn: AsConnection>(
    mut conn: DbConn,
    request_duration_ms: f64,
) -> Result<()> {
    // Track performance metrics
    let metric_request = CreateMetricRequest {
        name: "api_request_duration".to_string(),
        metric_type: MetricType::Histogram,
        value: request_duration_ms,
        labels: {
            let mut labels = HashMap::new();
            labels.insert("endpoint".to_string(), "/api/users".to_string());
            labels.insert("method".to_string(), "GET".to_string());
            labels.insert("status".to_string(), "200".to_string());
            labels
        },
        timestamp: None,
    };

    monitoring::services::create_metric(&mut conn, metric_request).await?;
    Ok(())
}

pub(super) async fn error_tracking<DbConn: AsConnection>(mut conn: DbConn) -> Result<()> {
    // Track errors with context
    let error_event = CreateEventRequest {
        event_type: "alert".to_string(), // String validation in service layer
        source: "database-service".to_string(),
        message: Some("Connection pool exhausted".to_string()),
        level: Some("error".to_string()),
        tags: {
            let mut tags = HashMap::new();
            tags.insert("severity".to_string(), json!("critical"));
            tags.insert("component".to_string(), json!("database"));
            tags
        },
        payload: {
            let mut payload = HashMap::new();
            payload.insert("pool_size".to_string(), json!(10));
            payload.insert("active_connections".to_string(), json!(10));
            payload.insert("error_code".to_string(), json!("POOL_EXHAUSTED"));
            payload
        },
        timestamp: None,
    };

    monitoring::services::create_event(&mut conn, error_event).await?;
    Ok(())
}

/// What the snippet prints.
pub(super) async fn timeline<DbConn: AsConnection>(mut conn: DbConn, incident_id: Uuid) -> Result<Vec<String>> {
    let mut printed = Vec::new();
    macro_rules! println {
        ($($line:tt)*) => { printed.push(format!($($line)*)) };
    }

    // Get incident timeline
    let timeline = monitoring::services::get_incident_timeline(
        &mut conn,
        incident_id,
        Some(100), // limit
        Some(0),   // offset
    ).await?;

    // Timeline includes events from 1 hour before incident to resolution
    for entry in timeline.entries {
        println!("{}: {} - {}", 
            entry.timestamp, 
            entry.source, 
            entry.message
        );
    }

    Ok(printed)
}

pub(super) async fn custom_metrics<DbConn: AsConnection>(
    mut conn: DbConn,
    conversion_rate: f64,
    user: &User,
) -> Result<[Metric; 2]> {
    // Add custom metrics instantly - no API keys or external setup
    let custom_metric = services::create_metric(&mut conn, CreateMetricRequest {
        name: "user_conversion_rate".to_string(),
        metric_type: MetricType::Gauge,
        value: conversion_rate,
        labels: HashMap::from([
            ("funnel_stage".to_string(), "checkout".to_string()),
            ("user_segment".to_string(), "premium".to_string())
        ]),
        timestamp: None,
    }).await?;

    // Custom business metrics that 3rd parties don't support
    let churn_risk_metric = services::create_metric(&mut conn, CreateMetricRequest {
        name: "user_churn_risk_score".to_string(),
        metric_type: MetricType::Gauge,
        value: 0.25,
        labels: HashMap::from([
            ("user_tier".to_string(), user.tier.to_string()),
            ("region".to_string(), user.region.clone())
        ]),
        timestamp: None,
    }).await?;

    Ok([custom_metric, churn_risk_metric])
}

pub(super) async fn direct_incident<DbConn: AsConnection>(
    mut conn: DbConn,
    on_call_engineer_id: Uuid,
    auth_user: &User,
) -> Result<Incident> {
    // Internal service calls - no HTTP overhead
    let incident = monitoring::services::create_incident(&mut conn, 
        CreateIncidentRequest {
            title: "Payment Processing Degraded".to_string(),
            description: Some("Stripe API latency increased".to_string()),
            severity: IncidentSeverity::High,
            assigned_to: Some(on_call_engineer_id),
        }, 
        Some(auth_user.id)
    ).await?;

    Ok(incident)
}

pub(super) async fn get_prometheus_metrics<DbConn: AsConnection>(mut conn: DbConn) -> Result<String, Error> {
    let stats = services::get_monitoring_stats(&mut conn).await?;
    // Format as Prometheus metrics
    Ok(format!(
        "# HELP app_events_total Total events\n# TYPE app_events_total counter\napp_events_total {}\n",
        stats.total_events
    ))
}
