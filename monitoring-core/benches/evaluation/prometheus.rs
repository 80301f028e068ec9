//! A Prometheus that evaluates rules over what is written to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::Outcome;

pub(crate) struct Prometheus {
    address: SocketAddr,
    /// It ends with this value.
    child: Child,
}

/// A series to be written: its labels, and its samples at milliseconds since 1970.
pub(crate) type Written<'s> = (&'s [(String, String)], &'s [(i64, f64)]);

impl Prometheus {
    pub(crate) async fn start(folder: &Path, rules: &str) -> Outcome<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?;
        std::fs::write(folder.join("rules.yml"), rules)?;
        let config = folder.join("prometheus.yml");
        std::fs::write(&config, "rule_files: [rules.yml]\n")?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let server = Self { address, child };
        while server.get("/status/buildinfo").await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(server)
    }

    /// Its process.
    pub(crate) fn id(&self) -> Outcome<u32> {
        Ok(self.child.id().ok_or("it has ended")?)
    }

    /// The data of an answer.
    pub(crate) async fn get(&self, path: &str) -> Outcome<Value> {
        let body = self.send(format!("GET /api/v1{path} HTTP/1.0\r\n\r\n").into_bytes()).await?;
        let mut answer: Value = serde_json::from_slice(&body)?;
        Ok(answer["data"].take())
    }

    pub(crate) async fn write(&self, series: &[Written<'_>]) -> Outcome<()> {
        let body = stored_snappy(&write_request(series));
        let mut request = format!(
            "POST /api/v1/write HTTP/1.0\r\ncontent-encoding: snappy\r\ncontent-type: application/x-protobuf\r\n\
             x-prometheus-remote-write-version: 0.1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend(body);
        self.send(request).await.map(drop)
    }

    /// Sends a request and returns the body of the answer.
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

/// The message of remote write: repeated series (1) of labels (1: name 1, value 2) and samples (2: value 1
/// as a double, time 2).
fn write_request(series: &[Written<'_>]) -> Vec<u8> {
    let mut message = Vec::new();
    for (labels, samples) in series {
        let mut of_series = Vec::new();
        for (name, value) in *labels {
            let mut label = Vec::new();
            put_bytes(&mut label, 1, name.as_bytes());
            put_bytes(&mut label, 2, value.as_bytes());
            put_bytes(&mut of_series, 1, &label);
        }
        for (time, value) in *samples {
            let mut sample = vec![1 << 3 | 1];
            sample.extend(value.to_le_bytes());
            sample.push(2 << 3);
            put_number(&mut sample, time.cast_unsigned());
            put_bytes(&mut of_series, 2, &sample);
        }
        put_bytes(&mut message, 1, &of_series);
    }
    message
}

fn put_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | 2);
    put_number(message, bytes.len() as u64);
    message.extend(bytes);
}

fn put_number(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

/// A block of Snappy that holds the bytes as they are: their number, and one literal.
fn stored_snappy(bytes: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(bytes.len() + 16);
    put_number(&mut block, bytes.len() as u64);
    block.push(63 << 2);
    block.extend((bytes.len() as u32).wrapping_sub(1).to_le_bytes());
    block.extend(bytes);
    block
}
