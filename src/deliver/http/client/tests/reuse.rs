//! Connections between requests, and requests that were not processed.

use super::encrypted::{call, issued};
use super::*;

fn url_of(address: SocketAddr) -> String {
    format!("http://receiver.test:{}/hook", address.port())
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_reset_on_a_reused_connection_is_tried_on_a_fresh_one() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    // Each connection answers once, then reads one more request and closes without a word.
    let address = receiver(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        read_request(&mut stream);
        let _ = stream.write_all(OK);
        read_request(&mut stream);
    });
    let client = client(options());
    for sent in 1..=3 {
        let exchange = client.exchange(&request(&url_of(address))).await;
        assert_ended(&exchange, AttemptResult::Success, Some(200), None);
        assert_eq!(connections.load(Ordering::SeqCst), sent);
    }
}

#[tokio::test]
async fn a_request_that_was_worked_on_is_not_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let (never, waiting) = std::sync::mpsc::channel::<()>();
    let waiting = Mutex::new(waiting);
    let address = receiver(move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(OK);
        if read_request(&mut stream).is_some() {
            counter.fetch_add(1, Ordering::SeqCst);
            // The work: longer than the news of a close takes.
            let _ = waiting.lock().map(|one| one.recv_timeout(Duration::from_secs(1)));
        }
    });
    let client = client(options());
    let request = request(&url_of(address));
    assert_ended(
        &client.exchange(&request).await,
        AttemptResult::Success,
        Some(200),
        None,
    );
    let text = "the connection ended before a full response";
    assert_ended(
        &client.exchange(&request).await,
        AttemptResult::Reset,
        None,
        Some(text),
    );
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    drop(never);
}

#[tokio::test]
async fn a_reset_on_a_fresh_connection_is_one_failure_and_one_request() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let address = receiver(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        read_request(&mut stream);
    });
    let exchange = exchange(options(), address).await;
    let text = "the connection ended before a full response";
    assert_ended(&exchange, AttemptResult::Reset, None, Some(text));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_to_no_request_is_never_taken_for_the_next_ones() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let address = receiver(move |mut stream| {
        let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        read_request(&mut stream);
        // In one piece: what comes later may be the answer to the next request, as far as anybody
        // can tell.
        let mut answer = OK.to_vec();
        if first {
            answer.extend_from_slice(b"HTTP/1.1 500 Smuggled\r\nContent-Length: 0\r\n\r\n");
        }
        let _ = stream.write_all(&answer);
        hang(stream);
    });
    let client = client(options());
    for _ in 0..2 {
        let exchange = client.exchange(&request(&url_of(address))).await;
        assert_ended(&exchange, AttemptResult::Success, Some(200), None);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_that_goes_away_often_fails_no_request() {
    // As nginx with `keepalive_requests 3`: GOAWAY names the last stream that it looked at, and
    // those above it are cut off.
    const PER_CONNECTION: usize = 3;
    let answered = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&answered);
    let (pem, mut config) = issued("receiver.test", false);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let address = receiver(move |stream| {
        let counter = Arc::clone(&counter);
        stream.set_nonblocking(true).expect("a socket option");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&config));
        let serve = async {
            let stream = acceptor.accept(tokio::net::TcpStream::from_std(stream)?).await?;
            let mut connection = h2::server::handshake(stream).await.map_err(io::Error::other)?;
            let mut requests = 0;
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let _ = respond.send_response(http::Response::new(()), true);
                counter.fetch_add(1, Ordering::SeqCst);
                requests += 1;
                if requests == PER_CONNECTION {
                    connection.graceful_shutdown();
                }
            }
            io::Result::Ok(())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _ = runtime.expect("a runtime").block_on(serve);
    });
    let client = client(ClientOptions {
        extra_roots_pem: Some(pem),
        ..options()
    });
    let request = request(&format!("https://receiver.test:{}/", address.port()));
    for _ in 0..10 {
        let round = (0..8).map(|_| client.exchange(&request));
        for exchange in futures_util::future::join_all(round).await {
            assert_ended(&exchange, AttemptResult::Success, Some(200), None);
        }
    }
    assert_eq!(answered.load(Ordering::SeqCst), 80);
}

