//! Redaction of paths and sources: segments that look like an e-mail address or a token become
//! `:redacted`, because they may name a person or grant access.
//!
//! A token is a UUID, a JWT, a run of at least 24 hexadecimal digits, or at least 24 characters
//! that mix upper case, lower case and digits. Only the last form is ambiguous, since
//! `My-10-Favourite-Books-of-2026` has it too: without a separator such a run is a token; with
//! separators it is one only if the class of characters changes inside its words as often as in
//! random text. Segments are also checked percent-decoded, up to twice.

use std::borrow::Cow;

use memchr::memchr2;
use percent_encoding::percent_decode_str;

/// Replacement of a segment that was taken out.
pub(crate) const REDACTED: &str = ":redacted";

/// Smallest number of characters of a token that is recognised by its characters alone.
const TOKEN_CHARS: usize = 24;

/// Replaces the sensitive segments of a path. Borrows the path if there are none, as nearly always.
pub(crate) fn redact(path: &str) -> Cow<'_, str> {
    if is_plain(path) || !path.split('/').any(is_sensitive) {
        return Cow::Borrowed(path);
    }
    let kept: Vec<&str> = path
        .split('/')
        .map(|segment| if is_sensitive(segment) { REDACTED } else { segment })
        .collect();
    Cow::Owned(kept.join("/"))
}

/// Names a source of visitors. Of a URL that is its host: the path and the query of a referrer tell
/// what somebody did elsewhere. An e-mail address or a token is taken out.
pub(crate) fn redact_source(source: &str) -> Cow<'_, str> {
    if source.len() < TOKEN_CHARS && !source.bytes().any(|byte| b"/@%?#".contains(&byte)) {
        return Cow::Borrowed(source);
    }
    let name = host_of(source).unwrap_or(source);
    if name.is_empty() || is_sensitive(name) {
        return Cow::Borrowed(REDACTED);
    }
    Cow::Borrowed(name)
}

/// The host of a URL, also of one without a scheme if more than the host is there.
fn host_of(text: &str) -> Option<&str> {
    let (has_scheme, rest) = match text.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, text.trim_start_matches("//")),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rsplit('@').next()?;
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    // `Radio/TV` is a name, `t.example/abc` a URL.
    let is_host = host.contains('.') && !host.contains(' ');
    (has_scheme || is_host && rest.len() > end).then_some(host)
}

/// True if no segment needs a closer look, as in most paths: none has a token's length, an at sign
/// or an escape.
fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    memchr2(b'@', b'%', bytes).is_none()
        && bytes
            .split(|byte| *byte == b'/')
            .all(|segment| segment.len() < TOKEN_CHARS)
}

/// True if a segment looks like an e-mail address or a token, as written or decoded.
fn is_sensitive(segment: &str) -> bool {
    let mut text = Cow::Borrowed(segment);
    for _ in 0..3 {
        if has_email(&text) || has_token(&text) {
            return true;
        }
        if !text.contains('%') {
            return false;
        }
        text = Cow::Owned(percent_decode_str(&text).decode_utf8_lossy().into_owned());
    }
    false
}

/// Finds `a@b.c` anywhere in the text, with any letters: not `@handle`, not `name@`, not `a@b`.
fn has_email(text: &str) -> bool {
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

fn has_token(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= TOKEN_CHARS && (has_uuid(bytes) || has_long_hex(bytes) || is_jwt(text) || is_mixed(bytes))
}

/// Finds 8-4-4-4-12 hexadecimal digits, wherever they begin.
fn has_uuid(bytes: &[u8]) -> bool {
    bytes.windows(36).any(|window| {
        window.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    })
}

fn has_long_hex(bytes: &[u8]) -> bool {
    bytes
        .split(|byte| !byte.is_ascii_hexdigit())
        .any(|run| run.len() >= TOKEN_CHARS)
}

/// Recognises three parts of base64url, the first of which begins as `{"` is encoded.
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

/// The class of a byte, for telling random text from words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CharClass {
    Upper,
    Lower,
    Digit,
    /// A character that may stand inside a token, and that separates the words of a slug.
    Separator,
    Else,
}

fn class(byte: u8) -> CharClass {
    match byte {
        b'A'..=b'Z' => CharClass::Upper,
        b'a'..=b'z' => CharClass::Lower,
        b'0'..=b'9' => CharClass::Digit,
        b'-' | b'_' | b'.' | b'~' | b'+' | b'=' => CharClass::Separator,
        _ => CharClass::Else,
    }
}

/// True if a run of token characters mixes upper case, lower case and digits as tokens do.
fn is_mixed(bytes: &[u8]) -> bool {
    let runs = |ends: fn(CharClass) -> bool| {
        bytes
            .split(move |byte| ends(class(*byte)))
            .filter(|run| run.len() >= TOKEN_CHARS)
            .filter(|run| {
                [CharClass::Upper, CharClass::Lower, CharClass::Digit]
                    .into_iter()
                    .all(|wanted| run.iter().any(|b| class(*b) == wanted))
            })
    };
    if runs(|class| matches!(class, CharClass::Separator | CharClass::Else))
        .next()
        .is_some()
    {
        return true;
    }
    // Two neighbouring letters or digits drawn at random differ in class almost every second time,
    // not counting a capital at a word's beginning. In a slug they do so only where a number is
    // joined to a word: `Mp3`, `H264`, `iPhone`.
    runs(|class| class == CharClass::Else).any(|run| {
        let changes = run
            .windows(2)
            .filter(|pair| {
                let (a, b) = (class(pair[0]), class(pair[1]));
                a != b
                    && a != CharClass::Separator
                    && b != CharClass::Separator
                    && (a, b) != (CharClass::Upper, CharClass::Lower)
            })
            .count();
        changes >= 4 && changes * 6 >= run.len()
    })
}

#[cfg(test)]
mod tests;
