//! What a store promises about receivers of notifications.

use chrono::{DateTime, Utc};

use crate::model::{Page, ReachableReceiver, Receiver, ReceiverId, Secrets, Slice};

super::store_trait! {
    /// Receivers. Their names are unique.
    ReceiverStore {
        /// Adds a receiver; a conflict if its name is taken.
        fn insert_receiver(receiver: &Receiver, secrets: &Secrets) -> ();

        /// The receiver with this id.
        fn receiver(id: ReceiverId) -> Option<Receiver>;

        /// Receivers, newest first.
        fn receivers(page: &Page) -> Slice<Receiver>;

        /// The receiver with its secrets, for whoever has to reach it.
        fn reachable_receiver(id: ReceiverId) -> Option<ReachableReceiver>;

        /// The same, and nobody else changes it until the transaction ends.
        fn lock_receiver(id: ReceiverId) -> Option<ReachableReceiver>;

        /// Has a receiver left alone until a time at least.
        fn keep_quiet(id: ReceiverId, until: DateTime<Utc>) -> ();

        /// Writes a receiver whose version is `version`, and forgets that it wanted quiet; false if there is
        /// none. A conflict if its new name is taken.
        fn update_receiver(receiver: &Receiver, secrets: &Secrets, version: i64) -> bool;

        /// Removes a receiver; false if there is none.
        fn delete_receiver(id: ReceiverId) -> bool;
    }
}
