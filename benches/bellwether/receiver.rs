//! A receiver that costs as little as possible: it shares the machine with the measured processes.
//!
//! HTTP/1.1 with persistent connections, reduced to requests that carry a `Content-Length`, on one
//! thread. It listens on every address, so that 127.0.0.1 … 127.0.0.100 are a hundred hosts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const FAILED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// A request, unparsed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    head: &'a [u8],
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A header's value; `name` in any case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let head = std::str::from_utf8(self.head).ok()?;
        head.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Listens until it is dropped.
pub struct Receiver {
    pub port: u16,
    received: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Receiver {
    /// Starts a receiver. `answer` gets every request and returns true if it succeeds.
    pub fn start(answer: impl Fn(Request<'_>) -> bool + Send + Sync + 'static) -> anyhow::Result<Self> {
        let received = Arc::<AtomicU64>::default();
        let stop = CancellationToken::new();
        let runtime = super::kafka::runtime()?;
        let entered = runtime.enter();
        let listener = listen().context("opening the receiver")?;
        drop(entered);
        let port = listener.local_addr()?.port();
        let (count, until) = (Arc::clone(&received), stop.clone());
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            runtime.block_on(until.run_until_cancelled(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&count)));
                }
            }));
        });
        Ok(Self { port, received, stop })
    }

    /// Requests so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// The URL of a webhook; each has a host of its own.
    pub fn url(&self, number: u32) -> String {
        format!(
            "http://127.0.{}.{}:{}/hook",
            number / 250,
            number % 250 + 1,
            self.port
        )
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Listens on every address. A thousand connections may come at once.
fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([0, 0, 0, 0], 0)))?;
    socket.listen(4_096)
}

/// Answers a connection's requests, one after another, until the client closes it.
async fn serve<F: Fn(Request<'_>) -> bool>(mut stream: TcpStream, answer: Arc<F>, count: Arc<AtomicU64>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(4_096);
    loop {
        while let Some((head, end)) = complete(&buffer) {
            let request = Request {
                head: &buffer[..head],
                body: &buffer[head..end],
            };
            let response = if answer(request) { OK } else { FAILED };
            count.fetch_add(1, Ordering::Release);
            if stream.write_all(response).await.is_err() {
                return;
            }
            buffer.drain(..end);
        }
        if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

/// Ends of the head and of the whole first request, once all of it is there.
fn complete(buffer: &[u8]) -> Option<(usize, usize)> {
    let head = find(buffer, b"\r\n\r\n")? + 4;
    let request = Request {
        head: &buffer[..head],
        body: &[],
    };
    let length: usize = request.header("content-length")?.parse().ok()?;
    (buffer.len() >= head + length).then_some((head, head + length))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
