//! A webhook's own headers: which ones its owner may add to a request.

/// Most own headers of a webhook.
pub const MAX_HEADERS: usize = 10;
/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 100;
/// Longest value, in characters; long enough for a signed token.
pub const MAX_VALUE_CHARS: usize = 2_000;

/// Names that belong to the connection (RFC 9110 §7.6.1), to the body, or to us.
const RESERVED: [&str; 10] = [
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
const RESERVED_PREFIXES: [&str; 4] = ["content-", "proxy-", "webhook-", "x-webhook-"];

/// Why a header is refused. Never holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    #[error("a header name has 1 to {MAX_NAME_CHARS} characters out of letters, digits and !#$%&'*+-.^_`|~")]
    Name,
    #[error("this header is set by the connection or by Bellwether itself and cannot be replaced")]
    Reserved,
    #[error("a header value has at most {MAX_VALUE_CHARS} characters")]
    TooLong,
    #[error(
        "a header value has only visible ASCII characters, spaces and tabs, and neither starts nor ends with a blank"
    )]
    Value,
}

/// Whether `name` may be the name of an own header.
pub fn check_name(name: &str) -> Result<(), InvalidHeader> {
    if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.bytes().all(is_token_byte) {
        return Err(InvalidHeader::Name);
    }
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
    {
        return Err(InvalidHeader::Reserved);
    }
    Ok(())
}

/// Whether `value` may be the value of an own header. Other than ASCII is refused: servers disagree on what it means.
pub fn check_value(value: &str) -> Result<(), InvalidHeader> {
    if value.chars().count() > MAX_VALUE_CHARS {
        return Err(InvalidHeader::TooLong);
    }
    let visible = value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if !visible || value.trim_matches([' ', '\t']).len() != value.len() {
        return Err(InvalidHeader::Value);
    }
    Ok(())
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_connection_the_body_and_bellwether_are_reserved_in_any_case() {
        for name in [
            "Host",
            "CONNECTION",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "User-Agent",
            "Expect",
            "Proxy-Authorization",
            "Proxy-Anything",
            "Content-Type",
            "content-length",
            "Content-X",
            "webhook-id",
            "Webhook-Anything",
            "X-Webhook-Signature",
            "x-webhook-anything",
        ] {
            assert_eq!(check_name(name), Err(InvalidHeader::Reserved), "{name}");
        }
        for name in [
            "Authorization",
            "X-Api-Key",
            "X-Webhooks",
            "Webhooks",
            "Contents",
            "Cookie",
            "a",
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_name_is_a_token() {
        for name in ["", "a b", "a:b", "a\n", "a\0", "ü", "(a)", &"a".repeat(101)] {
            assert_eq!(check_name(name), Err(InvalidHeader::Name), "{name:?}");
        }
        assert_eq!(check_name(&"a".repeat(100)), Ok(()));
    }

    #[test]
    fn a_value_cannot_end_the_header_or_begin_another() {
        for value in ["a\r\nb", "a\nb", "a\0b", "a\u{7f}", "é", " a", "a ", "\ta"] {
            assert_eq!(check_value(value), Err(InvalidHeader::Value), "{value:?}");
        }
        assert_eq!(check_value(&"a".repeat(2_001)), Err(InvalidHeader::TooLong));
        for value in ["", "a", "Bearer a.b-c", "a\tb", "a b", &"a".repeat(2_000)] {
            assert_eq!(check_value(value), Ok(()), "{value:?}");
        }
    }
}
