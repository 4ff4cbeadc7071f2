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
fn a_credential_at_the_cut_leaves_no_beginning() {
    let url = Url::parse("https://example.com/0123456789abcdef").expect("a URL");
    let redactions = Redactions::new(&url, ["secret-secret"].into_iter());
    let struck =
        |body: &str, is_cut| String::from_utf8(redactions.strike(body.as_bytes(), is_cut)).expect("text");
    assert_eq!(struck("at /0123456789abc", true), "at /[redacted]");
    assert_eq!(struck("at /0123456789abc", false), "at /0123456789abc");
    assert_eq!(struck("the secret-sec", true), "the [redacted]");
    assert_eq!(struck("the se", true), "the se");
}
