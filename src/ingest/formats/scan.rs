//! A scanner for the JSON that nearly every producer writes: one object of texts without escapes, whole numbers, and objects
//! of such texts, on one line.
//!
//! It accepts a subset of JSON and nothing else, and gives up on anything unusual; what it gives up on is read by the
//! general parser, which alone decides what is an error. That spares time and leaves one authority.

use super::loose::Loose;
use super::quotes::{Marks, Quotes};
use crate::domain::texts::WrittenTexts;

/// Most digits of a number read here: all of them fit 64 bits.
const MAX_DIGITS: usize = 18;

/// Most entries of an inner object read here.
const MAX_TEXTS: usize = 30;

/// A value as the scanner finds it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Scalar(Loose<'a>),
    /// An object of texts.
    Texts(WrittenTexts<'a>),
}

/// Calls `each` with every key and value of an object, in order. `None` if the text is not one, or may be one
/// that this scanner does not know; what `each` was told before that is void.
pub(super) fn scan<'a>(text: &'a str, mut each: impl FnMut(&'a str, Value<'a>)) -> Option<()> {
    let text = text.trim_ascii();
    let mut marks = Marks::NONE;
    let mut scanner = Scanner {
        text,
        quotes: marks.mark(text.as_bytes())?,
        at: 0,
    };
    scanner.expect(b'{')?;
    if scanner.skip_blank()? == b'}' {
        scanner.at += 1;
        return scanner.ends();
    }
    loop {
        let key = scanner.text()?;
        scanner.expect(b':')?;
        each(key, scanner.value()?);
        if !scanner.goes_on()? {
            return scanner.ends();
        }
    }
}

struct Scanner<'a, 'm> {
    text: &'a str,
    /// Those not before `at`.
    quotes: Quotes<'m>,
    /// Always at a character's first byte.
    at: usize,
}

// What every entry goes through is inlined: the scanner's state then stays in registers, a tenth of the time.
impl<'a> Scanner<'a, '_> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next byte that is not blank, without taking it.
    fn skip_blank(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if byte != b' ' {
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

    #[inline(always)]
    fn value(&mut self) -> Option<Value<'a>> {
        let scalar = match self.skip_blank()? {
            b'"' => Loose::Text(self.text()?.into()),
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
    #[inline(always)]
    fn texts(&mut self) -> Option<WrittenTexts<'a>> {
        let begin = self.at;
        if self.skip_blank()? == b'}' {
            self.at += 1;
            return Some(WrittenTexts::default());
        }
        // How many are too many is for those to say who know what the object is.
        for _ in 0..MAX_TEXTS {
            self.text()?;
            self.expect(b':')?;
            self.text()?;
            if !self.goes_on()? {
                return Some(WrittenTexts::new(&self.text[begin..self.at - 1]));
            }
        }
        None
    }

    fn ends(&mut self) -> Option<()> {
        self.skip_blank().is_none().then_some(())
    }

    /// A text, from before its opening quote to behind its closing one.
    #[inline(always)]
    fn text(&mut self) -> Option<&'a str> {
        if self.skip_blank()? != b'"' {
            return None;
        }
        let (open, close) = (self.quotes.next()?, self.quotes.next()?);
        self.at = close + 1;
        Some(&self.text[open + 1..close])
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
            scanned("\t{\"a\" : \"x é y\", \"\":12,\"c\":null,\"d\":false} \r\n"),
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
        let texts = |json: &'static str| Value::Texts(WrittenTexts::new(json));
        assert_eq!(
            scanned(r#"{"a":{"b":"x", "c" : "" },"d":{}}"#),
            Some(vec![("a", texts(r#""b":"x", "c" : "" "#)), ("d", texts(""))])
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
                            let same = object.iter().all(|(name, text)| texts.get(name) == text.as_str());
                            prop_assert!(same && texts.iter().all(|(name, _)| object.contains_key(name)));
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
