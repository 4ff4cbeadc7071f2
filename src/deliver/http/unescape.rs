//! Reads the escapes with which JSON, HTML and URLs write characters, and remembers where each byte
//! was written.

use std::ops::Range;

/// Longest escape: a pair of surrogates in JSON.
const LONGEST: usize = 12;

/// A text without its escapes.
#[derive(Debug)]
pub(super) struct Unescaped {
    pub(super) bytes: Vec<u8>,
    /// Beginning of what each byte was read from.
    pub(super) starts: Vec<usize>,
    /// End of that.
    ends: Vec<usize>,
    /// Length of what was written.
    pub(super) end: usize,
}

impl Unescaped {
    /// Takes a text as it is.
    pub(super) fn plain(text: &[u8]) -> Self {
        Self {
            bytes: text.to_vec(),
            starts: (0..text.len()).collect(),
            ends: (1..=text.len()).collect(),
            end: text.len(),
        }
    }

    /// Returns the part that these bytes were read from.
    pub(super) fn written(&self, bytes: Range<usize>) -> Range<usize> {
        self.starts[bytes.start]..self.ends[bytes.end - 1]
    }

    /// Reads the escapes, of whatever kind; `None` if there are none. Of a text that was cut off
    /// within an escape, that one is left out.
    pub(super) fn unescape(&self, is_cut: bool) -> Option<Self> {
        if !self.bytes.iter().any(|byte| matches!(byte, b'\\' | b'&' | b'%')) {
            return None;
        }
        let mut read = Self {
            bytes: Vec::with_capacity(self.bytes.len()),
            starts: Vec::with_capacity(self.bytes.len()),
            ends: Vec::with_capacity(self.bytes.len()),
            end: self.end,
        };
        let mut at = 0;
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            let (escaped, length) = match escape(rest) {
                Some(found) => found,
                None if is_cut && may_be_cut(rest) => break,
                None => (Escaped::Byte(rest[0]), 1),
            };
            let written = self.written(at..at + length);
            let mut buffer = [0; 4];
            let bytes = match &escaped {
                Escaped::Byte(byte) => std::slice::from_ref(byte),
                Escaped::Char(one) => one.encode_utf8(&mut buffer).as_bytes(),
            };
            for byte in bytes {
                read.bytes.push(*byte);
                read.starts.push(written.start);
                read.ends.push(written.end);
            }
            at += length;
        }
        Some(read)
    }
}

enum Escaped {
    Byte(u8),
    Char(char),
}

/// True if a text may be the beginning of an escape whose rest is missing.
fn may_be_cut(text: &[u8]) -> bool {
    let length = match text[0] {
        b'\\' | b'&' => LONGEST,
        b'%' => "%41".len(),
        _ => return false,
    };
    text.len() < length
        && text[1..]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'#' | b'\\'))
}

/// The character that a text begins with as an escape, and the length of that.
fn escape(text: &[u8]) -> Option<(Escaped, usize)> {
    match text {
        [b'\\', b'u', ..] => json_escape(text).map(|(one, length)| (Escaped::Char(one), length)),
        [b'\\', byte @ (b'"' | b'\\' | b'/' | b'\''), ..] => Some((Escaped::Byte(*byte), 2)),
        [b'&', ..] => html_escape(text).map(|(one, length)| (Escaped::Char(one), length)),
        [b'%', high, low, ..] => {
            let byte = number(&[*high, *low], 16).and_then(|code| u8::try_from(code).ok())?;
            Some((Escaped::Byte(byte), 3))
        }
        _ => None,
    }
}

/// Reads `\u0041`, or two of them that are one character.
fn json_escape(text: &[u8]) -> Option<(char, usize)> {
    const LENGTH: usize = 6;
    let unit = |text: &[u8]| match text.get(..LENGTH)? {
        [b'\\', b'u', digits @ ..] => number(digits, 16).and_then(|code| u16::try_from(code).ok()),
        _ => None,
    };
    let first = unit(text)?;
    let second = unit(&text[LENGTH..]);
    let mut read = char::decode_utf16(std::iter::once(first).chain(second));
    let one = read.next()?.ok()?;
    Some((one, one.len_utf16() * LENGTH))
}

/// Reads `&amp;`, `&#38;` or `&#x26;`.
fn html_escape(text: &[u8]) -> Option<(char, usize)> {
    let end = text.iter().take(LONGEST).position(|byte| *byte == b';')?;
    let one = match &text[1..end] {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16)?)?,
        [b'#', digits @ ..] => char::from_u32(number(digits, 10)?)?,
        _ => return None,
    };
    Some((one, end + 1))
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_alphanumeric);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, is_cut: bool) -> String {
        let read = Unescaped::plain(text.as_bytes()).unescape(is_cut);
        let bytes = read.map_or_else(|| text.as_bytes().to_vec(), |read| read.bytes);
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn each_escape_is_read_and_what_is_none_stays() {
        for (written, wanted) in [
            (r"a\u002Bb\u00e9", "a+bé"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83d!", r"\ud83d!"),
            (r#"\"\\\/"#, r#""\/"#),
            ("&amp;&lt;&gt;&quot;&apos;&#x27;&#39;", "&<>\"'''"),
            (
                "&amp &nothing; &#xFFFFFFFF; &#;",
                "&amp &nothing; &#xFFFFFFFF; &#;",
            ),
            ("%2Fa%2b100%", "/a+100%"),
            ("%zz % 4", "%zz % 4"),
            ("plain", "plain"),
        ] {
            assert_eq!(read(written, false), wanted, "{written}");
        }
        for (written, wanted) in [
            (r"abc\u00", "abc"),
            ("abc&#x2", "abc"),
            ("abc%2", "abc"),
            ("abc% ", "abc% "),
        ] {
            assert_eq!(read(written, true), wanted, "{written}");
        }
    }

    proptest! {
        #[test]
        fn every_byte_knows_where_it_was_written(text: String, bytes: Vec<u8>, is_cut: bool) {
            for text in [text.as_bytes(), &bytes] {
                let mut read = Unescaped::plain(text);
                while let Some(next) = read.unescape(is_cut).filter(|next| next.bytes.len() < read.bytes.len()) {
                    read = next;
                }
                prop_assert!(read.starts.is_sorted() && read.ends.is_sorted());
                prop_assert!(read.starts.iter().zip(&read.ends).all(|(start, end)| start < end && *end <= text.len()));
            }
        }
    }
}
