//! Strikes credentials out of what an endpoint answers, since many echo what they were sent.

use percent_encoding::percent_decode_str;
use url::Url;

/// Stands where something was struck out.
pub(super) const MARK: &[u8] = b"[redacted]";
/// Shortest path segment, in characters, that may be a credential.
const MIN_SEGMENT_CHARS: usize = 8;
/// Shortest value of the query or of a header that is looked for: a shorter one would take words
/// out of ordinary text.
const MIN_VALUE_BYTES: usize = 3;

/// The texts that no stored response may hold.
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
                .for_each(|word| texts.add(word));
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

    /// Adds a text, and the forms in which JSON and HTML write it.
    fn add(&mut self, text: &str) {
        if text.len() < MIN_VALUE_BYTES {
            return;
        }
        let json = text.replace('\\', "\\\\").replace('"', "\\\"");
        let slashes = json.replace('/', "\\/");
        let html = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;");
        for form in [text.to_owned(), json, slashes, html] {
            if !self.texts.iter().any(|known| known == form.as_bytes()) {
                self.texts.push(form.into_bytes());
            }
        }
    }

    /// Strikes them out of `body`. Of a body that was cut off, a beginning of one at its very end
    /// goes, too.
    pub(super) fn strike(&self, body: &[u8], is_cut: bool) -> Vec<u8> {
        let mut begins_one = [false; 256];
        for text in &self.texts {
            begins_one[usize::from(text[0])] = true;
        }
        let mut kept = Vec::with_capacity(body.len());
        let mut at = 0;
        while at < body.len() {
            let rest = &body[at..];
            if !begins_one[usize::from(rest[0])] {
                kept.push(rest[0]);
                at += 1;
            } else if let Some(found) = self.texts.iter().find(|text| rest.starts_with(text)) {
                kept.extend_from_slice(MARK);
                at += found.len();
            } else if is_cut
                && self
                    .texts
                    .iter()
                    .any(|text| rest.len() >= MIN_VALUE_BYTES && text.starts_with(rest))
            {
                kept.extend_from_slice(MARK);
                break;
            } else {
                kept.push(rest[0]);
                at += 1;
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests;
