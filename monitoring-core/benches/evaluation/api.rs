//! Speaks the HTTP API of Prometheus, plainly: a connection a request.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Outcome;

/// A server, and what the paths of its API begin with.
pub(crate) struct Api {
    pub address: SocketAddr,
    pub base: &'static str,
}

impl Api {
    /// The body of an answer.
    pub(crate) async fn get(&self, path: &str) -> Outcome<Vec<u8>> {
        self.send(format!("GET {}{path} HTTP/1.0\r\n\r\n", self.base).into_bytes()).await
    }

    /// Sends a message of remote write, compressed as that has it.
    pub(crate) async fn write(&self, body: &[u8]) -> Outcome<()> {
        let mut request = format!(
            "POST {}/write HTTP/1.0\r\ncontent-encoding: snappy\r\ncontent-type: application/x-protobuf\r\n\
             x-prometheus-remote-write-version: 0.1.0\r\ncontent-length: {}\r\n\r\n",
            self.base,
            body.len()
        )
        .into_bytes();
        request.extend(body);
        self.send(request).await.map(drop)
    }

    async fn send(&self, request: Vec<u8>) -> Outcome<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(&request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or("no answer")? + 4;
        let head = String::from_utf8_lossy(&answer[..end]);
        if head.split(' ').nth(1).is_none_or(|status| !status.starts_with('2')) {
            return Err(format!("{head}{}", String::from_utf8_lossy(&answer[end..])).into());
        }
        answer.drain(..end);
        Ok(answer)
    }
}
