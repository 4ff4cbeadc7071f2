//! A scanner for the JSON that nearly every producer writes: one object of texts without escapes, whole numbers, and objects
//! of such texts.
//!
//! It accepts a subset of JSON and nothing else, and gives up on anything unusual; what it gives up on is read by the
//! general parser, which alone decides what is an error. That halves the time a record takes and leaves one authority.

use std::borrow::Cow;

use super::loose::Loose;

/// Most digits of a number read here: all of them fit 64 bits.
const MAX_DIGITS: usize = 18;

/// Most entries of an inner object read here.
const MAX_TEXTS: usize = 30;

/// A value as the scanner finds it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Scalar(Loose<'a>),
    /// An object of texts: their names, each once, and themselves.
    Texts(Texts<'a>),
}

/// Names and texts, in order.
pub(super) type Texts<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Calls `each` with every key and value of an object, in order. `None` if the text is not one, or may be one
/// that this scanner does not know; what `each` was told before that is void.
pub(super) fn scan<'a>(text: &'a str, mut each: impl FnMut(&'a str, Value<'a>)) -> Option<()> {
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
        each(key, scanner.value()?);
        if !scanner.goes_on()? {
            return scanner.ends();
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

    fn value(&mut self) -> Option<Value<'a>> {
        let scalar = match self.skip_blank()? {
            b'"' => {
                self.at += 1;
                Loose::Text(Cow::Borrowed(self.text()?))
            }
            b'{' => {
                self.at += 1;
                return Some(Value::Texts(self.texts()?));
            }
            b'0'..=b'9' => Loose::Integer(self.number()?),
            b'n' => self.word("null", Loose::Absent)?,
            b't' => self.word("true", Loose::Other("a boolean"))?,
            b'f' => self.word("false", Loose::Other("a boolean"))?,
            _ => return None,
        };
        Some(Value::Scalar(scalar))
    }

    /// Behind an entry: whether another one follows, or the object's end.
    fn goes_on(&mut self) -> Option<bool> {
        let next = self.skip_blank()?;
        self.at += 1;
        match next {
            b',' => Some(true),
            b'}' => Some(false),
            _ => None,
        }
    }

    /// An object of texts, from behind its opening brace to behind its closing one.
    fn texts(&mut self) -> Option<Texts<'a>> {
        let mut texts = Vec::new();
        if self.skip_blank()? == b'}' {
            self.at += 1;
            return Some(texts);
        }
        loop {
            self.expect(b'"')?;
            let key = self.text()?;
            self.expect(b':')?;
            self.expect(b'"')?;
            let text = self.text()?;
            // Which of two counts, and how many are too many, is for those to say who know what the object is.
            if texts.len() == MAX_TEXTS || texts.iter().any(|(known, _)| known == key) {
                return None;
            }
            texts.push((Cow::Borrowed(key), Cow::Borrowed(text)));
            if !self.goes_on()? {
                return Some(texts);
            }
        }
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

    fn scanned(text: &str) -> Option<Vec<(&str, Value<'_>)>> {
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
                ("a", Value::Scalar(Loose::Text("x é y".into()))),
                ("", Value::Scalar(Loose::Integer(12))),
                ("c", Value::Scalar(Loose::Absent)),
                ("d", Value::Scalar(Loose::Other("a boolean"))),
            ])
        );
        assert_eq!(scanned("{}"), Some(vec![]));
    }

    #[test]
    fn an_object_of_texts_inside_is_scanned() {
        let texts = |list: &[(&'static str, &'static str)]| {
            Value::Texts(
                list.iter()
                    .map(|(name, text)| ((*name).into(), (*text).into()))
                    .collect(),
            )
        };
        assert_eq!(
            scanned(r#"{"a":{"b":"x", "c" : "" },"d":{}}"#),
            Some(vec![("a", texts(&[("b", "x"), ("c", "")])), ("d", texts(&[]))])
        );
        let entries = |count: u8| {
            let list: Vec<String> = (0..count).map(|n| format!(r#""{n}":"""#)).collect();
            format!(r#"{{"a":{{{}}}}}"#, list.join(","))
        };
        assert!(scanned(&entries(30)).is_some());
        assert!(scanned(&entries(31)).is_none());
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
            "{\"a\":{\"b\":1}}",
            "{\"a\":{\"b\":null}}",
            "{\"a\":{\"b\":{}}}",
            "{\"a\":{\"b\":\"\",\"b\":\"\"}}",
            "{\"a\":{\"b\":\"\",}}",
            "{\"a\":{\"b\"}}",
            "{\"a\":{",
            "{\"a\":{}",
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
            text in "[{]? ?(\"[a-c]\" ?: ?(\"[\\PC\\\\\"\n]{0,9}\"|[0-9]{1,20}|-?[0-9][.e]?[0-9]?|null|true|false|\\[\\]|[{](\"[a-c]\": ?(\"[x\\\\ü]{0,2}\"|1),?){0,3}[}]),? ?){0,4}[}]? ?",
        ) {
            if let Some(found) = scanned(&text) {
                let value: serde_json::Value = serde_json::from_str(&text).expect("a subset of JSON");
                let object = value.as_object().expect("an object");
                for (key, value) in object {
                    let last = found.iter().rev().find(|(name, _)| name == key).expect("the same keys");
                    let expected = match value {
                        serde_json::Value::Null => Value::Scalar(Loose::Absent),
                        serde_json::Value::Bool(_) => Value::Scalar(Loose::Other("a boolean")),
                        serde_json::Value::String(text) => Value::Scalar(Loose::Text(text.as_str().into())),
                        serde_json::Value::Object(object) => {
                            let Value::Texts(texts) = &last.1 else { panic!("{text}") };
                            let same = texts.iter().all(|(name, text)| object[&**name] == **text);
                            prop_assert!(same && texts.len() == object.len());
                            continue;
                        }
                        other => Value::Scalar(Loose::Integer(other.as_i64().expect("a whole number"))),
                    };
                    prop_assert_eq!(&last.1, &expected);
                }
                prop_assert!(found.iter().all(|(key, _)| object.contains_key(*key)));
            }
        }
    }
}
