//! Paths without what may name a person or open a door: segments that look like an e-mail address or a token become
//! `:redacted`.
//!
//! A token is a UUID, a JWT, a run of at least 24 hexadecimal digits, or at least 24 characters that mix upper case,
//! lower case and digits. The last one alone needs judgement, since `My-10-Favourite-Books-of-2026` does that too:
//! without a separator such a run is a token; with separators it is one only if the kind of character changes inside
//! its words as often as chance would have it. Percent-encoding, also done twice, hides nothing.

use std::borrow::Cow;

use memchr::memchr2;
use percent_encoding::percent_decode_str;

/// What stands where something was taken out.
pub(crate) const REDACTED: &str = ":redacted";

/// Fewest characters of a token that is recognised by its characters alone.
const TOKEN_CHARS: usize = 24;

/// The path with telling segments replaced. Borrows if there are none, as nearly always.
pub(crate) fn redact(path: &str) -> Cow<'_, str> {
    if is_plain(path) || !path.split('/').any(is_telling) {
        return Cow::Borrowed(path);
    }
    let kept: Vec<&str> = path
        .split('/')
        .map(|segment| if is_telling(segment) { REDACTED } else { segment })
        .collect();
    Cow::Owned(kept.join("/"))
}

/// Whether there is nothing in it to look at, as in most paths: no segment has a token's length, an at sign or an escape.
fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    memchr2(b'@', b'%', bytes).is_none()
        && bytes
            .split(|byte| *byte == b'/')
            .all(|segment| segment.len() < TOKEN_CHARS)
}

/// Whether a segment looks like an e-mail address or a token, as written or decoded.
fn is_telling(segment: &str) -> bool {
    let mut text = Cow::Borrowed(segment);
    for _ in 0..3 {
        if holds_email(&text) || holds_token(&text) {
            return true;
        }
        if !text.contains('%') {
            return false;
        }
        text = Cow::Owned(percent_decode_str(&text).decode_utf8_lossy().into_owned());
    }
    false
}

/// `a@b.c` anywhere in the text, with any letters: not `@handle`, not `name@`, not `a@b`.
fn holds_email(text: &str) -> bool {
    text.match_indices('@').any(|(at, _)| {
        let local = text[..at].chars().next_back();
        let domain = &text[at + 1..];
        let end = domain
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '.')))
            .unwrap_or(domain.len());
        let dotted = domain[..end]
            .trim_matches('.')
            .split_once('.')
            .is_some_and(|(host, top)| !host.is_empty() && !top.is_empty());
        dotted && local.is_some_and(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c))
    })
}

fn holds_token(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= TOKEN_CHARS
        && (holds_uuid(bytes) || holds_long_hex(bytes) || is_jwt(text) || is_mixed(bytes))
}

/// 8-4-4-4-12 hexadecimal digits, wherever they begin.
fn holds_uuid(bytes: &[u8]) -> bool {
    bytes.windows(36).any(|window| {
        window.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    })
}

fn holds_long_hex(bytes: &[u8]) -> bool {
    bytes
        .split(|byte| !byte.is_ascii_hexdigit())
        .any(|run| run.len() >= TOKEN_CHARS)
}

/// Three parts of base64url, the first of which begins like `{"` does.
fn is_jwt(text: &str) -> bool {
    let mut parts = text.split('.');
    let base64url = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'='))
    };
    let (header, claims, signature) = (parts.next(), parts.next(), parts.next());
    header.is_some_and(|part| part.starts_with("eyJ") && base64url(part))
        && claims.is_some_and(|part| !part.is_empty() && base64url(part))
        && signature.is_some_and(base64url)
        && parts.next().is_none()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Upper,
    Lower,
    Digit,
    /// What may stand inside a token, but separates the words of a slug.
    Separator,
    Else,
}

fn class(byte: u8) -> Class {
    match byte {
        b'A'..=b'Z' => Class::Upper,
        b'a'..=b'z' => Class::Lower,
        b'0'..=b'9' => Class::Digit,
        b'-' | b'_' | b'.' | b'~' | b'+' | b'=' => Class::Separator,
        _ => Class::Else,
    }
}

/// Whether a run of token characters mixes upper case, lower case and digits the way tokens do.
fn is_mixed(bytes: &[u8]) -> bool {
    let runs = |ends: fn(Class) -> bool| {
        bytes
            .split(move |byte| ends(class(*byte)))
            .filter(|run| run.len() >= TOKEN_CHARS)
            .filter(|run| {
                [Class::Upper, Class::Lower, Class::Digit]
                    .into_iter()
                    .all(|wanted| run.iter().any(|b| class(*b) == wanted))
            })
    };
    if runs(|class| matches!(class, Class::Separator | Class::Else))
        .next()
        .is_some()
    {
        return true;
    }
    // Two letters or digits drawn at random differ in kind, not counting a capital at a word's beginning, almost
    // every second time. In a slug they do so where a number is glued to a word: `Mp3`, `H264`, `iPhone`.
    runs(|class| class == Class::Else).any(|run| {
        let changes = run
            .windows(2)
            .filter(|pair| {
                let (a, b) = (class(pair[0]), class(pair[1]));
                a != b
                    && a != Class::Separator
                    && b != Class::Separator
                    && (a, b) != (Class::Upper, Class::Lower)
            })
            .count();
        changes >= 4 && changes * 6 >= run.len()
    })
}

#[cfg(test)]
mod tests {
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
}
