//! What a store promises about the routing of alerts.

use crate::model::StoredRouting;

super::store_trait! {
    /// The routing: one document.
    RoutingStore {
        /// The routing that holds.
        fn routing() -> StoredRouting;

        /// The same, and nobody else changes it, or locks it, until the transaction ends.
        fn lock_routing() -> StoredRouting;

        /// Writes the routing.
        fn put_routing(routing: &StoredRouting) -> ();
    }
}
