//! Endpoints that misbehave on purpose, byte by byte. Each is an attempt with an exact result, in
//! time, beside a healthy endpoint that notices nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::app::Deployment;
use crate::support::eventually;
use crate::support::receiver::Receiver;

const TIMEOUT: Duration = Duration::from_secs(60);
/// Deadline of an exchange.
const DEADLINE_SECONDS: u64 = 2;
/// Longest time by which a busy machine may overrun it.
const SLACK_MS: i64 = 900;

type Handle = Arc<dyn Fn(TcpStream) + Send + Sync>;

/// Answers each connection on a thread of its own, after its request was read.
fn receiver(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle: Handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = Arc::clone(&handle);
            thread::spawn(move || {
                read_request(&stream);
                handle(stream);
            });
        }
    });
    address
}

fn read_request(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let _ = reader.read_exact(&mut vec![0; length]);
}

fn hang(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Writes `first`, then `again` until the other side has had enough.
fn flood(first: &'static [u8], again: &'static [u8]) -> SocketAddr {
    receiver(move |mut stream| {
        let _ = stream.write_all(first);
        while stream.write_all(again).is_ok() {}
    })
}

/// Writes `first`, then a byte at a time with a pause.
fn drip(first: &'static [u8], again: &'static [u8]) -> SocketAddr {
    receiver(move |mut stream| {
        let _ = stream.write_all(first);
        while stream.write_all(again).is_ok() {
            // The pause is the receiver's slowness, which is what is tested.
            thread::sleep(Duration::from_millis(50));
        }
    })
}

fn answer(bytes: &'static [u8], then: fn(TcpStream)) -> SocketAddr {
    receiver(move |mut stream| {
        let _ = stream.write_all(bytes);
        then(stream);
    })
}

fn close(stream: TcpStream) {
    let _ = stream.shutdown(Shutdown::Both);
}

/// Closes with a reset: data that came in is left unread.
fn reset() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.peek(&mut [0; 1]);
        }
    });
    address
}

/// Name, address, and the first attempt's result and status.
fn kinds() -> Vec<(&'static str, String, &'static str, Option<i32>)> {
    let http = |address: SocketAddr| format!("http://{address}/hook");
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    vec![
        ("hang", http(answer(b"", hang)), "timeout", None),
        ("drip-head", http(drip(b"HTTP/1.1 200 OK\r\nX: ", b"y")), "timeout", None),
        (
            "drip-body",
            http(drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")),
            "timeout",
            Some(200),
        ),
        ("reset", http(reset()), "reset", None),
        ("close", http(answer(b"", close)), "reset", None),
        (
            "half-close",
            http(answer(b"", |stream| {
                let _ = stream.shutdown(Shutdown::Write);
                hang(stream);
            })),
            "reset",
            None,
        ),
        (
            "endless-body",
            http(flood(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 4_096])),
            "2xx",
            Some(200),
        ),
        (
            "endless-failure",
            http(flood(b"HTTP/1.1 500 Oh\r\n\r\n", &[b'x'; 4_096])),
            "5xx",
            Some(500),
        ),
        (
            "gzip-bomb",
            http(flood(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1000000000\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03",
                &[0; 4_096],
            )),
            "2xx",
            Some(200),
        ),
        (
            "one-byte-chunks",
            http(flood(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")),
            "2xx",
            Some(200),
        ),
        (
            "redirect-loop",
            http(answer(b"HTTP/1.1 302 F\r\nLocation: /hook\r\nContent-Length: 0\r\n\r\n", hang)),
            "3xx",
            Some(302),
        ),
        ("huge-head", http(flood(b"HTTP/1.1 200 OK\r\nX: ", &[b'y'; 4_096])), "protocol", None),
        ("many-lines", http(flood(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")), "protocol", None),
        ("endless-1xx", http(flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n")), "protocol", None),
        ("http-0.9", http(answer(b"hello, world\n", close)), "protocol", None),
        ("not-http", http(answer(b"SSH-2.0-OpenSSH_9.6\r\n", hang)), "protocol", None),
        (
            "cut-off-success",
            http(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", close)),
            "2xx",
            Some(200),
        ),
        (
            "untidy-head",
            http(answer(
                b"HTTP/1.1 200 OK\r\nServer : odd\r\nX-Fold: a\r\n b\r\nX-Del: a\x7fb\r\nX Blank: 1\r\nContent-Length: 0\r\n\r\n",
                hang,
            )),
            "2xx",
            Some(200),
        ),
        ("http-1.0", http(answer(b"HTTP/1.0 200 OK\r\n\r\nok", close)), "2xx", Some(200)),
        ("refused", http(refused), "connect", None),
        ("no-tls", format!("https://{}/hook", answer(b"HTTP/1.1 400 Plain\r\n\r\n", hang)), "tls", None),
        ("no-name", "http://no-such-name.invalid/hook".to_owned(), "dns", None),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hostile_receiver_is_one_exact_result_in_time() {
    let timeout = format!("{DEADLINE_SECONDS}s");
    let deployment = Deployment::create(&[
        ("webhooks.timeout", &timeout),
        ("webhooks.connect_timeout", &timeout),
        ("webhooks.retry_schedules", "{default=[\"1h\"]}"),
        ("http.requests_per_second", "1000"),
        ("http.burst", "1000"),
    ])
    .await;
    let process = deployment.serve(&[]).await;
    let healthy = Receiver::start().await;
    deployment
        .goal_webhook(&process, "healthy.example", &healthy.url("hook"))
        .await;
    let kinds = kinds();
    for (name, url, ..) in &kinds {
        deployment
            .goal_webhook(&process, &format!("{name}.example"), url)
            .await;
    }
    deployment.registry_is_read(&process).await;
    let memory = "process_resident_memory_bytes";
    let before = process.metric(memory).await;
    for (name, ..) in &kinds {
        for site in [*name, "healthy"] {
            let site = format!("{site}.example");
            deployment
                .publish(json!({"site_id": site, "type": "goal", "name": "Signup"}))
                .await;
        }
    }
    healthy.wait_for("hook", kinds.len()).await;
    for (name, _, result, status) in &kinds {
        let found: (String, Option<i32>, i64, String) = eventually(name, TIMEOUT, || async {
            sqlx::query_as(
                "select a.result, a.status_code, (extract(epoch from a.ended_at - a.started_at) * 1000)::bigint,
                        coalesce(a.error, '')
                 from delivery_attempts a join deliveries d on d.id = a.delivery_id
                 where d.site_id = $1 and a.attempt = 1",
            )
            .bind(format!("{name}.example"))
            .fetch_optional(&deployment.database.pool)
            .await
            .unwrap()
        })
        .await;
        assert_eq!(
            (found.0.as_str(), found.1),
            (*result, *status),
            "{name}: {found:?}"
        );
        let longest = i64::try_from(DEADLINE_SECONDS).unwrap() * 1_000 + SLACK_MS;
        assert!(found.2 <= longest, "{name}: {found:?}");
    }
    let late: i64 = sqlx::query_scalar(
        "select coalesce(max(extract(epoch from a.ended_at - a.started_at) * 1000), 0)::bigint
         from delivery_attempts a join deliveries d on d.id = a.delivery_id where d.site_id = 'healthy.example'",
    )
    .fetch_one(&deployment.database.pool)
    .await
    .unwrap();
    assert!(late < 1_000, "the healthy endpoint took {late} ms");
    let grown = process.metric(memory).await - before;
    assert!(grown < 64e6, "{grown} bytes more");
}
