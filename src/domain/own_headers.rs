//! The headers a webhook's owner may add to every request: at most ten, none that HTTP or
//! Bellwether needs for itself.

/// Most own headers of a webhook.
pub(crate) const MAX_OWN_HEADERS: usize = 10;
/// Longest name, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 128;
/// Longest value, in bytes. Tokens are a few hundred; many servers refuse all headers together
/// above 8 KiB.
pub(crate) const MAX_VALUE_BYTES: usize = 4_096;

/// Reason why a header cannot be one of a webhook's own. It never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidHeader {
    #[error("a header name has 1 to {MAX_NAME_BYTES} of these: letters, digits and !#$%&'*+-.^_`|~")]
    Name,
    #[error("`{0}` is set by Bellwether or by HTTP itself")]
    Reserved(String),
    #[error("a header value has at least one character")]
    EmptyValue,
    #[error("a header value has at most {MAX_VALUE_BYTES} characters, this one has {0}")]
    ValueTooLong(usize),
    #[error("a header value has visible ASCII characters, and spaces only between them")]
    Value,
    #[error("a webhook has at most {MAX_OWN_HEADERS} headers of its own, not {0}")]
    TooMany(usize),
}

/// Names that belong to the connection or to the message and not to its sender, in lower case: what
/// RFC 9110 §7.6.1 lists as hop-by-hop, with RFC 7540 §3.2.1 (`http2-settings`).
const RESERVED: &[&str] = &[
    "host",
    "user-agent",
    "expect",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];
/// Whole families of such names.
const RESERVED_PREFIXES: &[&str] = &["content-", "proxy-", "webhook-", "x-webhook-"];

/// A regular expression (ECMA-262) for the names that are refused, in any case and with `_` for
/// `-`.
pub(crate) fn reserved_pattern() -> String {
    let of_word = |word: &str| -> String {
        let chars = word.chars().map(|char| match char {
            '-' => "[-_]".to_owned(),
            char if char.is_ascii_alphabetic() => format!("[{}{char}]", char.to_ascii_uppercase()),
            char => char.to_string(),
        });
        chars.collect()
    };
    let whole = RESERVED.iter().map(|word| format!("{}$", of_word(word)));
    let begun = RESERVED_PREFIXES.iter().map(|prefix| of_word(prefix));
    format!("^(?:{})", whole.chain(begun).collect::<Vec<_>>().join("|"))
}

/// Checks one header of a webhook's own.
pub(crate) fn check_own_header(name: &str, value: &str) -> Result<(), InvalidHeader> {
    // A token, RFC 9110 §5.6.2.
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.bytes().all(token) {
        return Err(InvalidHeader::Name);
    }
    // Some servers read `_` as `-` (CGI turns both into `_`), so `X_Webhook_Signature` would pose
    // as ours.
    let plain = name.to_ascii_lowercase().replace('_', "-");
    if RESERVED.contains(&plain.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| plain.starts_with(prefix))
    {
        return Err(InvalidHeader::Reserved(name.to_owned()));
    }
    match value.len() {
        0 => return Err(InvalidHeader::EmptyValue),
        n if n > MAX_VALUE_BYTES => return Err(InvalidHeader::ValueTooLong(n)),
        _ => {}
    }
    // Spaces at an end are not part of a value (RFC 9110 §5.5): the receiver would see another one
    // than was entered.
    let visible = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if !visible || value.starts_with(' ') || value.ends_with(' ') {
        return Err(InvalidHeader::Value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_owners_need_is_taken() {
        for (name, value) in [
            ("Authorization", "Bearer abc.def-ghi"),
            ("X-Api-Key", "k"),
            ("Cookie", "a=b; c=d"),
            ("x-tenant", "some value with spaces"),
            ("Accept", "*/*"),
            ("X-Webhook", "close to ours, and not ours"),
            ("Contentful-Id", "1"),
            ("!#$%&'*+-.^_`|~", "odd but a token"),
        ] {
            assert_eq!(check_own_header(name, value), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_http_or_bellwether_sets_is_refused_in_any_case() {
        for name in "Host Content-Type content-length CONTENT-ENCODING User-Agent Expect Connection Keep-Alive TE Trailer \
                     Transfer-Encoding Upgrade Proxy-Authorization Proxy-Connection proxy-x HTTP2-Settings webhook-id \
                     Webhook-Signature webhook-anything X-Webhook-Signature x-webhook-Event X-WEBHOOK-own \
                     X_Webhook_Signature Content_Length"
            .split_whitespace()
        {
            assert_eq!(
                check_own_header(name, "v"),
                Err(InvalidHeader::Reserved(name.to_owned()))
            );
        }
    }

    #[test]
    fn names_that_are_no_tokens_and_line_breaks_are_refused() {
        for name in [
            "",
            "a b",
            "a:b",
            ":authority",
            "a\r\nb",
            "ä",
            "a\0",
            "(a)",
            "a/b",
            "\"a\"",
            "a,b",
            &"a".repeat(129),
        ] {
            assert_eq!(check_own_header(name, "v"), Err(InvalidHeader::Name), "{name:?}");
        }
        for value in [
            "a\r\nX: y",
            "a\nb",
            "a\rb",
            "a\0b",
            "a\tb",
            "\u{7f}",
            "é",
            " a",
            "a ",
            "\u{200b}",
            " ",
        ] {
            assert_eq!(
                check_own_header("X-A", value),
                Err(InvalidHeader::Value),
                "{value:?}"
            );
        }
        assert_eq!(check_own_header("X-A", ""), Err(InvalidHeader::EmptyValue));
        assert_eq!(
            check_own_header("X-A", &"a".repeat(4_097)),
            Err(InvalidHeader::ValueTooLong(4_097))
        );
    }
}
