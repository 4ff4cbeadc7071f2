use super::*;
use proptest::prelude::*;

const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0";

fn reader() -> AccessLogReader {
    AccessLogReader::new([7; 16], Some("www.Shop.example"))
}

fn combined(host: &str, request: &str, status: &str, referrer: &str, agent: &str) -> String {
    format!("{host} - - [14/May/2026:22:05:34 +0200] \"{request}\" {status} 5120 \"{referrer}\" \"{agent}\"")
}

fn page(request: &str) -> Result<String, Skip> {
    let line = combined("192.0.2.7", request, "200", "-", CHROME);
    reader().read(&line).map(|view| view.path.to_owned())
}

#[test]
fn a_combined_line_is_a_pageview() {
    let line = combined(
        "192.0.2.7",
        "GET /blog/a?utm=x#top HTTP/1.1",
        "200",
        "https://News.example:443/item?id=1",
        CHROME,
    );
    let view = reader().read(&line).expect("a pageview");
    assert_eq!(view.timestamp_ms, 1_778_789_134_000);
    assert_eq!(view.path, "/blog/a");
    assert_eq!(view.source.as_deref(), Some("news.example"));
    assert_eq!(view.visitor.len(), 16);
}

#[test]
fn a_common_line_has_neither_referrer_nor_agent() {
    let line = "192.0.2.7 - alice [14/May/2026:20:05:34 +0000] \"GET / HTTP/1.0\" 304 -\r\n";
    let view = reader().read(line).expect("a pageview");
    assert_eq!(view.timestamp_ms, 1_778_789_134_000);
    assert_eq!((view.path, view.source), ("/", None));
}

#[test]
fn a_visitor_is_host_and_agent_under_one_salt() {
    let visitor = |reader: &AccessLogReader, host: &str, agent: &str| {
        let line = combined(host, "GET / HTTP/1.1", "200", "-", agent);
        reader.read(&line).expect("a pageview").visitor
    };
    let one = visitor(&reader(), "192.0.2.7", CHROME);
    assert_eq!(one, visitor(&reader(), "192.0.2.7", CHROME));
    assert_ne!(one, visitor(&reader(), "192.0.2.8", CHROME));
    assert_ne!(one, visitor(&reader(), "192.0.2.7", "curl/8"));
    assert_ne!(
        one,
        visitor(&AccessLogReader::new([8; 16], None), "192.0.2.7", CHROME)
    );
    assert_ne!(
        visitor(&reader(), "2001:db8::1", CHROME),
        visitor(&reader(), "::1", CHROME)
    );
}

#[test]
fn only_answered_gets_of_pages_count() {
    for (request, status, skip) in [
        ("POST / HTTP/1.1", "200", Skip::NotGet),
        ("HEAD / HTTP/1.1", "200", Skip::NotGet),
        ("GET / HTTP/1.1", "301", Skip::Status(301)),
        ("GET / HTTP/1.1", "404", Skip::Status(404)),
        ("GET /site.CSS?v=3 HTTP/1.1", "200", Skip::Asset),
        ("GET /img/a.b.webp HTTP/1.1", "200", Skip::Asset),
        ("GET /robots.txt HTTP/1.1", "200", Skip::Asset),
        ("GET /en/favicon.ico HTTP/1.1", "200", Skip::Asset),
        ("-", "408", Skip::Unreadable),
        ("", "400", Skip::Unreadable),
        ("\\x16\\x03\\x01", "400", Skip::Unreadable),
        ("GET /a b HTTP/1.1", "200", Skip::Unreadable),
        ("GET index.html HTTP/1.1", "200", Skip::Unreadable),
        ("GET / HTTP/1.1", "2xx", Skip::Unreadable),
    ] {
        let line = combined("192.0.2.7", request, status, "-", CHROME);
        assert_eq!(reader().read(&line), Err(skip), "{request}");
    }
    for status in ["200", "206", "304"] {
        let line = combined("192.0.2.7", "GET /a HTTP/1.1", status, "-", CHROME);
        assert!(reader().read(&line).is_ok(), "{status}");
    }
}

#[test]
fn paths_are_cut_at_the_query_and_left_encoded() {
    for (request, path) in [
        ("GET /a%20b/%C3%A4 HTTP/1.1", "/a%20b/%C3%A4"),
        ("GET /feed.xml HTTP/2.0", "/feed.xml"),
        ("GET /v1.2/notes HTTP/1.1", "/v1.2/notes"),
        ("GET /css/ HTTP/1.1", "/css/"),
        ("GET /old", "/old"),
        ("GET http://shop.example/a?b HTTP/1.1", "/a"),
        ("GET /to?u=http://x/y HTTP/1.1", "/to"),
    ] {
        assert_eq!(page(request), Ok(path.to_owned()), "{request}");
    }
}

#[test]
fn quotes_brackets_and_spaces_inside_fields_do_not_mislead() {
    let line = "192.0.2.7 - \"a [b] c\" [14/May/2026:22:05:34 -0330] \"GET /\\\"x HTTP/1.1\" 200 1 \
                \"https://t.example/\\\"q\" \"an \\\"agent\\\" [14/May/2026]\" 0.004 extra";
    let view = reader().read(line).expect("a pageview");
    assert_eq!(view.timestamp_ms, 1_778_808_934_000);
    assert_eq!(view.path, "/\\\"x");
    assert_eq!(view.source.as_deref(), Some("t.example"));
}

#[test]
fn a_referrer_of_the_own_site_or_none_is_no_source() {
    for (referrer, source) in [
        ("-", None),
        ("", None),
        ("https://shop.example/a", None),
        ("http://www.shop.example", None),
        ("https://blog.shop.example/", Some("blog.shop.example")),
        ("https://user@t.example/x", Some("t.example")),
        ("android-app://org.reader/", Some("org.reader")),
        ("about:blank", None),
        ("https:///x", None),
    ] {
        let line = combined("192.0.2.7", "GET / HTTP/1.1", "200", referrer, CHROME);
        let view = reader().read(&line).expect("a pageview");
        assert_eq!(view.source.as_deref(), source, "{referrer}");
    }
}

#[test]
fn times_outside_the_calendar_are_unreadable() {
    for time in [
        "31/Feb/2026:00:00:00 +0000",
        "14/Mai/2026:00:00:00 +0000",
        "14/May/2026:24:00:00 +0000",
        "14/May/2026:00:00 +0000",
        "14/May/2026:00:00:00",
        "14/May/2026:00:00:00 0000",
        "",
    ] {
        let line = format!("192.0.2.7 - - [{time}] \"GET / HTTP/1.1\" 200 1");
        assert_eq!(reader().read(&line), Err(Skip::Unreadable), "{time}");
    }
}

proptest! {
    #[test]
    fn no_line_panics(line in "\\PC{0,200}", at in any::<proptest::sample::Index>(), put in "\\PC{0,3}") {
        let _ = reader().read(&line);
        let mut mutated = combined("192.0.2.7", "GET /a HTTP/1.1", "200", "https://x.example/", CHROME);
        mutated.insert_str(at.index(mutated.len()), &put);
        if let Ok(view) = reader().read(&mutated) {
            prop_assert!(view.path.starts_with('/'));
        }
    }
}
