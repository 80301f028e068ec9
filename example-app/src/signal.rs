//! When the operating system or the person at the terminal asks the shop to stop.

use std::future::Future;
use std::io;

use tokio::signal;

/// Completes on Ctrl-C, and on SIGTERM where there is one. Listens from the call on, so that a
/// signal that comes before the future is polled is not the end of the process.
///
/// # Panics
///
/// Outside of a Tokio runtime.
pub fn stop_signal() -> impl Future<Output = ()> + Send {
    let (interrupt, terminate) = (listener(Kind::Interrupt), listener(Kind::Terminate));
    async {
        tokio::select! {
            () = interrupt => {}
            () = terminate => {}
        }
    }
}

enum Kind {
    Interrupt,
    Terminate,
}

#[cfg(unix)]
fn listener(kind: Kind) -> impl Future<Output = ()> + Send {
    let kind = match kind {
        Kind::Interrupt => signal::unix::SignalKind::interrupt(),
        Kind::Terminate => signal::unix::SignalKind::terminate(),
    };
    let signals: io::Result<_> = signal::unix::signal(kind);
    async {
        match signals {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
async fn listener(kind: Kind) {
    let heard: io::Result<()> = match kind {
        Kind::Interrupt => signal::ctrl_c().await,
        Kind::Terminate => std::future::pending().await,
    };
    if heard.is_err() {
        std::future::pending::<()>().await;
    }
}
