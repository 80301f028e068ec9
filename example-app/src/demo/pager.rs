//! A pager: a webhook on a free port, which keeps what it is told.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Json, State};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::DemoError;

/// Rings when a message arrives.
pub(super) struct Pager {
    address: SocketAddr,
    messages: mpsc::UnboundedReceiver<Value>,
    server: JoinHandle<()>,
}

impl Pager {
    pub(super) async fn listen() -> Result<Self, DemoError> {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.map_err(DemoError::io("no port could be opened"))?;
        let address = listener.local_addr().map_err(DemoError::io("the port has no address"))?;
        let (sender, messages) = mpsc::unbounded_channel();
        let service = Router::new().route("/page", post(ring)).with_state(sender);
        let server = tokio::spawn(async move {
            // It ends with the demonstration, and never by itself.
            let _ = axum::serve(listener, service).await;
        });
        Ok(Self { address, messages, server })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/page", self.address)
    }

    /// The next message that says this of all its alerts; others are thrown away.
    pub(super) async fn next(&mut self, status: &str, patience: Duration) -> Result<Value, DemoError> {
        let wanted = async {
            while let Some(message) = self.messages.recv().await {
                if message["status"] == status {
                    return Some(message);
                }
            }
            None
        };
        timeout(patience, wanted).await.ok().flatten().ok_or(DemoError::Missing("a page"))
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn ring(State(sender): State<mpsc::UnboundedSender<Value>>, Json(message): Json<Value>) {
    // Nobody listens any more once the story is told.
    let _ = sender.send(message);
}
