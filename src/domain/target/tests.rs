use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<String, InvalidTarget> {
    TargetUrl::parse(text, &TargetRules::default()).map(|url| url.reveal().to_string())
}

#[test]
fn ordinary_urls_are_kept_and_normalised() {
    for (text, kept) in [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM/Hook?a=b", "https://example.com/Hook?a=b"),
        ("https://example.com:8443/x", "https://example.com:8443/x"),
        ("https://example.com:443/x", "https://example.com/x"),
        ("https://example.com./x", "https://example.com./x"),
        ("https://example.com/x#part", "https://example.com/x"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://my_host.example/x", "https://my_host.example/x"),
        ("https://receiver/x", "https://receiver/x"),
        ("https://localhost/x", "https://localhost/x"),
        ("https://8.8.8.8/x", "https://8.8.8.8/x"),
        (
            "https://[2606:4700:4700::1111]:8443/x",
            "https://[2606:4700:4700::1111]:8443/x",
        ),
        (
            "https://example.com/a\u{e9}?q=\\",
            "https://example.com/a%C3%A9?q=\\",
        ),
        (
            "https://example.com/@user:pass@x",
            "https://example.com/@user:pass@x",
        ),
    ] {
        assert_eq!(parse(text).as_deref(), Ok(kept), "{text}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    use InvalidTarget::*;
    for (text, error) in [
        ("", NotAUrl),
        ("example.com/hook", NotAUrl),
        ("/hook", NotAUrl),
        ("//example.com/hook", NotAUrl),
        ("https:example.com", NotAUrl),
        ("https:/example.com", NotAUrl),
        ("https:\\\\example.com", NotAUrl),
        ("https://example.com\\@10.0.0.1/", NotAUrl),
        ("https://example.com/a\\b", NotAUrl),
        ("mailto:someone@example.com", NotAUrl),
        ("ftp://example.com/", Scheme),
        ("file:///etc/passwd", Scheme),
        ("gopher://127.0.0.1/", Scheme),
        ("http://example.com/", HttpNotAllowed),
        (" https://example.com/", Blank),
        ("https://example.com/a b", Blank),
        ("https://exam\tple.com/", Blank),
        ("https://example.com/\r\nX: y", Blank),
        ("https://example.com/\u{a0}", Blank),
        ("https://example.com/hook\u{200b}", Blank),
        ("https://example.com/hook\u{feff}", Blank),
        ("https://example.com/hook\u{2060}", Blank),
        ("https://exam\u{200d}ple.com/hook", Blank),
        ("https://example.com\u{ad}/hook", Blank),
        ("\u{202e}https://example.com/hook", Blank),
        ("https://", MissingHost),
        ("https:///hook", MissingHost),
        ("https://:443/", MissingHost),
        ("https://?a", MissingHost),
        ("https://user@example.com/", Credentials),
        ("https://user:pass@example.com/", Credentials),
        ("https://:@example.com/", Credentials),
        ("https://@example.com/", Credentials),
    ] {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn wrong_hosts_and_ports_are_named() {
    use InvalidTarget::*;
    for (text, error) in [
        ("https://example.com:0/", BlockedPort(0)),
        ("https://example.com:25/", BlockedPort(25)),
        ("https://example.com:6667/", BlockedPort(6667)),
        ("https://example.com:10080/", BlockedPort(10080)),
        ("https://example.com:65536/", InvalidPort),
        ("https://example.com:x/", InvalidPort),
        ("https://exa mple.com/", Blank),
        ("https://exa%20mple.com/", InvalidHost),
        ("https://-example.com/", InvalidHost),
        ("https://example-.com/", InvalidHost),
        ("https://a..example.com/", InvalidHost),
        ("https://.example.com/", InvalidHost),
        ("https://example.com../", InvalidHost),
        ("https://exa\"mple.com/", InvalidHost),
        ("https://exa*mple.com/", InvalidHost),
        ("https://[::1/", InvalidHost),
        ("https://[fe80::1%25eth0]/", InvalidHost),
        ("https://1.2.3.4.5/", InvalidHost),
        ("https://256.1.1.1/", InvalidHost),
        ("https://0x100000000/", InvalidHost),
        (&format!("https://{}.com/", "a".repeat(64)), InvalidHost),
        (&format!("https://{}com/", "a.".repeat(126)), InvalidHost),
        (&format!("https://example.com/{}", "a".repeat(481)), TooLong(501)),
    ] {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
    assert!(parse(&format!("https://example.com/{}", "a".repeat(480))).is_ok());
}

#[test]
fn every_spelling_of_a_private_address_is_refused() {
    let hosts = "\
            127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0X7F.0.0.1 017700000001 0177.0.0.1 \
            127.0.0.1. %31%32%37.0.0.1 １２７.0.0.1 ①②⑦.0.0.1 127。0。0。1 0 0x 10.0.0.1 169.254.169.254 \
            0xa9fea9fe 2852039166 192.168.1 255.255.255.255 [::] [::1] [::ffff:127.0.0.1] \
            [::ffff:7f00:1] [::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::7f00:1] [2002:7f00:1::] \
            [2001:0:7f00:1::] [fe80::1] [fec0::1] [fd00::1] [ff02::1] [5f00::1] [::ffff:8.8.8.8] \
            [2001:db8::1] [0:0:0:0:0:0:0:1]";
    for host in hosts.split_whitespace() {
        let text = format!("https://{host}/hook");
        assert!(
            matches!(parse(&text), Err(InvalidTarget::Address(_))),
            "{host}: {:?}",
            parse(&text)
        );
    }
}

#[test]
fn development_switches_open_http_and_the_named_networks() {
    let rules = TargetRules {
        allow_http: true,
        addresses: AddressRules {
            allow: vec!["127.0.0.0/8".parse().expect("a network")],
            deny: vec![],
        },
    };
    for (text, ok) in [
        ("http://127.0.0.1:9000/hook", true),
        ("http://[::ffff:127.0.0.1]:9000/hook", true),
        ("http://localhost:9000/hook", true),
        ("https://example.com/hook", true),
        ("http://10.0.0.1/hook", false),
        ("ftp://127.0.0.1/hook", false),
        ("http://127.0.0.1:22/hook", false),
    ] {
        assert_eq!(TargetUrl::parse(text, &rules).is_ok(), ok, "{text}");
    }
}

#[test]
fn a_masked_url_keeps_the_port_and_never_overlaps_the_host() {
    for (url, masked) in [
        (
            "https://hooks.example.com/T0/credential",
            "https://hooks.example.com/…tial",
        ),
        ("https://example.com:443/credential", "https://example.com/…tial"),
        (
            "https://example.com:8443/credential",
            "https://example.com:8443/…tial",
        ),
        ("http://127.0.0.1:9000/hook", "http://127.0.0.1:9000/…hook"),
        ("https://example.com/abc", "https://example.com/…abc"),
        ("https://example.com/x", "https://example.com/…x"),
        ("https://example.com/a/b/", "https://example.com/…a/b/"),
        ("https://example.com/", "https://example.com/…"),
        ("https://example.com", "https://example.com/…"),
        ("https://example.com:8443", "https://example.com:8443/…"),
        (
            "https://[2606:4700::1111]:8443/credential",
            "https://[2606:4700::1111]:8443/…tial",
        ),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/…"),
        (
            "https://example.com/hook?key=credential",
            "https://example.com/…tial",
        ),
        ("https://example.com/?k=1", "https://example.com/…?k=1"),
        ("https://example.com?k", "https://example.com/…?k"),
        ("https://example.com/é", "https://example.com/…3%A9"),
    ] {
        let url = TargetUrl::from_trusted(url).expect("a URL");
        assert_eq!(url.masked(), masked);
        assert_eq!(format!("{url:?}"), masked);
    }
}

#[test]
fn debug_output_and_errors_keep_the_path_to_themselves() {
    let url = TargetUrl::from_trusted("https://hooks.example.com/services/T0/B0/credential").expect("a URL");
    assert_eq!(format!("{url:?}"), "https://hooks.example.com/…tial");
    assert_eq!(TargetUrl::from_trusted("ftp://x/"), Err(InvalidTarget::Scheme));
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_accepted_is_accepted_again(text in "(https?://)?[ -~]{0,40}|\\PC{0,40}") {
        let rules = TargetRules { allow_http: true, ..TargetRules::default() };
        if let Ok(url) = TargetUrl::parse(&text, &rules) {
            prop_assert_eq!(TargetUrl::parse(url.reveal().as_str(), &rules), Ok(url.clone()));
            prop_assert_eq!(TargetUrl::from_trusted(url.reveal().as_str()), Ok(url));
        }
    }

    #[test]
    fn a_literal_ipv4_address_is_accepted_only_when_it_is_public(bits: u32) {
        let verdict = AddressRules::default().check(std::net::Ipv4Addr::from(bits).into());
        let public = !matches!(verdict, crate::domain::address::Verdict::Refused(_));
        for host in [format!("{}", std::net::Ipv4Addr::from(bits)), format!("{bits}"), format!("{bits:#x}"), format!("0{bits:o}")] {
            prop_assert_eq!(parse(&format!("https://{host}/")).is_ok(), public, "{}", host);
        }
    }
}
