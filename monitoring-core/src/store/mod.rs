//! What is kept, in either database.
//!
//! A trait per subject says what a store promises, once; [`postgres`] and [`sqlite`] keep the
//! promise, each in its own dialect, and one test suite runs over both. SQL stands nowhere else.
//!
//! Nothing here checks permissions, limits or redaction: that is done before a value gets here.

mod bare;
mod chunk;
mod columns;
mod connection;
mod context;
mod error;
mod migrate;
mod pool;
mod row;
mod transaction;

pub(crate) mod alert_instances;
pub(crate) mod alert_transitions;
pub(crate) mod alerts;
pub(crate) mod analyses;
pub(crate) mod archive;
pub(crate) mod audit;
pub(crate) mod chunks;
pub(crate) mod events;
pub(crate) mod exemplars;
pub(crate) mod incidents;
pub(crate) mod leases;
pub(crate) mod loans;
pub(crate) mod metrics;
pub(crate) mod notification_groups;
pub(crate) mod notifications;
pub(crate) mod partitions;
pub(crate) mod receivers;
pub(crate) mod recording_rules;
pub(crate) mod removal;
pub(crate) mod replicas;
pub(crate) mod routing;
pub(crate) mod rule_groups;
pub(crate) mod rule_states;
pub(crate) mod series;
pub(crate) mod silences;
pub(crate) mod stats;
pub(crate) mod timeline;
pub(crate) mod totals;

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

#[cfg(test)]
#[cfg(feature = "sqlite")]
pub(crate) mod test_pools;
/// For tests that need to look inside.
#[cfg(all(test, feature = "postgres"))]
#[path = "../../tests/it/support/postgres.rs"]
pub(crate) mod test_server;

pub(crate) use bare::BareConnections;
pub(crate) use columns::SampleColumns;
pub(crate) use connection::Store;
pub use connection::{AsConnection, Connection};
pub(crate) use context::Context;
pub use error::StoreError;
pub use loans::LentConnection;
pub(crate) use loans::{Lent, Loans};
pub use pool::PooledConnection;
pub(crate) use pool::{Access, Pool};
pub(crate) use transaction::Transaction;

/// Declares a trait that each dialect implements, and implements it for [`Store`] by passing every
/// call on to the dialect at hand. So a promise is stated once, and a dialect that lacks it does
/// not compile.
macro_rules! store_trait {
    (
        $(#[$trait_doc:meta])*
        $name:ident {
            $(
                $(#[$doc:meta])*
                fn $method:ident($($arg:ident: $type:ty),* $(,)?) -> $output:ty;
            )*
        }
    ) => {
        $(#[$trait_doc])*
        pub(crate) trait $name: Send {
            $(
                $(#[$doc])*
                fn $method(&mut self, $($arg: $type),*)
                -> impl Future<Output = Result<$output, $crate::store::StoreError>> + Send;
            )*
        }

        impl $name for $crate::store::Store<'_> {
            $(
                async fn $method(&mut self, $($arg: $type),*)
                -> Result<$output, $crate::store::StoreError> {
                    match self {
                        #[cfg(feature = "postgres")]
                        Self::Postgres(store) => store.$method($($arg),*).await,
                        #[cfg(feature = "sqlite")]
                        Self::Sqlite(store) => store.$method($($arg),*).await,
                    }
                }
            )*
        }
    };
}
use store_trait;
