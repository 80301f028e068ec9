//! What a store promises about silences and acknowledgements.

use chrono::{DateTime, Utc};

use crate::model::{Acknowledgement, Fingerprint, Page, Silence, SilenceFilter, SilenceId, Slice};

super::store_trait! {
    /// What people say about alerts.
    SilenceStore {
        /// Adds a silence.
        fn insert_silence(silence: &Silence) -> ();

        /// The silence with this id.
        fn silence(id: SilenceId) -> Option<Silence>;

        /// The same, and nobody else changes it until the transaction ends.
        fn lock_silence(id: SilenceId) -> Option<Silence>;

        /// Silences, newest first.
        fn silences(filter: &SilenceFilter, page: &Page) -> Slice<Silence>;

        /// Writes a silence; false if there is none.
        fn update_silence(silence: &Silence) -> bool;

        /// Removes silences that ended before a time, and tells how many.
        fn forget_silences(before: DateTime<Utc>) -> u64;

        /// Adds an acknowledgement, or replaces the one of the same firing of the same alert.
        fn put_acknowledgement(acknowledgement: &Acknowledgement) -> ();

        /// Takes back the acknowledgement of a firing of an alert.
        fn delete_acknowledgement(fingerprint: Fingerprint, fired_at: DateTime<Utc>) -> ();

        /// Acknowledgements of alerts that fire, which hold at a time, newest first; at most `max`.
        fn acknowledgements(now: DateTime<Utc>, max: u32) -> Vec<Acknowledgement>;

        /// Removes acknowledgements of before a time that are about nothing that fires, and those that held
        /// until then.
        fn forget_acknowledgements(before: DateTime<Utc>) -> u64;
    }
}
