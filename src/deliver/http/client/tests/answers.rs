//! Requests as they arrive, and answers of every kind.

use std::sync::mpsc;

use proptest::prelude::*;

use super::*;
use crate::domain::own_headers::check_own_header;
use crate::domain::secret::Hidden;

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
    let mut expected: Vec<String> = request
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    expected.extend(["accept", "content-length", "host"].map(str::to_owned));
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (name, value) in &request.headers {
        let line = format!("\r\n{name}: {}\r\n", value.reveal());
        assert!(head.contains(&line), "{line:?} {head}");
    }
}

#[test]
fn an_own_accept_goes_out_alone() {
    for (name, value) in [
        ("accept", "application/vnd.x+json"),
        ("X-Own", "application/vnd.x+json"),
    ] {
        let mut hook = webhook("https://receiver.test/hook");
        hook.headers = vec![(name.to_owned(), Hidden::new(value))];
        let request = WebhookRequest::build(&hook, &facts("{}"));
        let expected = if name == "accept" { value } else { "*/*" };
        let bytes = http1::request_bytes(&request).expect("a request");
        let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let lines: Vec<_> = head
            .lines()
            .filter_map(|line| line.strip_prefix("accept: "))
            .collect();
        assert_eq!(lines, [expected]);
        let made = http2::http_request(&request).expect("a request");
        let values: Vec<_> = made.headers().get_all("accept").iter().collect();
        assert_eq!(values, [expected]);
    }
}

#[tokio::test]
async fn a_receiver_that_never_answers_ends_at_the_deadline() {
    let exchange = exchange(short_deadlines(), answering(b"", hang)).await;
    assert_ended(
        &exchange,
        AttemptResult::Timeout,
        None,
        Some("there was no response in time"),
    );
    assert!(exchange.phases.total.expect("known") >= SHORT_TIMEOUT && exchange.headers_at_ms.is_none());
}

#[tokio::test]
async fn a_body_that_hangs_is_a_timeout_whatever_the_status() {
    let exchange = exchange(
        short_deadlines(),
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", hang),
    )
    .await;
    assert_ended(
        &exchange,
        AttemptResult::Timeout,
        Some(200),
        Some("the response's body did not end in time"),
    );
}