/// Reads frames of HTTP/2 until a request has ended.
fn read_http2_request(stream: &mut impl Read) -> Option<()> {
    const PREFACE_BYTES: usize = 24;
    stream.read_exact(&mut [0; PREFACE_BYTES]).ok()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        io::copy(&mut stream.by_ref().take(length.into()), &mut io::sink()).ok()?;
        let (is_data_or_headers, ends_stream) = (head[3] <= 1, head[4] & 1 == 1);
        if is_data_or_headers && ends_stream {
            return Some(());
        }
    }
}

#[tokio::test]
async fn only_streams_above_the_last_of_a_goaway_go_again() {
    use AttemptResult::{Reset, Success};
    // 2 is INTERNAL_ERROR, 11 is ENHANCE_YOUR_CALM.
    for (code, last_stream, goaways, result, sends) in [
        (0, 0, 1, Success, 2),
        (2, 0, 3, Success, 4),
        (11, 0, 1, Success, 2),
        (11, 0, usize::MAX, Reset, MAX_SENDS),
        (0, 1, 1, Reset, 1),
        (11, 1, 1, Reset, 1),
    ] {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let (pem, mut config) = issued("receiver.test", false);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let config = Arc::new(config);
        let address = receiver(move |stream| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            let _ = stream.write_all(&settings);
            read_http2_request(&mut stream);
            if counter.fetch_add(1, Ordering::SeqCst) < goaways {
                let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last_stream, 0, 0, 0, code];
                let _ = stream.write_all(&goaway);
                if last_stream > 0 {
                    return;
                }
            } else {
                let status_200 = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];
                let _ = stream.write_all(&status_200);
            }
            let _ = stream.read_to_end(&mut vec![]);
        });
        let exchange = call(Some(pem), address).await;
        assert_eq!(exchange.result, result, "{code} {last_stream} {exchange:?}");
        assert_eq!(requests.load(Ordering::SeqCst), sends);
    }
}

#[tokio::test]
async fn tls_that_ends_without_close_notify_spoils_no_success() {
    for bytes in [
        &b"HTTP/1.0 200 OK\r\n\r\nuntil the end"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut off",
    ] {
        let (pem, config) = issued("receiver.test", false);
        let config = Arc::new(config);
        let address = receiver(move |stream| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = rustls::StreamOwned::new(connection, stream);
            read_request(&mut stream);
            let _ = stream.write_all(bytes);
            let _ = stream.flush();
            // The socket closes, and TLS says nothing.
        });
        let exchange = call(Some(pem), address).await;
        assert_eq!(
            (exchange.result, exchange.status),
            (AttemptResult::Success, Some(200)),
            "{exchange:?}"
        );
    }
}

#[tokio::test]
async fn with_four_handles_twenty_origins_are_all_reached() {
    let client = client(ClientOptions {
        // The least that the pool accepts is 4.
        max_connections: 4,
        ..options()
    });
    let addresses: Vec<SocketAddr> = (0..20)
        .map(|_| {
            receiver(|mut stream| {
                while read_request(&mut stream).is_some() {
                    let _ = stream.write_all(OK);
                }
            })
        })
        .collect();
    for _ in 0..2 {
        let requests: Vec<_> = addresses
            .iter()
            .map(|address| request(&url_of(*address)))
            .collect();
        let round = requests.iter().map(|request| client.exchange(request));
        for exchange in futures_util::future::join_all(round).await {
            assert_ended(&exchange, AttemptResult::Success, Some(200), None);
        }
    }
}

#[tokio::test]
async fn short_of_handles_is_our_own_fault_at_the_deadline() {
    let hung = answering(b"", hang);
    let patient = client(ClientOptions {
        max_connections: 4,
        ..options()
    });
    let hasty = WebhookClient {
        timeout: SHORT_TIMEOUT,
        ..patient.clone()
    };
    let request = request(&format!("http://127.0.0.1:{}/", hung.port()));
    // Polled in this order, so the four have every handle when the fifth asks for one.
    let exchange = tokio::select! {
        biased;
        ended = futures_util::future::join_all((0..4).map(|_| patient.exchange(&request))) => panic!("{ended:?}"),
        exchange = hasty.exchange(&request) => exchange,
    };
    assert_ended(
        &exchange,
        AttemptResult::Internal,
        None,
        Some("we have no file handle left"),
    );
}
