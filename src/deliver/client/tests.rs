//! The client against receivers that misbehave: plain sockets on threads of their own, so that every byte is under control.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::deliver::own_headers::check_own_header;
use crate::deliver::request::tests::{facts, webhook};
use crate::domain::secret::Hidden;

const TIMEOUT: Duration = Duration::from_millis(500);

/// Answers each connection with `handle`, on a thread of its own.
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
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
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
    Arc::new(move |name| {
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
        timeout: TIMEOUT,
        connect_timeout: TIMEOUT / 2,
        extra_roots_pem: None,
        lookup: lookup(|_| Ok(vec![ip("127.0.0.1")])),
    }
}

fn client(options: ClientOptions) -> WebhookClient {
    WebhookClient::new(options).expect("a client")
}

fn request(url: &str) -> WebhookRequest {
    WebhookRequest::build(&webhook(url), &facts("{\"a\":1}"))
}

async fn exchange(address: SocketAddr) -> Exchange {
    let url = format!("http://receiver.test:{}/hook-path", address.port());
    let began = Instant::now();
    let exchange = client(options()).exchange(&request(&url)).await;
    assert!(began.elapsed() < TIMEOUT * 3, "{exchange:?}");
    assert_eq!(exchange.phases.total.map(|total| total < TIMEOUT * 2), Some(true), "{exchange:?}");
    assert!(!exchange.error.as_deref().unwrap_or_default().contains("hook-path"), "{exchange:?}");
    exchange
}

fn assert_ended(exchange: &Exchange, result: AttemptResult, status: Option<u16>, error: Option<&str>) {
    assert_eq!(
        (exchange.result, exchange.status, exchange.error.as_deref()),
        (result, status, error),
        "{exchange:?}"
    );
}

#[tokio::test]
async fn a_request_arrives_as_it_was_built_and_asks_for_nothing_else() {
    let (sender, requests) = mpsc::channel();
    let sender = Mutex::new(sender);
    let address = receiver(move |mut stream| {
        let request = read_request(&mut stream).expect("a request");
        let _ = sender.lock().expect("not poisoned").send(request);
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nRetry-After: 7\r\n\r\n");
        hang(stream);
    });
    let mut hook = webhook(&format!("http://receiver.test:{}/hook?a=b", address.port()));
    hook.headers = vec![("X-Own".to_owned(), Hidden::new("own value"))];
    let request = WebhookRequest::build(&hook, &facts("{\"a\":1}"));
    let exchange = client(options()).exchange(&request).await;
    assert_ended(&exchange, AttemptResult::Success, Some(204), None);
    assert_eq!(exchange.retry_after.as_deref(), Some("7"));
    assert_eq!(exchange.remote, Some(address));
    assert!(exchange.started_at_ms <= exchange.headers_at_ms.expect("a head"));
    assert!(exchange.headers_at_ms.expect("a head") <= exchange.ended_at_ms);

    let (head, body) = requests.recv().expect("a request");
    assert_eq!(body, b"{\"a\":1}");
    assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{head}");
    let mut names: Vec<String> = head
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.split_once(": ")?.0.to_ascii_lowercase()))
        .collect();
    names.sort_unstable();
    let mut expected: Vec<String> = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    expected.extend(["accept", "content-length", "host"].map(str::to_owned));
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (name, value) in &request.headers {
        let line = format!("{}: {}\r\n", name.to_ascii_lowercase(), value.reveal());
        assert!(head.contains(&line), "{line:?} {head}");
    }
}

#[tokio::test]
async fn a_receiver_that_never_answers_ends_at_the_deadline() {
    let exchange = exchange(answering(b"", hang)).await;
    assert_ended(&exchange, AttemptResult::Timeout, None, Some("there was no response in time"));
    assert!(exchange.phases.total.expect("known") >= TIMEOUT && exchange.headers_at_ms.is_none());
}

#[tokio::test]
async fn a_body_that_hangs_is_a_timeout_although_the_status_was_success() {
    let exchange = exchange(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", hang)).await;
    assert_ended(&exchange, AttemptResult::Timeout, Some(200), Some("the response's body did not end in time"));
}

#[tokio::test]
async fn a_body_in_drips_does_not_stretch_the_deadline() {
    let exchange = exchange(receiver(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(b"1\r\nx\r\n").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    }))
    .await;
    assert_ended(&exchange, AttemptResult::Timeout, Some(503), Some("the response's body did not end in time"));
}

