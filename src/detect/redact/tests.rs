use super::*;
use proptest::prelude::*;

#[test]
fn addresses_and_tokens_are_taken_out() {
    for path in [
        "/u/jane.doe@example.com",
        "/u/jane.doe%40example.com",
        "/u/jane.doe%2540example.com",
        "/u/mailto:jane@sub.example.co.uk;x=1",
        "/u/jürgen@exämple.de",
        "/u/jane+news@example.com.",
        "/u/550e8400-e29b-41d4-a716-446655440000",
        "/u/550E8400-E29B-41D4-A716-446655440000",
        "/u/order-550e8400-e29b-41d4-a716-446655440000.pdf",
        "/u/550e8400e29b41d4a716446655440000",
        "/u/d41d8cd98f00b204e9800998",
        "/u/123456789012345678901234",
        "/u/;jsessionid=1A530637289A03B07199A44E8D531427",
        "/u/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "/u/eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
        "/u/aB3dE5gH7jK9mN1pQ3sT5vW7",
        "/u/k9Xz-Qw3m_rT7yU1iO-pL5mN2bV",
        "/u/dGhpc19pcy1hX3Rva2VuLTEyMw",
        "/u/abcdefghijklmnopqrstuvwxY1",
    ] {
        assert_eq!(redact(path), "/u/:redacted", "{path}");
        assert_eq!(redact(&format!("{path}/edit")), "/u/:redacted/edit", "{path}");
    }
}

#[test]
fn an_ordinary_slug_stays() {
    for path in [
        "/",
        "/blog",
        "/blog/2026/05/14/a-rather-long-title-about-nothing-in-particular",
        "/My-10-Favourite-Books-of-the-Year-2026",
        "/iPhone-15-Pro-Max-vs-Galaxy-S24-Ultra-Camera-Test",
        "/MP3-to-MP4-and-H264-to-H265-Converters-Compared",
        "/COVID-19-Vaccination-Update_2021.v2.html",
        "/WIKI/List_of_HTTP_status_codes_and_RFC_7231_sections",
        "/@jane/post",
        "/c/@jane@mastodon",
        "/a@b",
        "/pay@",
        "/thisisaverylongslugwithoutanyhyphensinit2026",
        "/THISISAVERYLONGSLUGINCAPITALS2026",
        "/%E4%BD%A0%E5%A5%BD%E4%B8%96%E7%95%8C%E4%BD%A0%E5%A5%BD",
        "/a%20title%20with%20Spaces%20and%20100%25%20Numbers",
        "/deadbeef-cafe-facade",
        "/1234567890",
        "/presentations/logstash-monitorama-2013/images/kibana-dashboard3.png",
    ] {
        assert!(
            matches!(redact(path), Cow::Borrowed(same) if same == path),
            "{path}"
        );
    }
}

#[test]
fn every_segment_is_judged_by_itself() {
    assert_eq!(
        redact("/a@b.cc//d41d8cd98f00b204e9800998ecf8427e/ok/"),
        "/:redacted//:redacted/ok/"
    );
}

proptest! {
    #[test]
    fn no_path_panics_and_redacting_twice_changes_nothing(path in "(/\\PC{0,40}){0,4}|[/%@.a-fA-F0-9-]{0,80}") {
        let once = redact(&path).into_owned();
        prop_assert_eq!(redact(&once), &*once);
    }

    #[test]
    fn random_tokens_are_taken_out(token in "[A-Za-z0-9]{32}") {
        let mixes = token.bytes().any(|b| b.is_ascii_uppercase())
            && token.bytes().any(|b| b.is_ascii_lowercase())
            && token.bytes().any(|b| b.is_ascii_digit());
        prop_assume!(mixes);
        let path = format!("/x/{token}");
        prop_assert_eq!(redact(&path), "/x/:redacted");
    }

    #[test]
    fn words_with_hyphens_stay(words in proptest::collection::vec("[A-Z]?[a-z]{1,9}|[0-9]{1,4}", 1..9)) {
        let path = format!("/{}", words.join("-"));
        prop_assert_eq!(redact(&path), &*path);
    }
}

#[test]
fn a_source_is_a_name_or_a_host_and_no_path() {
    for (source, name) in [
        ("Google", "Google"),
        ("Hacker News", "Hacker News"),
        ("Radio/TV", "Radio/TV"),
        ("news.example.com", "news.example.com"),
        ("https://user:pw@ref.example/secret/path?x=1", "ref.example"),
        ("https://ref.example:8443", "ref.example"),
        ("http://[2001:db8::1]/x", "[2001:db8::1]"),
        ("//ref.example/a", "ref.example"),
        ("ref.example/item?id=7", "ref.example"),
        ("ref.example?utm=x", "ref.example"),
        ("android-app://com.example.reader/https/x", "com.example.reader"),
        ("bob@corp.example", REDACTED),
        ("user:pw@ref.example", REDACTED),
        ("https://550e8400-e29b-41d4-a716-446655440000.example/", REDACTED),
        ("aB3dE5gH7jK9mN1pQ3sT5vW7", REDACTED),
        ("file:///home/jane", REDACTED),
        (
            "a newsletter of more than 24 letters",
            "a newsletter of more than 24 letters",
        ),
    ] {
        assert_eq!(redact_source(source), name, "{source}");
    }
}
