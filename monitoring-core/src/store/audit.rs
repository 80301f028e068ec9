//! What a store promises about the audit log.

use crate::model::{AuditEntry, Page, Slice};

super::store_trait! {
    /// The audit log. Entries are only ever added.
    AuditStore {
        /// Adds an entry, in the transaction of the change it tells of.
        fn insert_audit_entry(entry: &AuditEntry) -> ();

        /// Entries, newest first.
        fn audit_entries(page: &Page) -> Slice<AuditEntry>;
    }
}
