//! A mail server that takes everything it is told, or refuses recipients.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(crate) struct MailServer {
    pub(crate) port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    /// What recipients are answered, in whichever mail; those without an answer of their own get the last.
    recipients: &'static [&'static str],
    answered: AtomicUsize,
    acceptor: Option<TlsAcceptor>,
    heard: Mutex<String>,
}

impl MailServer {
    pub(crate) async fn start(recipients: &'static [&'static str]) -> Self {
        Self::start_with(recipients, None).await
    }

    /// One that takes no mail but over TLS, if it can.
    pub(crate) async fn start_with(
        recipients: &'static [&'static str],
        acceptor: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answered, heard) = Default::default();
        let inner = Arc::new(Inner { recipients, answered, acceptor, heard });
        let serving = inner.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        Self { port, inner }
    }

    /// All that clients said.
    pub(crate) fn heard(&self) -> String {
        self.inner.heard.lock().unwrap().clone()
    }
}

impl Inner {
    async fn serve(&self, mut stream: TcpStream) {
        stream.write_all(b"220 mail\r\n").await.unwrap();
        let mut plain = BufReader::new(stream);
        let Some(acceptor) = &self.acceptor else {
            return self.converse(&mut plain, "250 well").await;
        };
        self.converse(&mut plain, "250-well\r\n250 STARTTLS").await;
        if let Ok(mut secured) = acceptor.accept(plain.into_inner()).await.map(BufReader::new) {
            self.heard.lock().unwrap().push_str("(secured)\r\n");
            self.converse(&mut secured, "250-well\r\n250 AUTH PLAIN").await;
        }
    }

    /// Listens until the other side is done, or wants to go on over TLS.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut BufReader<S>, hello: &str) {
        let (mut is_body, mut line) = (false, String::new());
        while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
            self.heard.lock().unwrap().push_str(&line);
            let answer = match line.trim_end() {
                "." => Some("250 taken"),
                _ if is_body => None,
                "DATA" => Some("354 go on"),
                "QUIT" => Some("221 bye"),
                "STARTTLS" => Some("220 go on"),
                text if text.starts_with("EHLO") => Some(hello),
                text if text.starts_with("AUTH") => Some("235 welcome"),
                text if text.starts_with("RCPT") => Some(self.next_answer()),
                _ => Some("250 well"),
            };
            is_body = line.trim_end() == "DATA" || (is_body && line.trim_end() != ".");
            if let Some(answer) = answer
                && stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err()
            {
                return;
            }
            if line.trim_end() == "STARTTLS" {
                return;
            }
            line.clear();
        }
    }

    fn next_answer(&self) -> &'static str {
        let at = self.answered.fetch_add(1, Ordering::Relaxed);
        self.recipients[at.min(self.recipients.len() - 1)]
    }
}
