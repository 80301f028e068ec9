//! Evaluates rules, on one replica at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::leader::run_led;
use crate::evaluation::Evaluator;
use crate::store::Pool;
use crate::store::leases::Lease;

/// Before it begins again, should it ever end.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub(crate) async fn evaluate_rules(pool: Pool, evaluator: Arc<Evaluator>, stop: CancellationToken) {
    let evaluator = &*evaluator;
    let work = |lease: Lease| async move { evaluator.run(&lease).await };
    run_led(pool, "alert_evaluation", PAUSE, stop, work).await;
}
