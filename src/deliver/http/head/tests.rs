use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8]) -> Result<Option<(ResponseHead, usize)>, BadHead> {
    HeadReader::default().read(bytes)
}

fn head(text: &str) -> ResponseHead {
    read(text.as_bytes()).expect("HTTP").expect("complete").0
}

#[test]
fn untidy_heads_are_read_as_curl_reads_them() {
    for (what, line) in [
        ("blank before the colon", "Retry-After : 7"),
        ("tab before the colon", "Retry-After\t: 7"),
        ("folded value", "X-Long: a\r\n\tb\r\n  c\r\nRetry-After: 7"),
        ("value on the folded line", "Retry-After:\r\n 7"),
        ("DEL in a value", "X-Odd: a\x7fb\r\nRetry-After: 7"),
        ("control characters", "X-Odd: a\x01b\r\nRetry-After: 7"),
        ("blank in a name", "X Odd Name: 1\r\nRetry-After: 7"),
        ("no colon", "what is this\r\nRetry-After: 7"),
        ("no name", ": 1\r\nRetry-After: 7"),
        ("fold without a field", " odd\r\nRetry-After: 7"),
        ("other case", "rEtRy-aFtEr:7"),
    ] {
        let head = head(&format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"));
        assert_eq!(
            (head.status, head.retry_after.as_deref()),
            (200, Some("7")),
            "{what}"
        );
    }
    let digits = "1".repeat(4_000);
    let long = head(&format!("HTTP/1.1 503 Later\r\nRetry-After: {digits}\r\n\r\n"));
    assert_eq!(long.retry_after, Some(digits));
    let many: String = (0..150)
        .map(|number| format!("X-{number}: {number}\r\n"))
        .collect();
    assert_eq!(head(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).status, 200);
    for status_line in [
        "HTTP/1.1 200",
        "HTTP/1.1  200  OK",
        "HTTP/1.0 200 Fine",
        "http/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
    ] {
        assert_eq!(head(&format!("{status_line}\n\n")).status, 200, "{status_line:?}");
    }
}

#[test]
fn what_is_not_http_is_known_without_its_end() {
    for text in [
        "SSH-2.0",
        "<html>",
        "\x16\x03\x01",
        "HTTP/2",
        "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 OK\r\n",
        "HTTP/1.1200 OK\r\n",
        "HTTP/1.1 099 OK\r\n",
        "        \r\n",
        "         \r\nHTTP/1.1 200 OK\r\n\r\n",
        "       HTTP\r\n",
        "\t\t\t\t\t\t\t\t\t\t\t\t\r\n",
        "220 mail ready\r\n",
    ] {
        assert_eq!(read(text.as_bytes()), Err(BadHead::NotHttp), "{text:?}");
    }
    for text in ["", "H", "HTTP/1.", "HTTP/1.1 200 OK\r\nX: y\r\n"] {
        assert_eq!(read(text.as_bytes()), Ok(None), "{text:?}");
    }
}

#[test]
fn each_bound_holds_exactly_even_after_a_2xx_line() {
    let lines = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert!(matches!(read(lines(MAX_HEAD_LINES).as_bytes()), Ok(Some(_))));
    assert_eq!(
        read(lines(MAX_HEAD_LINES + 1).as_bytes()),
        Err(BadHead::TooManyLines)
    );

    let interim = |count: usize| {
        format!(
            "{}HTTP/1.1 204 N\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(count)
        )
    };
    assert!(matches!(read(interim(MAX_INTERIM).as_bytes()), Ok(Some(_))));
    assert_eq!(
        read(interim(MAX_INTERIM + 1).as_bytes()),
        Err(BadHead::TooManyInterim)
    );

    let around = "HTTP/1.1 200 OK\r\nX: \r\n\r\n".len();
    let sized = |bytes: usize| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(bytes - around));
    assert!(matches!(read(sized(MAX_HEAD_BYTES).as_bytes()), Ok(Some(_))));
    assert_eq!(read(sized(MAX_HEAD_BYTES + 1).as_bytes()), Err(BadHead::TooLong));
    // A line without end holds no more memory than that.
    let mut reader = HeadReader::default();
    let mut result = reader.read(b"HTTP/1.1 200 OK\r\nX: ");
    while result == Ok(None) {
        result = reader.read(&[b'a'; 1_000]);
    }
    assert_eq!(result, Err(BadHead::TooLong));
    assert!(reader.line.len() <= MAX_HEAD_BYTES);
}