#[tokio::test]
async fn of_a_huge_body_sixteen_kibibytes_are_read_and_the_connection_is_dropped() {
    let (sender, dropped) = mpsc::channel();
    let sender = Mutex::new(sender);
    let address = receiver(move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
        let mut written = 0;
        while stream.write_all(&[b'x'; 4_096]).is_ok() {
            written += 4_096;
        }
        let _ = sender.lock().expect("not poisoned").send(written);
    });
    let client = client(options());
    let request = request(&format!("http://receiver.test:{}/", address.port()));
    let mut answer = Answer::default();
    client.send(&request, &Probe::default(), &mut answer).await;
    assert_eq!((answer.status, answer.body.len()), (Some(200), MAX_RESPONSE_BYTES));
    assert!(answer.failure.is_none());
    let written = dropped.recv_timeout(Duration::from_secs(5)).expect("the connection was dropped");
    assert!(written < 32 << 20, "{written}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let address = receiver(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 307 Elsewhere\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    assert_ended(&exchange(address).await, AttemptResult::Redirect, Some(307), None);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn statuses_decide_and_410_is_final_however_its_body_ends() {
    for (bytes, then, result, status) in [
        (&b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"[..], hang as fn(TcpStream), AttemptResult::Gone, 410),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 5\r\n\r\n", hang, AttemptResult::Gone, 410),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 5\r\n\r\n", close, AttemptResult::Gone, 410),
        (b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", hang, AttemptResult::TooManyRequests, 429),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", hang, AttemptResult::ClientError, 404),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\na", close, AttemptResult::ServerError, 500),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", close, AttemptResult::Success, 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n", hang, AttemptResult::Success, 201),
    ] {
        let exchange = exchange(answering(bytes, then)).await;
        assert_eq!((exchange.result, exchange.status), (result, Some(status)), "{exchange:?}");
    }
}

#[tokio::test]
async fn what_breaks_off_is_told_apart_by_whether_there_was_a_head() {
    let early = "the connection ended, or said what is not HTTP, before a full response";
    for (bytes, result, status, error) in [
        (&b""[..], AttemptResult::Reset, None, early),
        (b"HTTP/1.1 200 OK\r\nContent-", AttemptResult::Reset, None, early),
        (b"SSH-2.0-OpenSSH_9.6\r\n", AttemptResult::Reset, None, early),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", AttemptResult::Body, Some(200), "the response's body broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", AttemptResult::Body, Some(200), "the response's body broke off"),
    ] {
        assert_ended(&exchange(answering(bytes, close)).await, result, status, Some(error));
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let exchange = exchange(receiver(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n").is_ok() {}
    }))
    .await;
    assert_eq!((exchange.result, exchange.status), (AttemptResult::Reset, None), "{exchange:?}");
}

