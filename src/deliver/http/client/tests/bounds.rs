//! Answers without measure, and what is stored of an answer.

use super::*;

fn repeated(first: &'static [u8], again: &'static [u8]) -> SocketAddr {
    receiver(move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(first);
        while stream.write_all(again).is_ok() {}
    })
}

#[tokio::test]
async fn answers_without_measure_end_as_protocol() {
    for (first, again, text) in [
        (
            &b""[..],
            &b"HTTP/1.1 100 Continue\r\n\r\n"[..],
            "the endpoint sent more than 16 interim answers (1xx)",
        ),
        (
            b"HTTP/1.1 200 OK\r\n",
            b"X-Filler: y\r\n",
            "the response's head has more than 1000 lines",
        ),
        (
            b"HTTP/1.1 200 OK\r\nX: ",
            b"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
            "the response's head is longer than 256 KiB",
        ),
        (b"", b"\0\0\0\0", "the endpoint's answer is not HTTP"),
        (b"hello", b" world", "the endpoint's answer is not HTTP"),
    ] {
        let exchange = exchange(options(), repeated(first, again)).await;
        assert_ended(&exchange, AttemptResult::Protocol, None, Some(text));
    }
}

#[tokio::test]
async fn bytes_one_at_a_time_get_a_share_of_the_processor_only() {
    let address = receiver(|mut stream| {
        let _ = stream.set_nodelay(true);
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(b"y").is_ok() {}
    });
    let before = cpu_time();
    let exchange = exchange(short_deadlines(), address).await;
    // Either bound may come first: the deadline, or the head's length.
    assert!(
        matches!(exchange.result, AttemptResult::Timeout | AttemptResult::Protocol),
        "{exchange:?}"
    );
    assert!(exchange.phases.total.expect("known") < SHORT_TIMEOUT * 2);
    let spent = cpu_time().saturating_sub(before);
    assert!(spent < SHORT_TIMEOUT / 2, "{spent:?}");
}

/// Processor time of this thread, which runs the client and not the receiver.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

#[tokio::test]
async fn stored_http_urls_are_refused_once_http_is_not_allowed() {
    let (address, calls) = counting();
    let exchange = exchange(
        ClientOptions {
            allow_http: false,
            ..options()
        },
        address,
    )
    .await;
    assert_eq!(
        (exchange.result, exchange.fault(), calls.load(Ordering::SeqCst)),
        (AttemptResult::AddressRefused, Fault::Endpoint, 0),
        "{exchange:?}"
    );
}

#[tokio::test]
async fn no_credential_that_an_endpoint_echoes_is_stored() {
    let address = receiver(|mut stream| {
        let (head, body) = read_request(&mut stream).expect("a request");
        let echo = [head.as_bytes(), &body].concat();
        let _ = write!(
            stream,
            "HTTP/1.1 500 Oh\r\nContent-Length: {}\r\n\r\n",
            echo.len()
        );
        let _ = stream.write_all(&echo);
        hang(stream);
    });
    let mut hook = webhook(&format!(
        "http://receiver.test:{}/hooks/T01234567/in?key=q-credential",
        address.port()
    ));
    hook.headers = vec![(
        "Authorization".to_owned(),
        "Bearer own-credential".to_owned().into(),
    )];
    let request = WebhookRequest::build(&hook, &facts("{\"a\":1}"));
    let mut answer = Answer::default();
    client(options())
        .send(&request, &mut PhaseInstants::default(), &mut answer)
        .await;
    let stored = String::from_utf8(answer.stored_body(|| redactions(&request))).expect("text");
    assert!(
        stored.starts_with("POST /hooks/[redacted]/in?[redacted] HTTP/1.1\r\n"),
        "{stored}"
    );
    assert!(stored.contains("\r\nAuthorization: [redacted]\r\n"), "{stored}");
    for credential in ["credential", "T01234567"] {
        assert!(!stored.contains(credential), "{stored}");
    }
}

#[test]
fn of_a_failure_16_kib_are_stored_and_of_a_success_1_kib() {
    for (status, stored) in [(500, 16_384), (200, 1_024), (301, 16_384), (204, 1_024)] {
        let mut answer = Answer::default();
        answer.take_head(status, None, None);
        for _ in 0..5 {
            answer.keep(&[b'x'; 5_000]);
        }
        assert_eq!(answer.stored_body(Redactions::default).len(), stored, "{status}");
    }
}
