use super::*;

fn secret(text: &str) -> Secret {
    Secret::parse(text).expect("a valid secret")
}

#[test]
fn standard_signatures_equal_the_published_known_answers() {
    for (key, id, timestamp, body, expected) in [
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
    ] {
        let secret = secret(key);
        assert_eq!(standard(&secret, id, timestamp, body.as_bytes()), expected);
        let list = format!("v1,AAAA v1a,xyz {expected}");
        let time = timestamp.to_string();
        assert!(verify_standard(&secret, id, &time, body.as_bytes(), &list));
        assert!(!verify_standard(&secret, id, "1", body.as_bytes(), &list));
    }
}

/// Expected: `printf %s "$BODY" | openssl dgst -sha256 -hmac "$SECRET"`.
#[test]
fn plain_signatures_equal_those_of_openssl() {
    for (key, expected) in [
        (
            "a-plain-secret-of-mine",
            "468d97c635addd8914b2504f9c7018cc5d25bd10b39c93534d4ce9280290a3e1",
        ),
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c",
        ),
        (
            "geheimnis-mit-ümlaut",
            "8bbc9ce41d8eb80e172d79e5422f061a8b2673d16da8c8f7cda4cd628940a80f",
        ),
    ] {
        let secret = secret(key);
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(plain(&secret, body), format!("sha256={expected}"), "{key}");
        assert!(verify_plain(&secret, body, &plain(&secret, body)));
        assert!(!verify_plain(&secret, b"{}", &plain(&secret, body)));
    }
}

#[test]
fn a_header_that_is_no_signature_is_not_verified() {
    let secret = secret("a-plain-secret-of-mine");
    for header in [
        "",
        "sha256=",
        "sha256=zz",
        "sha1=00",
        "sha256=é",
        "v1,",
        "v1,====",
        " ",
    ] {
        assert!(!verify_plain(&secret, b"x", header), "{header}");
        assert!(!verify_standard(&secret, "i", "1", b"x", header), "{header}");
    }
}
