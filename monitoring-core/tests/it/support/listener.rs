//! A receiver that writes down what it is told.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What was sent.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Heard {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What is answered: a status line's end with headers, such as `429 Slow\r\nretry-after: 7`, or nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    Head(&'static str),
    /// The same, and then the head of the request, as many servers do.
    Echo(&'static str),
    Nothing,
}

#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    says: Arc<Mutex<VecDeque<Says>>>,
    news: Arc<Notify>,
}

impl Listener {
    /// Listens, and answers as told, `200 OK` in the end.
    pub(crate) async fn start(says: &[Says]) -> Self {
        Self::start_over(says, |stream| async move { Some(stream) }).await
    }

    /// The same over what becomes of each connection.
    pub(crate) async fn start_over<S, A, F>(says: &[Says], accept: A) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
        A: Fn(TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = Option<S>> + Send,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let says = says.iter().copied().collect::<VecDeque<_>>();
        let new = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            says: Arc::new(Mutex::new(says)),
            news: Arc::default(),
        };
        let (serving, accept) = (new.clone(), Arc::new(accept));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, accept) = (serving.clone(), accept.clone());
                tokio::spawn(async move {
                    if let Some(stream) = accept(stream).await {
                        serving.serve(stream).await;
                    }
                });
            }
        });
        new
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until so much was heard.
    pub(crate) async fn wait_for(&self, number: usize) -> Vec<Heard> {
        loop {
            let news = self.news.notified();
            if self.heard().len() >= number {
                return self.heard();
            }
            tokio::time::timeout(std::time::Duration::from_secs(60), news).await.expect("it is heard");
        }
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
        loop {
            let heard = read(&mut stream).await?;
            let request = heard.head.clone();
            self.heard.lock().unwrap().push(heard);
            self.news.notify_waiters();
            let says = self.says.lock().unwrap().pop_front().unwrap_or(Says::Head("200 OK"));
            let (head, body) = match says {
                Says::Head(head) => (head, "no".to_owned()),
                Says::Echo(head) => (head, request),
                Says::Nothing => std::future::pending().await,
            };
            let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Heard> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(Heard { head: head.to_owned(), body: body.to_owned() });
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}
