use super::*;

fn strike(url: &str, credentials: &[&str], body: &str) -> String {
    let url = Url::parse(url).expect("a URL");
    let redactions = Redactions::new(&url, credentials.iter().copied());
    String::from_utf8(redactions.strike(body.as_bytes(), false)).expect("text")
}

#[test]
fn what_an_endpoint_echoes_of_its_credentials_is_struck_out() {
    let url = "https://example.com/services/T0/B0123456/cre%20dential?key=se%2Fcret&a=b";
    let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "Bearer abc-def-123"];
    for (echoed, kept) in [
        (
            "POST /services/T0/B0123456/cre%20dential",
            "POST /[redacted]/T0/[redacted]/[redacted]",
        ),
        ("path: cre dential", "path: [redacted]"),
        ("?key=se%2Fcret&a=b!", "?[redacted]!"),
        ("{\"key\":\"se/cret\"}", "{\"key\":\"[redacted]\"}"),
        ("{\"key\":\"se\\/cret\"}", "{\"key\":\"[redacted]\"}"),
        ("key=se%2Fcret&amp;a=b", "[redacted]"),
        ("Authorization: Bearer abc-def-123", "Authorization: [redacted]"),
        ("token abc-def-123", "token [redacted]"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "[redacted]"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "[redacted]"),
        ("T0 is short, and so is b", "T0 is short, and so is b"),
        ("nothing of the kind", "nothing of the kind"),
    ] {
        assert_eq!(strike(url, &secrets, echoed), kept);
    }
}

#[test]
fn what_is_echoed_in_another_form_is_struck_out_too() {
    let url = "https://example.com/services/T00000000/XXXXSECRETPATHXXXX?sig=a%2Bb%2fc";
    // The second is "user:passw0rd-xyz", the third "sk_live_0123456789:".
    let secrets = [
        "Bearer Abc-Def-123",
        "Basic dXNlcjpwYXNzdzByZC14eXo=",
        "basic c2tfbGl2ZV8wMTIzNDU2Nzg5Og",
    ];
    for (echoed, kept) in [
        ("/t00000000/xxxxsecretpathxxxx", "/[redacted]/[redacted]"),
        ("SIG=A%2BB%2FC", "[redacted]"),
        ("BEARER ABC-DEF-123 or abc-def-123", "[redacted] or [redacted]"),
        ("user:passw0rd-xyz", "[redacted]"),
        ("password passw0rd-xyz of user", "password [redacted] of user"),
        ("no key sk_live_0123456789", "no key [redacted]"),
    ] {
        assert_eq!(strike(url, &secrets, echoed), kept);
    }
    let url = Url::parse(url).expect("a URL");
    let redactions = Redactions::new(&url, secrets.into_iter());
    let echoed: Vec<u16> = "is abc-def-123!".encode_utf16().collect();
    for (to_bytes, kept) in [
        (u16::to_le_bytes as fn(u16) -> [u8; 2], "i\0s\0 [redacted]\0!\0"),
        (u16::to_be_bytes, "\0i\0s\0 [redacted]\0!"),
    ] {
        let body: Vec<u8> = echoed.iter().flat_map(|unit| to_bytes(*unit)).collect();
        assert_eq!(redactions.strike(&body, false), kept.as_bytes());
    }
}

#[test]
fn a_credential_at_the_cut_leaves_no_beginning() {
    let url = Url::parse("https://example.com/0123456789abcdef").expect("a URL");
    let redactions = Redactions::new(&url, ["secret-secret"].into_iter());
    let struck =
        |body: &str, is_cut| String::from_utf8(redactions.strike(body.as_bytes(), is_cut)).expect("text");
    assert_eq!(struck("at /0123456789abc", true), "at /[redacted]");
    assert_eq!(struck("at /0123456789abc", false), "at /0123456789abc");
    assert_eq!(struck("the secret-sec", true), "the [redacted]");
    assert_eq!(struck("the SECRET-SEC", true), "the [redacted]");
    assert_eq!(struck("the se", true), "the se");
}

#[test]
fn what_is_echoed_with_escapes_is_struck_out_too() {
    let url = "https://example.com/café-token-1/plain?sig=a%2Bb";
    let secrets = ["Bearer a+b<c>d\"e&f'g h/i\\j"];
    for echoed in [
        r#"Bearer a+b<c>d"e&f'g h/i\j"#,
        // JSON as ASP.NET, Go and Rails, PHP and Python write it.
        r"Bearer a\u002Bb\u003Cc\u003Ed\u0022e\u0026f\u0027g h/i\\j",
        r#"Bearer a+b\u003cc\u003ed\"e\u0026f'g h/i\\j"#,
        r#"Bearer a+b<c>d\"e&f'g h\/i\\j"#,
        // HTML, URLs, and JSON within a string of JSON.
        r"Bearer a+b&lt;c&gt;d&quot;e&amp;f&#x27;g h/i\j",
        r"Bearer a+b&#60;c&#62;d&#34;e&#38;f&apos;g h/i\j",
        "Bearer%20a%2Bb%3Cc%3Ed%22e%26f%27g%20h%2Fi%5Cj",
        r#"Bearer a+b<c>d\\\"e&f'g h/i\\\\j"#,
        r"caf\u00e9-token-1",
        "caf&#233;-token-1",
        "caf%C3%A9-token-1",
        "café-token-1",
    ] {
        assert_eq!(
            strike(url, &secrets, &format!("({echoed})")),
            "([redacted])",
            "{echoed}"
        );
    }
    for plain in [r"100% \o/ &c. %41 \u0041 &amp;", "caf&#233;"] {
        assert_eq!(strike(url, &secrets, plain), plain);
    }
    let url = Url::parse(url).expect("a URL");
    let redactions = Redactions::new(&url, secrets.into_iter());
    for cut in [r"Bearer a\u002Bb\u00", "Bearer a+b&l", "Bearer%20a%2"] {
        assert_eq!(
            redactions.strike(format!("is {cut}").as_bytes(), true),
            b"is [redacted]",
            "{cut}"
        );
    }
}
