//! The client against receivers that misbehave: plain sockets on threads of their own, so that
//! every byte is under control.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::super::exchange::MAX_RESPONSE_BYTES;
use super::*;
use crate::deliver::request::tests::{facts, webhook};
use crate::domain::attempt::Fault;
use bytes::Bytes;

/// Longer than a busy machine needs to answer; no test should reach it.
const LONG_TIMEOUT: Duration = Duration::from_secs(20);
/// Deadline of exchanges with receivers that never answer.
const SHORT_TIMEOUT: Duration = Duration::from_millis(700);

/// Answers each connection with `handle`, on a thread of its own.
#[expect(clippy::disallowed_methods, reason = "a server of a test ends with it")]
fn receiver(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = Arc::clone(&handle);
            thread::spawn(move || handle(stream));
        }
    });
    address
}

/// Reads one request: its head and, by `Content-Length`, its body.
fn read_request(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// A receiver that reads a request, writes these bytes, and then does `then` with the connection.
fn answering(bytes: &'static [u8], then: fn(TcpStream)) -> SocketAddr {
    receiver(move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(bytes);
        then(stream);
    })
}

fn close(stream: TcpStream) {
    let _ = stream.shutdown(Shutdown::Both);
}

fn hang(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut vec![]);
}

fn lookup(answer: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Lookup {
    Arc::new(move |name, _| {
        let answer = answer(&name);
        Box::pin(async move { answer })
    })
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn options() -> ClientOptions {
    ClientOptions {
        rules: AddressRules {
            allow: vec!["127.0.0.0/8".parse().expect("a network")],
            deny: vec![],
        },
        timeout: LONG_TIMEOUT,
        connect_timeout: LONG_TIMEOUT,
        extra_roots_pem: None,
        lookup: lookup(|_| Ok(vec![ip("127.0.0.1")])),
        allow_http: true,
        max_connections: 64,
    }
}

fn client(options: ClientOptions) -> WebhookClient {
    WebhookClient::new(options).expect("a client")
}

fn request(url: &str) -> WebhookRequest {
    WebhookRequest::build(&webhook(url), &facts("{\"a\":1}"))
}

fn short_deadlines() -> ClientOptions {
    ClientOptions {
        timeout: SHORT_TIMEOUT,
        connect_timeout: SHORT_TIMEOUT,
        ..options()
    }
}

async fn exchange(options: ClientOptions, address: SocketAddr) -> Exchange {
    let url = format!("http://receiver.test:{}/hook-path", address.port());
    let exchange = client(options).exchange(&request(&url)).await;
    let error = exchange.error.as_deref().unwrap_or_default();
    assert!(!error.contains("hook-path") && error.len() < 120, "{error}");
    exchange
}

fn assert_ended(exchange: &Exchange, result: AttemptResult, status: Option<u16>, error: Option<&str>) {
    assert_eq!(
        (exchange.result, exchange.status, exchange.error.as_deref()),
        (result, status, error),
        "{exchange:?}"
    );
}

/// A receiver that counts its connections.
fn counting() -> (SocketAddr, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let address = receiver(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    (address, calls)
}

mod addresses;
mod bounds;
mod reuse;
mod answers;
mod encrypted;
