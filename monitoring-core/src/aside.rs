//! Long computations, beside the tasks of the host.

use crate::store::StoreError;

/// Computes on a thread that may be kept busy, whatever kind of runtime this is and inside a `LocalSet` as
/// well. It is waited for right here; whoever gives up waiting leaves it to run to its end, so it must have one.
///
/// # Errors
///
/// It panicked, or the runtime is shutting down.
pub(crate) async fn aside<T: Send + 'static>(
    computation: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(computation).await.map_err(|_| StoreError::crashed())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::runtime::Builder;
    use tokio::task::LocalSet;

    use super::*;

    /// What a computation gets from a task that runs meanwhile.
    async fn told_meanwhile() -> &'static str {
        let (tell, told) = mpsc::channel();
        let computation = aside(move || told.recv_timeout(Duration::from_secs(20)).unwrap_or("nothing"));
        let meanwhile = async {
            tokio::task::yield_now().await;
            tell.send("hello").ok();
        };
        let (told, ()) = futures_util::future::join(computation, meanwhile).await;
        told.unwrap()
    }

    #[test]
    fn the_only_thread_of_a_runtime_goes_on() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(told_meanwhile()), "hello");
    }

    #[test]
    fn it_may_be_asked_for_inside_a_local_set() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let local = LocalSet::new();
        assert_eq!(
            local.block_on(&runtime, async { tokio::task::spawn_local(told_meanwhile()).await.unwrap() }),
            "hello"
        );
    }

    #[test]
    fn a_panic_is_an_error_and_not_the_hosts() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let panicked = runtime.block_on(aside(|| -> u8 { panic!("on purpose") }));
        assert!(matches!(panicked, Err(StoreError::Database(_))));
    }
}
