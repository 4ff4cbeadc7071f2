//! A scanner for the JSON that nearly every producer writes: one flat object, texts without escapes, whole numbers.
//!
//! It accepts a subset of JSON and nothing else, and gives up on anything unusual; what it gives up on is read by the
//! general parser, which alone decides what is an error. That halves the time a record takes and leaves one authority.

use std::borrow::Cow;

use super::loose::Loose;

/// Most digits of a number read here: all of them fit 64 bits.
const MAX_DIGITS: usize = 18;

/// Calls `each` with every key and value of a flat object, in order. `None` if the text is not one, or may be one
/// that this scanner does not know; what `each` was told before that is void.
pub(super) fn scan<'a>(text: &'a str, mut each: impl FnMut(&'a str, Loose<'a>)) -> Option<()> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.expect(b'{')?;
    if scanner.skip_blank()? == b'}' {
        scanner.at += 1;
        return scanner.ends();
    }
    loop {
        scanner.expect(b'"')?;
        let key = scanner.text()?;
        scanner.expect(b':')?;
        let value = match scanner.skip_blank()? {
            b'"' => {
                scanner.at += 1;
                Loose::Text(Cow::Borrowed(scanner.text()?))
            }
            b'0'..=b'9' => Loose::Integer(scanner.number()?),
            b'n' => scanner.word("null", Loose::Absent)?,
            b't' => scanner.word("true", Loose::Other("a boolean"))?,
            b'f' => scanner.word("false", Loose::Other("a boolean"))?,
            _ => return None,
        };
        each(key, value);
        let next = scanner.skip_blank()?;
        scanner.at += 1;
        match next {
            b',' => {}
            b'}' => return scanner.ends(),
            _ => return None,
        }
    }
}

struct Scanner<'a> {
    text: &'a str,
    /// Always at a character's first byte.
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next byte that is not blank, without taking it.
    fn skip_blank(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        let found = self.skip_blank()?;
        self.at += 1;
        (found == wanted).then_some(())
    }

    fn ends(&mut self) -> Option<()> {
        self.skip_blank().is_none().then_some(())
    }

    /// A text, from behind its opening quote to behind its closing one.
    fn text(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let length = plain_length(rest);
        if rest.get(length) != Some(&b'"') {
            return None;
        }
        let text = &self.text[self.at..self.at + length];
        self.at += length + 1;
        Some(text)
    }

    /// A whole number without sign and leading zeros.
    fn number(&mut self) -> Option<i64> {
        let rest = self.rest();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let follows = rest.get(digits)?;
        let plain = digits <= MAX_DIGITS && (rest[0] != b'0' || digits == 1);
        if !plain || matches!(follows, b'.' | b'e' | b'E') {
            return None;
        }
        self.at += digits;
        Some(
            rest[..digits]
                .iter()
                .fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0')),
        )
    }

    fn word(&mut self, word: &str, value: Loose<'a>) -> Option<Loose<'a>> {
        if !self.rest().starts_with(word.as_bytes()) {
            return None;
        }
        self.at += word.len();
        Some(value)
    }
}

/// Bytes before the first quote, back-slash or control character.
fn plain_length(bytes: &[u8]) -> usize {
    const LOW: u64 = u64::MAX / 255;
    const HIGH: u64 = LOW << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // A byte's highest bit is set in the result if it is zero, or less than 32, after being compared by xor; a
        // byte above the lowest such one may be marked wrongly, which does not matter.
        let zero = |word: u64| word.wrapping_sub(LOW) & !word;
        let quote = zero(word ^ (LOW * u64::from(b'"')));
        let slash = zero(word ^ (LOW * u64::from(b'\\')));
        let control = word.wrapping_sub(LOW * 32) & !word;
        let found = (quote | slash | control) & HIGH;
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let tail = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..32));
    words.len() * 8 + tail.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scanned(text: &str) -> Option<Vec<(&str, Loose<'_>)>> {
        let mut found = Vec::new();
        scan(text, |key, value| found.push((key, value))).map(|()| found)
    }

    #[test]
    fn a_flat_object_is_scanned() {
        assert_eq!(
            scanned(" {\"a\" : \"xy\\u00fc\" }"),
            None,
            "escapes are for the general parser"
        );
        assert_eq!(
            scanned("\t{\"a\" : \"x é y\",\n\"\":12,\"c\":null,\"d\":false} "),
            Some(vec![
                ("a", Loose::Text("x é y".into())),
                ("", Loose::Integer(12)),
                ("c", Loose::Absent),
                ("d", Loose::Other("a boolean")),
            ])
        );
        assert_eq!(scanned("{}"), Some(vec![]));
    }

    #[test]
    fn whatever_is_unusual_or_wrong_is_given_up_on() {
        for text in [
            "",
            "{",
            "}",
            "[]",
            "{}x",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\":01}",
            "{\"a\":1.5}",
            "{\"a\":1e3}",
            "{\"a\":-1}",
            "{\"a\":{}}",
            "{\"a\":[]}",
            "{\"a\":nul}",
            "{\"a\":nulll}",
            "{\"a\":\"x",
            "{\"a\":\"x\ny\"}",
            "{\"a\":\"\\n\"}",
            "{\"a\":1234567890123456789}",
            "{a:1}",
            "{\"a\":1 2}",
            "{\"a\":1",
        ] {
            assert_eq!(scanned(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_end_of_a_plain_text_is_found(bytes in proptest::collection::vec(prop_oneof![
            20 => 0x20_u8..=0xff, 1 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 1 => Just(0x1f), 1 => Just(0x80),
        ], 0..60)) {
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..32));
            prop_assert_eq!(plain_length(&bytes), expected.unwrap_or(bytes.len()));
        }

        #[test]
        fn what_is_scanned_is_what_the_general_parser_reads(
            text in "[{]? ?(\"[a-c]\" ?: ?(\"[\\PC\\\\\"\n]{0,9}\"|[0-9]{1,20}|-?[0-9][.e]?[0-9]?|null|true|false|\\[\\]),? ?){0,4}[}]? ?",
        ) {
            if let Some(found) = scanned(&text) {
                let value: serde_json::Value = serde_json::from_str(&text).expect("a subset of JSON");
                let object = value.as_object().expect("an object");
                for (key, value) in object {
                    let last = found.iter().rev().find(|(name, _)| name == key).expect("the same keys");
                    let expected = match value {
                        serde_json::Value::Null => Loose::Absent,
                        serde_json::Value::Bool(_) => Loose::Other("a boolean"),
                        serde_json::Value::String(text) => Loose::Text(text.as_str().into()),
                        other => Loose::Integer(other.as_i64().expect("a whole number")),
                    };
                    prop_assert_eq!(&last.1, &expected);
                }
                prop_assert!(found.iter().all(|(key, _)| object.contains_key(*key)));
            }
        }
    }
}
