//! TLS, HTTP/2, and the measured phases of a connection.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;

/// An issuer's certificate in PEM, and a server's configuration with a certificate that it issued
/// for `name`.
pub(super) fn issued(name: &str, expired: bool) -> (Vec<u8>, rustls::ServerConfig) {
    let mut params = CertificateParams::new(vec![]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an issuer");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    if expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .expect("a configuration");
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(issuer.der())
    );
    (pem.into_bytes(), config)
}

/// An issuer's certificate in PEM, and an HTTPS receiver whose certificate it issued for `name`.
fn https_receiver(name: &str, expired: bool) -> (Vec<u8>, SocketAddr) {
    let (pem, config) = issued(name, expired);
    let config = Arc::new(config);
    let address = receiver(move |stream| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
        let mut stream = rustls::StreamOwned::new(connection, stream);
        while read_request(&mut stream).is_some() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    (pem, address)
}

pub(super) async fn call(pem: Option<Vec<u8>>, address: SocketAddr) -> Exchange {
    call_with(options(), pem, address).await
}

pub(super) async fn call_with(
    options: ClientOptions,
    extra_roots_pem: Option<Vec<u8>>,
    address: SocketAddr,
) -> Exchange {
    let client = client(ClientOptions {
        extra_roots_pem,
        ..options
    });
    client
        .exchange(&request(&format!(
            "https://receiver.test:{}/hook-path",
            address.port()
        )))
        .await
}

#[tokio::test]
async fn only_a_certificate_that_holds_is_accepted() {
    let (pem, address) = https_receiver("receiver.test", false);
    assert_ended(
        &call(Some(pem), address).await,
        AttemptResult::Success,
        Some(200),
        None,
    );
    let text = |why| format!("the certificate is not accepted: {why}");
    let unknown = text("its issuer is unknown");
    assert_ended(
        &call(None, address).await,
        AttemptResult::Tls,
        None,
        Some(&unknown),
    );
    let (pem, address) = https_receiver("other.test", false);
    let name = text("it is for another name");
    assert_ended(
        &call(Some(pem), address).await,
        AttemptResult::Tls,
        None,
        Some(&name),
    );
    let (pem, address) = https_receiver("receiver.test", true);
    let expired = text("it has expired");
    assert_ended(
        &call(Some(pem), address).await,
        AttemptResult::Tls,
        None,
        Some(&expired),
    );
}

#[tokio::test]
async fn an_endpoint_without_tls_is_a_tls_failure_or_a_timeout() {
    let plain = receiver(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Plain\r\n\r\n");
        hang(stream);
    });
    let text = "the endpoint does not speak TLS on this port";
    assert_ended(&call(None, plain).await, AttemptResult::Tls, None, Some(text));
    let text = "the connection ended during the TLS handshake";
    assert_ended(
        &call(None, receiver(close)).await,
        AttemptResult::Tls,
        None,
        Some(text),
    );
    let text = "the TLS handshake did not end in time";
    assert_ended(
        &call_with(short_deadlines(), None, receiver(hang)).await,
        AttemptResult::Timeout,
        None,
        Some(text),
    );
}

#[tokio::test]
async fn phases_are_measured_on_a_new_connection_not_on_a_reused_one() {
    let (pem, address) = https_receiver("receiver.test", false);
    let client = client(ClientOptions {
        extra_roots_pem: Some(pem),
        ..options()
    });
    let request = request(&format!("https://receiver.test:{}/", address.port()));
    let first = client.exchange(&request).await.phases;
    let parts = [first.dns, first.connect, first.tls, first.response].map(|part| part.expect("known"));
    assert!(
        parts.iter().sum::<Duration>() <= first.total.expect("known"),
        "{first:?}"
    );
    assert!(parts.iter().all(|part| *part > Duration::ZERO), "{first:?}");
    let second = client.exchange(&request).await.phases;
    assert_eq!(
        (second.dns, second.connect, second.tls),
        (None, None, None),
        "{second:?}"
    );
    assert!(second.response.is_some() && second.total.is_some());
    let (plain, _) = counting();
    let third = exchange(options(), plain).await.phases;
    assert!(
        third.dns.is_some() && third.connect.is_some() && third.tls.is_none(),
        "{third:?}"
    );
}

type Respond = h2::server::SendResponse<Bytes>;

