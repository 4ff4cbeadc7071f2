//! Strikes credentials out of what an endpoint answers, since many echo what they were sent.

use std::ops::Range;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;
use url::Url;

use super::unescape::Unescaped;
use crate::domain::texts::has_control;

/// Stands where something was struck out.
pub(super) const MARK: &[u8] = b"[redacted]";
/// Shortest path segment, in characters, that may be a credential.
const MIN_SEGMENT_CHARS: usize = 8;
/// Shortest value of the query or of a header that is looked for: a shorter one would take words
/// out of ordinary text.
const MIN_VALUE_BYTES: usize = 3;

/// Times that what was sent may be escaped: JSON within a string of JSON.
const ESCAPED_TIMES: usize = 2;

/// Reads base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The texts that no stored response may hold, in whatever case.
#[derive(Default)]
pub(super) struct Redactions {
    /// The longest first, so that a part does not keep the whole from being found.
    texts: Vec<Vec<u8>>,
}

impl Redactions {
    /// Collects them: secrets and the values of headers, the URL's query with each of its values,
    /// and path segments of 8 or more characters.
    pub(super) fn new<'a>(url: &Url, credentials: impl Iterator<Item = &'a str>) -> Self {
        let mut texts = Self::default();
        for value in credentials {
            texts.add(value);
            // A scheme and a token ("Bearer …") are echoed apart, too.
            value
                .split(' ')
                .filter(|word| word.len() >= MIN_SEGMENT_CHARS)
                .for_each(|word| {
                    texts.add(word);
                    texts.add_decoded(word);
                });
            if let Some(bare) = value.strip_prefix("whsec_") {
                texts.add(bare);
            }
        }
        if let Some(query) = url.query() {
            texts.add_encoded(query);
            for (_, value) in url.query_pairs() {
                texts.add(&value);
            }
            for pair in query.split('&') {
                texts.add_encoded(pair.split_once('=').map_or(pair, |(_, value)| value));
            }
        }
        let segments = url.path_segments().into_iter().flatten();
        for segment in segments.filter(|one| one.chars().count() >= MIN_SEGMENT_CHARS) {
            texts.add_encoded(segment);
        }
        texts
            .texts
            .sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
        texts
    }

    /// Adds a text of a URL as it stands there and as it reads.
    fn add_encoded(&mut self, text: &str) {
        self.add(text);
        self.add(&percent_decode_str(text).decode_utf8_lossy());
    }

    /// Adds the text that a word is the base64 of, if it is; and user and password apart, as
    /// "Basic …" holds them (RFC 7617).
    fn add_decoded(&mut self, word: &str) {
        let decoded = BASE64
            .decode(word)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(text) = decoded.filter(|text| !has_control(text)) else {
            return;
        };
        if let Some((user, password)) = text.split_once(':') {
            self.add(password);
            if user.chars().count() >= MIN_SEGMENT_CHARS {
                self.add(user);
            }
        }
        self.add(&text);
    }

    /// Adds a text, and the bytes of UTF-16.
    fn add(&mut self, text: &str) {
        if text.len() < MIN_VALUE_BYTES {
            return;
        }
        let utf16 =
            |to_bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
        for form in [
            text.as_bytes().to_vec(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
        ] {
            if !self.texts.iter().any(|known| known.eq_ignore_ascii_case(&form)) {
                self.texts.push(form);
            }
        }
    }

    /// Strikes them out of `body`, as they are and as the escapes of JSON, HTML and URLs write
    /// them, also twice. Of a body that was cut off, a beginning of one at its very end goes, too.
    pub(super) fn strike(&self, body: &[u8], is_cut: bool) -> Vec<u8> {
        let mut found = Vec::new();
        let mut read = Unescaped::plain(body);
        self.find(&read, is_cut, &mut found);
        for _ in 0..ESCAPED_TIMES {
            let Some(once_more) = read.unescape(is_cut) else {
                break;
            };
            read = once_more;
            self.find(&read, is_cut, &mut found);
        }
        found.sort_unstable_by_key(|part| part.start);
        let mut kept = Vec::with_capacity(body.len());
        let mut at = 0;
        for part in found {
            if part.start >= at {
                kept.extend_from_slice(&body[at..part.start]);
                kept.extend_from_slice(MARK);
            }
            at = at.max(part.end);
        }
        kept.extend_from_slice(&body[at..]);
        kept
    }

    /// Finds the parts of the body that read as one of the texts.
    fn find(&self, read: &Unescaped, is_cut: bool, found: &mut Vec<Range<usize>>) {
        let mut begins_one = [false; 256];
        for text in &self.texts {
            begins_one[usize::from(text[0].to_ascii_lowercase())] = true;
            begins_one[usize::from(text[0].to_ascii_uppercase())] = true;
        }
        let mut at = 0;
        while at < read.bytes.len() {
            let rest = &read.bytes[at..];
            if !begins_one[usize::from(rest[0])] {
                at += 1;
            } else if let Some(text) = self.texts.iter().find(|text| begins_with(rest, text)) {
                found.push(read.written(at..at + text.len()));
                at += text.len();
            } else if is_cut
                && self
                    .texts
                    .iter()
                    .any(|text| rest.len() >= MIN_VALUE_BYTES && begins_with(text, rest))
            {
                found.push(read.starts[at]..read.end);
                return;
            } else {
                at += 1;
            }
        }
    }
}

/// True if a text begins with another, in whatever case.
fn begins_with(text: &[u8], beginning: &[u8]) -> bool {
    text.get(..beginning.len())
        .is_some_and(|part| part.eq_ignore_ascii_case(beginning))
}

#[cfg(test)]
mod tests;
