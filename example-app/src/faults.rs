//! Switches that break the payment gateway on purpose, so that there is something to see.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::{Deserialize, Serialize};

use crate::auth::CurrentUser;
use crate::http::{Answer, AppError, FieldError, Json, ok};
use crate::payments::PoolState;
use crate::state::AppState;
use crate::users::Role;

const DELAY_MS_MAX: u64 = 60_000;

/// What is broken. A switch left out of a request is off.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Faults {
    /// Every call to the gateway takes this much longer.
    pub(crate) gateway_delay_ms: u64,
    /// This share of the calls fails, evenly spread: 0.5 fails every second one.
    pub(crate) gateway_failure_ratio: f64,
    /// Every call keeps its connection, until none is left.
    pub(crate) gateway_pool_leak: bool,
}

/// The switches as they are now; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultSwitches {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    faults: Faults,
    /// Failures owed so far; a call that brings it to one fails.
    owed: f64,
}

/// What one call to the gateway has to suffer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Suffering {
    pub(crate) delay: Duration,
    pub(crate) fails: bool,
    pub(crate) leaks: bool,
}

impl FaultSwitches {
    pub(crate) fn now(&self) -> Faults {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).faults
    }

    fn set(&self, faults: Faults) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        *inner = Inner { faults, owed: 0.0 };
    }

    /// Decides the fate of the next call.
    pub(crate) fn next_call(&self) -> Suffering {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.owed += inner.faults.gateway_failure_ratio;
        // A little less than one, because ten times 0.1 is not quite one.
        let fails = inner.owed > 1.0 - 1e-9;
        if fails {
            inner.owed -= 1.0;
        }
        Suffering {
            delay: Duration::from_millis(inner.faults.gateway_delay_ms),
            fails,
            leaks: inner.faults.gateway_pool_leak,
        }
    }
}

pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/faults", get(show_faults).put(set_faults))
}

#[derive(Debug, Serialize)]
struct FaultReport {
    #[serde(flatten)]
    faults: Faults,
    gateway_pool: PoolState,
}

async fn show_faults(
    State(state): State<AppState>,
    CurrentUser(caller): CurrentUser,
) -> Result<Answer<FaultReport>, AppError> {
    caller.require(Role::Admin)?;
    Ok(ok(report(&state)))
}

async fn set_faults(
    State(state): State<AppState>,
    CurrentUser(caller): CurrentUser,
    Json(faults): Json<Faults>,
) -> Result<Answer<FaultReport>, AppError> {
    caller.require(Role::Admin)?;
    validate(&faults)?;
    state.gateway().faults().set(faults);
    if !faults.gateway_pool_leak {
        state.gateway().reclaim_leaked();
    }
    tracing::warn!(by = %caller.id, ?faults, "fault switches changed");
    Ok(ok(report(&state)))
}

fn report(state: &AppState) -> FaultReport {
    let gateway = state.gateway();
    FaultReport { faults: gateway.faults().now(), gateway_pool: gateway.pool_state() }
}

fn validate(faults: &Faults) -> Result<(), AppError> {
    let mut errors = Vec::new();
    if faults.gateway_delay_ms > DELAY_MS_MAX {
        let message = format!("must be from 0 to {DELAY_MS_MAX}");
        errors.push(FieldError::new("gateway_delay_ms", message));
    }
    if !(0.0..=1.0).contains(&faults.gateway_failure_ratio) {
        errors.push(FieldError::new("gateway_failure_ratio", "must be from 0 to 1"));
    }
    if errors.is_empty() { Ok(()) } else { Err(AppError::Invalid(errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures_in(calls: usize, ratio: f64) -> usize {
        let switches = FaultSwitches::default();
        switches.set(Faults { gateway_failure_ratio: ratio, ..Faults::default() });
        (0..calls).filter(|_| switches.next_call().fails).count()
    }

    #[test]
    fn the_failing_share_is_exact() {
        assert_eq!(failures_in(100, 0.0), 0);
        assert_eq!(failures_in(100, 0.1), 10);
        assert_eq!(failures_in(100, 0.5), 50);
        assert_eq!(failures_in(100, 1.0), 100);
    }
}
