//! What becomes of telemetry, and of the host, when a real database fails.

#[cfg(all(feature = "notify", feature = "postgres"))]
mod chaos;
#[cfg(feature = "postgres")]
mod load;
#[cfg(feature = "postgres")]
mod outage;
#[cfg(feature = "postgres")]
mod reckoning;
mod replicas;
#[cfg(feature = "sqlite")]
mod shared_file;
#[cfg(feature = "postgres")]
mod shutdown;
#[cfg(feature = "postgres")]
mod slow;
mod start;
