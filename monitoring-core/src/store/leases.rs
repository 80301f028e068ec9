//! What a store promises about leases.

use std::time::Duration;

use uuid::Uuid;

/// The right to do something that only one replica does at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub name: &'static str,
    /// Who holds it.
    pub holder: Uuid,
    /// Grows with every change of hands.
    pub token: i64,
}

super::store_trait! {
    /// Leases, by the clock of the database. What a holder writes under a lease counts only if the
    /// transaction confirms it: however long the holder was away, nobody has taken over then, and
    /// nobody does before the transaction ends.
    LeaseStore {
        /// Takes a lease that nobody holds, or whose time is up, or by force whoever holds it; unless a
        /// transaction goes on that has confirmed it.
        fn acquire_lease(
            name: &'static str,
            holder: Uuid,
            ttl: Duration,
            by_force: bool,
        ) -> Option<Lease>;

        /// Holds on to a lease; false if somebody else has it by now.
        fn renew_lease(lease: &Lease, ttl: Duration) -> bool;

        /// Gives a lease back; false if somebody else has it by now.
        fn release_lease(lease: &Lease) -> bool;

        /// Whether the lease is still held. It stays so until the transaction ends, which does not keep
        /// the holder from renewing it. The transaction ends by itself where nobody goes on with it: nobody
        /// takes over before, and the holder's machine may be gone.
        fn confirm_lease(lease: &Lease) -> bool;
    }
}