#[tokio::test]
async fn no_connection_and_no_name_are_told_apart() {
    let unused = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    assert_ended(&exchange(unused).await, AttemptResult::Connect, None, Some("the connection was refused"));

    let with = |lookup| client(ClientOptions { lookup, ..options() });
    let request = request("http://receiver.test/");
    let unknown = with(lookup(|_| Err(io::Error::other("preamble: no such name"))));
    let text = "the host name could not be resolved: no such name";
    assert_ended(&unknown.exchange(&request).await, AttemptResult::Dns, None, Some(text));
    let empty = with(lookup(|_| Ok(vec![])));
    assert_ended(&empty.exchange(&request).await, AttemptResult::Dns, None, Some("the host name has no address"));
    let slow = with(Arc::new(|_| Box::pin(std::future::pending())));
    let text = "the host name was not resolved in time";
    assert_ended(&slow.exchange(&request).await, AttemptResult::Timeout, None, Some(text));
    let exhausted = with(lookup(|_| Err(io::Error::from_raw_os_error(24))));
    let exchange = exhausted.exchange(&request).await;
    assert_ended(&exchange, AttemptResult::Internal, None, Some("we have no file handle left"));
    assert_eq!(exchange.fault(), Fault::Own);
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

#[tokio::test]
async fn a_private_address_is_refused_at_connect_by_name_and_in_the_url() {
    let (address, calls) = counting();
    let strict = client(ClientOptions { rules: AddressRules::default(), ..options() });
    for host in ["receiver.test", "localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[::1]", "2130706433"] {
        let exchange = strict.exchange(&request(&format!("http://{host}:{}/", address.port()))).await;
        assert_eq!(exchange.result, AttemptResult::AddressRefused, "{host}: {exchange:?}");
        assert_eq!(exchange.fault(), Fault::Endpoint);
        assert!(!exchange.error.expect("a text").contains("127"), "{host}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_mixed_answer_is_called_without_the_refused_addresses() {
    let (address, calls) = counting();
    let mixed = client(ClientOptions {
        lookup: lookup(|_| Ok(vec![ip("10.0.0.1"), ip("::1"), ip("127.0.0.1"), ip("169.254.169.254")])),
        ..options()
    });
    let exchange = mixed.exchange(&request(&format!("http://receiver.test:{}/", address.port()))).await;
    assert_ended(&exchange, AttemptResult::Success, Some(200), None);
    assert_eq!((exchange.remote, calls.load(Ordering::SeqCst)), (Some(address), 1));
}

#[tokio::test]
async fn a_name_that_changes_its_address_between_two_look_ups_is_judged_each_time() {
    let (address, calls) = counting();
    let asked = AtomicUsize::new(0);
    // 127.0.0.1 is allowed and stands for the public address, 127.0.0.2 is not and stands for the private one; both reach the
    // receiver's host.
    let rebinding = client(ClientOptions {
        rules: AddressRules { allow: vec!["127.0.0.1/32".parse().expect("a network")], deny: vec![] },
        lookup: lookup(move |_| {
            let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
            Ok(vec![if first { ip("127.0.0.1") } else { ip("127.0.0.2") }])
        }),
        ..options()
    });
    let request = request(&format!("http://rebinding.test:{}/", address.port()));
    assert_ended(&rebinding.exchange(&request).await, AttemptResult::Success, Some(200), None);
    let second = rebinding.exchange(&request).await;
    assert_eq!((second.result, calls.load(Ordering::SeqCst)), (AttemptResult::AddressRefused, 1), "{second:?}");
}

#[tokio::test]
async fn of_an_allowed_private_target_status_and_timing_are_kept_and_the_response_is_not() {
    let (address, _) = counting();
    let exchange = exchange(address).await;
    assert_ended(&exchange, AttemptResult::Success, Some(200), None);
    assert_eq!(exchange.response, None);
    assert!(exchange.phases.response.is_some());
    let rules = options().rules;
    let may_keep = |text: &str| may_keep(&rules, Some(text.parse().expect("an address")));
    assert!(may_keep("8.8.8.8:443") && !may_keep("127.0.0.1:443") && !may_keep("10.0.0.1:443"));
    assert!(!super::may_keep(&rules, None));
}

#[tokio::test]
async fn nothing_is_remembered_and_nothing_is_decoded() {
    let (sender, requests) = mpsc::channel();
    let sender = Mutex::new(sender);
    let address = receiver(move |mut stream| {
        while let Some((head, _)) = read_request(&mut stream) {
            let _ = sender.lock().expect("not poisoned").send(head);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08");
        }
    });
    let client = client(options());
    let request = request(&format!("http://receiver.test:{}/", address.port()));
    for _ in 0..2 {
        let mut answer = Answer::default();
        client.send(&request, &Probe::default(), &mut answer).await;
        assert_eq!((answer.status, answer.body.as_slice()), (Some(200), &b"\x1f\x8b\x08"[..]));
        let head = requests.recv().expect("a request").to_ascii_lowercase();
        assert!(!head.contains("cookie") && !head.contains("accept-encoding") && !head.contains("referer"), "{head}");
    }
}

mod tls {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    /// An issuer's certificate in PEM, and an HTTPS receiver whose certificate it issued for `name`.
    fn https_receiver(name: &str, expired: bool) -> (Vec<u8>, SocketAddr) {
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an issuer");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        if expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .expect("a configuration");
        let config = Arc::new(config);
        let address = receiver(move |stream| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = rustls::StreamOwned::new(connection, stream);
            while read_request(&mut stream).is_some() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        (issuer.pem().into_bytes(), address)
    }

    async fn call(pem: Option<Vec<u8>>, address: SocketAddr) -> Exchange {
        let client = client(ClientOptions { extra_roots_pem: pem, ..options() });
        client.exchange(&request(&format!("https://receiver.test:{}/hook-path", address.port()))).await
    }

    #[tokio::test]
    async fn only_a_certificate_that_holds_is_accepted() {
        let (pem, address) = https_receiver("receiver.test", false);
        assert_ended(&call(Some(pem), address).await, AttemptResult::Success, Some(200), None);
        let text = |why| format!("the certificate is not accepted: {why}");
        let unknown = text("its issuer is unknown");
        assert_ended(&call(None, address).await, AttemptResult::Tls, None, Some(&unknown));
        let (pem, address) = https_receiver("other.test", false);
        let name = text("it is for another name");
        assert_ended(&call(Some(pem), address).await, AttemptResult::Tls, None, Some(&name));
        let (pem, address) = https_receiver("receiver.test", true);
        let expired = text("it has expired");
        assert_ended(&call(Some(pem), address).await, AttemptResult::Tls, None, Some(&expired));
    }

    #[tokio::test]
    async fn what_is_no_tls_is_a_tls_failure_or_a_timeout() {
        let plain = answering(b"HTTP/1.1 400 Plain\r\n\r\n", close);
        let plain = receiver(move |mut stream| {
            let _ = (plain, stream.write_all(b"HTTP/1.1 400 Plain\r\n\r\n"));
            hang(stream);
        });
        let text = "the endpoint does not speak TLS on this port";
        assert_ended(&call(None, plain).await, AttemptResult::Tls, None, Some(text));
        let text = "the connection ended during the TLS handshake";
        assert_ended(&call(None, receiver(close)).await, AttemptResult::Tls, None, Some(text));
        let text = "the TLS handshake did not end in time";
        assert_ended(&call(None, receiver(hang)).await, AttemptResult::Timeout, None, Some(text));
    }

    #[tokio::test]
    async fn phases_are_measured_on_a_connection_of_its_own_and_unknown_on_a_reused_one() {
        let (pem, address) = https_receiver("receiver.test", false);
        let client = client(ClientOptions { extra_roots_pem: Some(pem), ..options() });
        let request = request(&format!("https://receiver.test:{}/", address.port()));
        let first = client.exchange(&request).await.phases;
        let parts = [first.dns, first.connect, first.tls, first.response].map(|part| part.expect("known"));
        assert!(parts.iter().sum::<Duration>() <= first.total.expect("known"), "{first:?}");
        assert!(parts.iter().all(|part| *part > Duration::ZERO), "{first:?}");
        let second = client.exchange(&request).await.phases;
        assert_eq!((second.dns, second.connect, second.tls), (None, None, None), "{second:?}");
        assert!(second.response.is_some() && second.total.is_some());
        let (plain, _) = counting();
        let third = exchange(plain).await.phases;
        assert!(third.dns.is_some() && third.connect.is_some() && third.tls.is_none(), "{third:?}");
    }

    #[test]
    fn extra_certificates_must_be_some() {
        let with = |pem: &[u8]| WebhookClient::new(ClientOptions { extra_roots_pem: Some(pem.to_vec()), ..options() });
        assert!(matches!(with(b""), Err(ClientError::NoCertificate)));
        let broken = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        assert!(matches!(with(broken), Err(ClientError::Pem(_))));
    }
}

proptest! {
    #[test]
    fn own_headers_that_are_accepted_can_be_sent(name in "\\PC{0,12}|[a-zA-Z_-]{1,20}", value in "\\PC{0,20}|[ -~]{0,20}") {
        if check_own_header(&name, &value).is_ok() {
            let mut hook = webhook("https://example.com/");
            hook.headers = vec![(name.clone(), Hidden::new(value.clone()))];
            let map = header_map(&WebhookRequest::build(&hook, &facts("{}"))).expect("headers");
            prop_assert_eq!(map.get(&name).and_then(|sent| sent.to_str().ok()), Some(value.as_str()));
        }
    }
}
