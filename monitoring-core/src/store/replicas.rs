//! What a store promises about replicas.

use chrono::{DateTime, Utc};

use crate::model::Replica;

super::store_trait! {
    /// Processes that can be scraped, each known by its address.
    ReplicaStore {
        /// Notes that a replica is there.
        fn see_replica(replica: &Replica) -> ();

        /// Forgets a replica, unless another process has come to its address.
        fn remove_replica(replica: &Replica) -> ();

        /// Forgets replicas that were last seen before.
        fn forget_replicas(seen_before: DateTime<Utc>) -> ();

        /// Replicas seen since, by address; at most `limit`.
        fn replicas(seen_since: DateTime<Utc>, limit: u32) -> Vec<Replica>;
    }
}