#[tokio::test]
async fn a_body_in_drips_does_not_stretch_the_deadline() {
    let exchange = exchange(
        short_deadlines(),
        receiver(|mut stream| {
            read_request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n");
            while stream.write_all(b"1\r\nx\r\n").is_ok() {
                // The sleep is the receiver's slowness, which is what is tested.
                thread::sleep(Duration::from_millis(20));
            }
        }),
    )
    .await;
    assert_ended(
        &exchange,
        AttemptResult::Timeout,
        Some(503),
        Some("the response's body did not end in time"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_a_huge_body_16_kib_are_read_and_the_connection_is_dropped() {
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
    client
        .send(&request, &mut PhaseInstants::default(), &mut answer)
        .await;
    assert_eq!(
        (answer.status, answer.body.len()),
        (Some(200), MAX_RESPONSE_BYTES)
    );
    assert!(answer.failure.is_none());
    let written = dropped
        .recv_timeout(Duration::from_secs(5))
        .expect("the connection was dropped");
    assert!(written < 32 << 20, "{written}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let address = receiver(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        read_request(&mut stream);
        let _ = stream.write_all(
            b"HTTP/1.1 307 Elsewhere\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    });
    assert_ended(
        &exchange(options(), address).await,
        AttemptResult::Redirect,
        Some(307),
        None,
    );
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn statuses_decide_and_410_is_final_however_its_body_ends() {
    for (bytes, then, result, status) in [
        (
            &b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"[..],
            hang as fn(TcpStream),
            AttemptResult::Gone,
            410,
        ),
        (
            b"HTTP/1.1 410 Gone\r\nContent-Length: 5\r\n\r\n",
            hang,
            AttemptResult::Gone,
            410,
        ),
        (
            b"HTTP/1.1 410 Gone\r\nContent-Length: 5\r\n\r\n",
            close,
            AttemptResult::Gone,
            410,
        ),
        (
            b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n",
            hang,
            AttemptResult::TooManyRequests,
            429,
        ),
        (
            b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            hang,
            AttemptResult::ClientError,
            404,
        ),
        (
            b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\na",
            close,
            AttemptResult::ServerError,
            500,
        ),
        (
            b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
            close,
            AttemptResult::Success,
            200,
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n",
            hang,
            AttemptResult::Success,
            201,
        ),
    ] {
        let exchange = exchange(short_deadlines(), answering(bytes, then)).await;
        assert_eq!(
            (exchange.result, exchange.status),
            (result, Some(status)),
            "{exchange:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_classified_by_its_head() {
    let early = "the connection ended before a full response";
    let cut = "the response's head broke off";
    let broken = "the response's body broke off";
    for (bytes, result, status, error) in [
        (&b""[..], AttemptResult::Reset, None, early),
        (b"HTTP/1.1 20", AttemptResult::Reset, None, early),
        (b"HTTP/1.1 200 OK", AttemptResult::Success, Some(200), cut),
        (
            b"HTTP/1.1 200 OK\r\nContent-",
            AttemptResult::Success,
            Some(200),
            cut,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
            AttemptResult::Success,
            Some(200),
            cut,
        ),
        (
            b"HTTP/1.1 503 Later\r\nRetry-After: 7\r\n",
            AttemptResult::ServerError,
            Some(503),
            cut,
        ),
        (b"HTTP/1.1 410 Gone\r\n", AttemptResult::Gone, Some(410), cut),
        (
            b"        \r\n",
            AttemptResult::Protocol,
            None,
            "the endpoint's answer is not HTTP",
        ),
        (
            b"SSH-2.0-OpenSSH_9.6\r\n",
            AttemptResult::Protocol,
            None,
            "the endpoint's answer is not HTTP",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            AttemptResult::Success,
            Some(200),
            broken,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            AttemptResult::Success,
            Some(200),
            broken,
        ),
    ] {
        assert_ended(
            &exchange(options(), answering(bytes, close)).await,
            result,
            status,
            Some(error),
        );
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let exchange = exchange(
        options(),
        receiver(|mut stream| {
            read_request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while stream
                .write_all(b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n")
                .is_ok()
            {}
        }),
    )
    .await;
    assert_eq!(
        (exchange.result, exchange.status),
        (AttemptResult::Protocol, None),
        "{exchange:?}"
    );
}

#[tokio::test]
async fn no_connection_and_no_name_are_different_results() {
    let unused = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    assert_ended(
        &exchange(options(), unused).await,
        AttemptResult::Connect,
        None,
        Some("the connection was refused"),
    );

    let with = |lookup| client(ClientOptions { lookup, ..options() });
    let request = request("http://receiver.test/");
    let unknown = with(lookup(|_| Err(io::Error::other("no such name"))));
    let text = "the host name could not be resolved: no such name";
    assert_ended(
        &unknown.exchange(&request).await,
        AttemptResult::Dns,
        None,
        Some(text),
    );
    let empty = with(lookup(|_| Ok(vec![])));
    assert_ended(
        &empty.exchange(&request).await,
        AttemptResult::Dns,
        None,
        Some("the host name has no address"),
    );
    let slow = client(ClientOptions {
        lookup: Arc::new(|_, _| Box::pin(std::future::pending())),
        ..short_deadlines()
    });
    let text = "the host name was not resolved in time";
    assert_ended(
        &slow.exchange(&request).await,
        AttemptResult::Timeout,
        None,
        Some(text),
    );
    let exhausted = client(ClientOptions {
        lookup: lookup(|_| Err(io::Error::from_raw_os_error(24))),
        ..short_deadlines()
    });
    let exchange = exhausted.exchange(&request).await;
    assert_ended(
        &exchange,
        AttemptResult::Internal,
        None,
        Some("we have no file handle left"),
    );
    assert_eq!(exchange.fault(), Fault::Own);
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
        client
            .send(&request, &mut PhaseInstants::default(), &mut answer)
            .await;
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (Some(200), &b"\x1f\x8b\x08"[..])
        );
        let head = requests.recv().expect("a request").to_ascii_lowercase();
        assert!(
            !head.contains("cookie") && !head.contains("accept-encoding") && !head.contains("referer"),
            "{head}"
        );
    }
}

proptest! {
    #[test]
    fn own_headers_that_are_accepted_can_be_sent(name in "\\PC{0,12}|[a-zA-Z_-]{1,20}", value in "\\PC{0,20}|[ -~]{0,20}") {
        if check_own_header(&name, &value).is_ok() {
            let mut hook = webhook("https://example.com/");
            hook.headers = vec![(name.clone(), Hidden::new(value.clone()))];
            let request = WebhookRequest::build(&hook, &facts("{}"));
            let map = http2::header_map(&request).expect("headers");
            prop_assert_eq!(map.get(&name).and_then(|sent| sent.to_str().ok()), Some(value.as_str()));
            let bytes = http1::request_bytes(&request).expect("a request");
            let line = format!("\r\n{name}: {value}\r\n");
            prop_assert!(String::from_utf8_lossy(&bytes).contains(&line));
        }
    }
}
