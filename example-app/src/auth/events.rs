//! What happens at the door, told to the monitoring: who came in, who was turned away.
//!
//! Through the recorder, not the database: a flood of wrong passwords must not become a flood
//! of writes. Never the password, and not the name either: people type one into the other's
//! field.

use std::collections::HashMap;
use std::net::IpAddr;

use monitoring_core::{EventLogger, Recorder};
use monitoring_tower::RequestContext;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::monitoring::{AUTH_SERVICE, tags};

/// Tells of one request at the door.
pub(super) struct AuthEvents<'a> {
    logger: EventLogger<&'a Recorder>,
    address: IpAddr,
}

impl<'a> AuthEvents<'a> {
    pub(super) fn new(recorder: &'a Recorder, context: &RequestContext, address: IpAddr) -> Self {
        let logger = EventLogger::new(recorder, context.request_id.to_string(), AUTH_SERVICE)
            .with_trace(context.trace.trace_id, context.trace.span_id);
        Self { logger, address }
    }

    pub(super) async fn registered(&mut self, user_id: Uuid) {
        self.info("user registered", "register", user_id).await;
    }

    pub(super) async fn logged_in(&mut self, user_id: Uuid) {
        self.info("user logged in", "login", user_id).await;
    }

    pub(super) async fn password_changed(&mut self, user_id: Uuid) {
        self.info("password changed", "change_password", user_id).await;
    }

    pub(super) async fn logged_out(&mut self, user_id: Uuid) {
        self.info("user logged out", "logout", user_id).await;
    }

    /// A wrong password, or a name nobody has.
    pub(super) async fn login_failed(&mut self, user_id: Option<Uuid>) {
        self.warn("login failed", "login_failed", user_id).await;
    }

    pub(super) async fn locked_out(&mut self) {
        self.warn("login refused after too many failures", "lock_out", None).await;
    }

    pub(super) async fn registration_refused(&mut self) {
        self.warn("registration refused after too many", "registration_refused", None).await;
    }

    async fn info(&mut self, message: &str, action: &str, user_id: Uuid) {
        let tags = self.tags(action, Some(user_id));
        // The recorder takes everything at once: this neither waits nor fails.
        let _ = self.logger.log_info(message, tags).await;
    }

    async fn warn(&mut self, message: &str, action: &str, user_id: Option<Uuid>) {
        let tags = self.tags(action, user_id);
        let _ = self.logger.log_warn(message, tags).await;
    }

    fn tags(&self, action: &str, user_id: Option<Uuid>) -> HashMap<String, Value> {
        let mut tags = tags([("action", json!(action)), ("ip_address", json!(self.address))]);
        if let Some(user_id) = user_id {
            tags.insert("user_id".to_owned(), json!(user_id));
        }
        tags
    }
}
