//! One plain HTTP request to a listener of this machine. The webhook client would refuse a loopback address, as it should.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer read.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) token: Option<&'a str>,
    /// JSON.
    pub(super) body: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// A `GET` without a token.
    pub(super) fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            token: None,
            body: None,
        }
    }
}

/// Asks within 5 s; returns status and body.
pub(super) async fn ask(address: SocketAddr, ask: Ask<'_>) -> anyhow::Result<(u16, String)> {
    tokio::time::timeout(TIMEOUT, exchange(address, ask))
        .await
        .with_context(|| format!("no answer from http://{address}{} within 5 s", ask.path))?
}

async fn exchange(address: SocketAddr, ask: Ask<'_>) -> anyhow::Result<(u16, String)> {
    let Ask {
        method,
        path,
        token,
        body,
    } = ask;
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("nothing listens on {address}"))?;
    // HTTP/1.0: the answer ends where the connection does.
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n");
    if let Some(token) = token {
        request.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    let body = body.unwrap_or_default();
    if !body.is_empty() {
        request.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    stream
        .write_all(format!("{request}\r\n{body}").as_bytes())
        .await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("the answer has no status")?;
    Ok((status, body.trim().to_owned()))
}
