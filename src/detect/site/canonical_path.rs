//! The form in which paths are compared: decoded, and composed as Unicode's NFC.
//!
//! An encoded slash is no slash, since it does not separate segments: it becomes a character of its
//! own. Escapes of bytes that are no UTF-8 stay, in one spelling.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use memchr::memchr;
use percent_encoding::percent_encode_byte;

/// Stands for an encoded slash; a character that no text may contain.
const ENCODED_SLASH: char = '\u{fdd0}';

/// The form of a path, or of a piece of a pattern, by which it is compared. Borrows it if it has
/// that form already, as nearly always.
pub(in crate::detect) fn canonical(path: &str) -> Cow<'_, str> {
    let has_escapes = memchr(b'%', path.as_bytes()).is_some();
    if !has_escapes && path.is_ascii() {
        return Cow::Borrowed(path);
    }
    let composed = ComposingNormalizerBorrowed::new_nfc();
    match has_escapes {
        true => Cow::Owned(composed.normalize(&decode(path)).into_owned()),
        false => composed.normalize(path),
    }
}

/// True if a path's first three bytes may not be those of its canonical form.
pub(super) fn may_begin_otherwise(path: &str) -> bool {
    path.bytes().take(3).any(|byte| byte == b'%' || !byte.is_ascii())
}

/// True if a path's last byte may not be that of its canonical form.
pub(super) fn may_end_otherwise(path: &str) -> bool {
    path.bytes()
        .rev()
        .take(3)
        .any(|byte| byte == b'%' || !byte.is_ascii())
}

/// Decodes escapes. Bytes that are no text, such as Latin-1, are left as escapes in capitals.
fn decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.first_chunk().and_then(|digits| byte_of(*digits));
        match escaped.filter(|_| *first == b'%') {
            Some(b'/') => bytes.extend(ENCODED_SLASH.encode_utf8(&mut [0; 4]).bytes()),
            Some(byte) => bytes.push(byte),
            None => {
                bytes.push(*first);
                rest = tail;
                continue;
            }
        }
        rest = &tail[2..];
    }
    String::from_utf8(bytes).unwrap_or_else(|error| escape_invalid(error.as_bytes()))
}

/// Writes the bytes that belong to no character as escapes.
fn escape_invalid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| percent_encode_byte(*byte)));
    }
    text
}

/// The byte that two hexadecimal digits stand for.
fn byte_of(digits: [u8; 2]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_and_composed() {
        for (path, form) in [
            ("/plain", "/plain"),
            ("/caf%C3%A9", "/café"),
            ("/caf%c3%a9", "/café"),
            ("/cafe\u{301}", "/café"),
            ("/cafe%CC%81", "/café"),
            ("/a%20b", "/a b"),
            ("/100%", "/100%"),
            ("/100%25", "/100%"),
            ("/%zz%4", "/%zz%4"),
            ("/a%2Fb", "/a\u{fdd0}b"),
            ("/a%2fb", "/a\u{fdd0}b"),
            ("/a%252Fb", "/a%2Fb"),
            ("/%2A", "/*"),
            ("/%C3", "/%C3"),
            ("/%c3", "/%C3"),
            ("/caf%e9", "/caf%E9"),
            ("/caf%C3%A9/x%FF", "/café/x%FF"),
            ("/cafe\u{301}/%ff%fe", "/café/%FF%FE"),
            ("/%e2%82/%41", "/%E2%82/A"),
            ("", ""),
        ] {
            assert_eq!(canonical(path), form, "{path}");
        }
    }
}