/// An issuer's certificate in PEM, and an HTTP/2 receiver that answers each request with `handle`.
fn http2_receiver(
    handle: impl Fn(axum::http::Request<h2::RecvStream>, Respond) + Send + Sync + 'static,
) -> (Vec<u8>, SocketAddr) {
    let (pem, mut config) = issued("receiver.test", false);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let address = receiver(move |stream| {
        stream.set_nonblocking(true).expect("a socket option");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&config));
        let serve = async {
            let stream = acceptor.accept(tokio::net::TcpStream::from_std(stream)?).await?;
            let mut connection = h2::server::handshake(stream).await.map_err(io::Error::other)?;
            while let Some(Ok((request, respond))) = connection.accept().await {
                handle(request, respond);
            }
            io::Result::Ok(())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _ = runtime.expect("a runtime").block_on(serve);
    });
    (pem, address)
}

#[tokio::test]
async fn a_refused_request_is_sent_again_at_once_and_bounded() {
    for (refusals, result, sends) in [
        (1, AttemptResult::Success, 2),
        (3, AttemptResult::Success, 4),
        (usize::MAX, AttemptResult::Reset, MAX_SENDS),
    ] {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let (pem, address) = http2_receiver(move |_, mut respond| {
            if counter.fetch_add(1, Ordering::SeqCst) < refusals {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                let _ = respond.send_response(http::Response::new(()), true);
            }
        });
        let exchange = call(Some(pem), address).await;
        assert_eq!(exchange.result, result, "{exchange:?}");
        assert_eq!(requests.load(Ordering::SeqCst), sends);
    }
}

#[tokio::test]
async fn an_endpoint_that_speaks_http2_gets_it() {
    let (pem, address) = http2_receiver(|request, mut respond| {
        let signed = request.headers().contains_key("x-webhook-signature");
        let mut response = axum::http::Response::new(());
        *response.status_mut() = if signed {
            StatusCode::OK
        } else {
            StatusCode::BAD_REQUEST
        };
        let mut stream = respond.send_response(response, false).expect("a stream");
        // More than the client reads: it resets the stream and keeps the connection.
        let _ = stream.send_data(Bytes::from(vec![b'x'; 1 << 20]), true);
    });
    let client = client(ClientOptions {
        extra_roots_pem: Some(pem),
        ..options()
    });
    let request = request(&format!("https://receiver.test:{}/", address.port()));
    for _ in 0..3 {
        let mut answer = Answer::default();
        client
            .send(&request, &mut PhaseInstants::default(), &mut answer)
            .await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (Some(200), MAX_RESPONSE_BYTES),
            "{answer:?}"
        );
    }
}

/// A receiver over HTTP/2 that answers no request and sends PING all the time, and the number of
/// those that were answered.
fn pinging() -> (Vec<u8>, SocketAddr, Arc<AtomicUsize>) {
    const PINGS: usize = 400;
    let (pem, mut config) = issued("receiver.test", false);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let answered = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&answered);
    let address = receiver(move |stream| {
        let timeout = Some(Duration::from_millis(10));
        stream.set_read_timeout(timeout).expect("a socket option");
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
        frames.extend(ping.repeat(PINGS));
        let ping_ack = [0, 0, 8, 6, 1];
        let mut buffer = vec![0; 64 * 1_024];
        loop {
            match stream.write_all(&frames) {
                Ok(()) => frames = ping.repeat(PINGS),
                Err(_) => return,
            }
            if let Ok(read) = stream.read(&mut buffer) {
                let acks = buffer[..read]
                    .windows(ping_ack.len())
                    .filter(|bytes| *bytes == ping_ack);
                counter.fetch_add(acks.count(), Ordering::SeqCst);
            }
        }
    });
    (pem, address, answered)
}

#[tokio::test]
async fn frames_of_an_endpoint_get_a_share_of_the_processor() {
    let (pem, address, answered) = pinging();
    let began = clock::monotonic();
    let exchange = call_with(short_deadlines(), Some(pem), address).await;
    let ms = clock::monotonic().duration_since(began).as_millis();
    assert_eq!(exchange.result, AttemptResult::Timeout, "{exchange:?}");
    // The burst, the rate, and what one read may bring beyond them.
    let most = 2_048 + 8 * ms + 2_048;
    let answered = answered.load(Ordering::SeqCst);
    assert!((answered as u128) < most, "{answered} in {ms} ms");
    assert!(answered > 100, "{answered} in {ms} ms");
}

#[test]
fn extra_certificates_must_be_some() {
    let with = |pem: &[u8]| {
        WebhookClient::new(ClientOptions {
            extra_roots_pem: Some(pem.to_vec()),
            ..options()
        })
    };
    assert!(matches!(with(b""), Err(ClientError::NoCertificate)));
    let broken = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    assert!(matches!(with(broken), Err(ClientError::Pem(_))));
}
