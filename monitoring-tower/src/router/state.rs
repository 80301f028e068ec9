//! What all handlers share.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use monitoring_core::{LentConnection, Monitoring, PooledConnection};

use super::authenticator::AnyAuthenticator;
use super::error::Answer;
use super::open_streams::OpenStreams;
use super::stream::COUNTED_FOR;

/// How long an answer waits for what this process has just recorded.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Shared by all handlers of one router; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct RouterState {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    monitoring: Monitoring,
    authenticator: AnyAuthenticator,
    options: Options,
    streams: OpenStreams,
}

/// What the builder can change.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub request_timeout: Duration,
    pub streams_max: usize,
    pub streams_per_caller_max: usize,
    pub stream_poll_interval: Duration,
    /// Resolves when streams shall end; never, unless the host says so.
    pub shutdown: Shared<BoxFuture<'static, ()>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            streams_max: 64,
            streams_per_caller_max: 8,
            stream_poll_interval: Duration::from_secs(1),
            shutdown: std::future::pending().boxed().shared(),
        }
    }
}

impl RouterState {
    pub(super) fn new(monitoring: Monitoring, authenticator: AnyAuthenticator, options: Options) -> Self {
        let (max, per_caller_max) = (options.streams_max, options.streams_per_caller_max);
        let streams = OpenStreams::new(max, per_caller_max, COUNTED_FOR);
        Self { inner: Arc::new(Inner { monitoring, authenticator, options, streams }) }
    }

    pub(super) fn monitoring(&self) -> &Monitoring {
        &self.inner.monitoring
    }

    pub(super) fn authenticator(&self) -> &AnyAuthenticator {
        &self.inner.authenticator
    }

    pub(super) fn options(&self) -> &Options {
        &self.inner.options
    }

    /// The event streams that are open.
    pub(super) fn streams(&self) -> &OpenStreams {
        &self.inner.streams
    }

    /// A connection to look things up with.
    pub(super) async fn read(&self) -> Answer<LentConnection> {
        Ok(self.lend().await?)
    }

    /// The same, for those who answer in other words. No statement goes on when nobody can be waiting for it.
    pub(super) async fn lend(&self) -> monitoring_core::Result<LentConnection> {
        self.inner.monitoring.lend_read(self.inner.options.request_timeout).await
    }

    /// A connection to change things with.
    pub(super) async fn write(&self) -> Answer<PooledConnection> {
        Ok(self.inner.monitoring.acquire().await?)
    }

    /// Lets what this process has recorded so far reach the database, so that a caller finds in
    /// the answer what it has just sent. An answer that misses the latest is better than none, so
    /// this waits for a moment only and never fails.
    pub(super) async fn flush(&self) {
        self.wait_for(self.inner.monitoring.recorder().flush()).await;
    }

    /// The same for events alone, which is much cheaper: it writes no samples.
    pub(super) async fn flush_events(&self) {
        self.wait_for(self.inner.monitoring.recorder().flush_events()).await;
    }

    async fn wait_for(&self, flush: impl Future<Output = monitoring_core::Result<()>>) {
        if !matches!(tokio::time::timeout(FLUSH_TIMEOUT, flush).await, Ok(Ok(()))) {
            tracing::debug!(target: "monitoring_tower", "answering before the latest records are stored");
        }
    }
}
