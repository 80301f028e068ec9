//! Which processes are there.

use chrono::TimeDelta;

use crate::error::Result;
use crate::model::Replica;
use crate::store::AsConnection;
use crate::store::replicas::ReplicaStore as _;

/// How long a replica that says nothing counts as there: four times the pause between two signs.
const SILENCE_MAX: TimeDelta = TimeDelta::seconds(60);
/// Replicas listed.
const REPLICAS_MAX: u32 = 10_000;

/// The replicas that are there now, by address: those that were given an
/// [address](crate::MonitoringBuilder::address) and were seen within the last minute.
///
/// # Errors
///
/// Storage failed.
pub async fn replicas(conn: &mut impl AsConnection) -> Result<Vec<Replica>> {
    let mut connection = conn.as_connection();
    let since = connection.context().settings.clock.now() - SILENCE_MAX;
    Ok(connection.store().replicas(since, REPLICAS_MAX).await?)
}