#[test]
fn the_end_of_a_body_follows_from_the_head() {
    use Framing::*;
    for (fields, framing, keeps) in [
        ("Content-Length: 5", Length(5), true),
        ("Content-Length: 0", Empty, true),
        ("Content-Length: 5\r\nContent-Length: 5", Length(5), true),
        ("Content-Length: 5\r\nContent-Length: 6", UntilClose, false),
        ("Content-Length: +5", Length(5), true),
        ("Content-Length: 5, 5", Length(5), true),
        ("Content-Length: 5, 6", UntilClose, false),
        ("Content-Length: ,5", UntilClose, false),
        ("Content-Length: -5", UntilClose, false),
        ("Content-Length: 99999999999999999999999", UntilClose, false),
        ("", UntilClose, false),
        ("Transfer-Encoding: chunked", Chunked, true),
        ("Transfer-Encoding: gzip, Chunked", Chunked, true),
        ("Transfer-Encoding: gzip", UntilClose, false),
        ("Transfer-Encoding: chunked,", Chunked, true),
        ("Transfer-Encoding: chunked, identity", Chunked, true),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            Chunked,
            true,
        ),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            Chunked,
            true,
        ),
        (
            "Transfer-Encoding: identity\r\nContent-Length: 5",
            Length(5),
            true,
        ),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", Chunked, false),
        ("Content-Length: 5\r\nConnection: close", Length(5), false),
        ("Content-Length: 5\r\nConnection: Foo, Close", Length(5), false),
    ] {
        let head = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"));
        assert_eq!(
            (head.framing(), head.keeps_connection()),
            (framing, keeps),
            "{fields}"
        );
    }
    assert_eq!(
        head("HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\n").framing(),
        Empty
    );
    let old = head("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert!(!old.keeps_connection());
    let kept = head("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n");
    assert!(kept.keeps_connection());
    assert!(!head("HTTP/1.1 101 S\r\nContent-Length: 0\r\n\r\n").keeps_connection());
}

proptest! {
    #[test]
    fn pieces_of_any_size_read_the_same(
        lines in proptest::collection::vec("[ -~\t]{0,30}", 0..8),
        cut in 1..40_usize,
    ) {
        let mut text = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 503 Busy\r\n".to_vec();
        for line in lines.iter().filter(|line| !line.is_empty()) {
            text.extend_from_slice(line.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\nbody");
        let whole = read(&text).expect("HTTP").expect("complete");
        let mut reader = HeadReader::default();
        let mut before = 0;
        for piece in text.chunks(cut) {
            if let Some((head, used)) = reader.read(piece).expect("HTTP") {
                prop_assert_eq!((head, before + used), whole);
                return Ok(());
            }
            before += piece.len();
        }
        prop_assert!(false, "no head");
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, fields: Vec<u8>) {
        let _ = read(&bytes);
        let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
        text.extend_from_slice(&fields);
        let _ = read(&text);
    }
}

#[test]
fn a_head_that_is_cut_off_has_its_status_and_whole_fields() {
    let cut = |text: &str| {
        let mut reader = HeadReader::default();
        assert_eq!(reader.read(text.as_bytes()), Ok(None), "{text:?}");
        reader.cut_off().map(|head| (head.status, head.retry_after))
    };
    let seven = || Some("7".to_owned());
    for (text, wanted) in [
        ("", None),
        ("HTTP/1.1 20", None),
        ("HTTP/1.1 200", Some((200, None))),
        ("HTTP/1.1 200 OK\r", Some((200, None))),
        ("HTTP/1.1 200 OK\r\nContent-", Some((200, None))),
        ("HTTP/1.1 503 Later\r\nRetry-After: 7\r\n", Some((503, seven()))),
        ("HTTP/1.1 503 Later\r\nRetry-After: 7", Some((503, None))),
        ("HTTP/1.1 100 Continue\r\n", None),
        ("HTTP/1.1 100 Continue\r\n\r\n", None),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No", Some((204, None))),
    ] {
        assert_eq!(cut(text), wanted, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "HTTP/1.1", " ", "\t", "200", "\r\n", "\n", ":", "Content-Length", "Transfer-Encoding", ",", "+", "é", "h",
            ]),
            0..40,
        ),
        step in 1_usize..9,
    ) {
        let bytes = words.concat();
        let mut reader = HeadReader::default();
        for piece in bytes.as_bytes().chunks(step) {
            match reader.read(piece) {
                Ok(None) => {}
                Ok(Some((head, _))) => {
                    let _ = (head.framing(), head.keeps_connection());
                    return Ok(());
                }
                Err(_) => return Ok(()),
            }
        }
        let _ = reader.cut_off();
    }
}
