//! A scanner for the JSON that nearly every producer writes: one object of texts without escapes,
//! whole numbers, and objects of such texts, on one line.
//!
//! It accepts a subset of JSON and gives up on everything else. Records it gives up on go to the
//! general parser, which alone decides what is an error: the scanner saves time and adds no second
//! set of rules.

use super::loose::Loose;
use super::quotes::{QuoteBits, Quotes};
use crate::domain::texts::WrittenTexts;

/// Most digits of a number read here: all of them fit 64 bits.
const MAX_DIGITS: usize = 18;

/// Most entries of an inner object read here.
const MAX_TEXTS: usize = 30;

/// A value found by the scanner.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ScannedValue<'a> {
    Scalar(Loose<'a>),
    /// An object of texts.
    Texts(WrittenTexts<'a>),
}

/// Calls `each` with every key and value of an object, in order. `None` if the text is something
/// else or of a form that the scanner does not know; the calls made before that are void.
pub(super) fn scan<'a>(text: &'a str, mut each: impl FnMut(&'a str, ScannedValue<'a>)) -> Option<()> {
    // A form feed is a blank to Rust and none to JSON.
    let text = text.trim_matches([' ', '\n', '\r', '\t']);
    let mut bits = QuoteBits::default();
    let mut scanner = Scanner {
        text,
        quotes: bits.find(text.as_bytes())?,
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
        if !scanner.has_next()? {
            return scanner.ends();
        }
    }
}

struct Scanner<'a, 'b> {
    text: &'a str,
    /// Quotes from `at` on.
    quotes: Quotes<'b>,
    /// Position in the text, always that of a character's first byte.
    at: usize,
}

// Everything called for each entry is inlined: the scanner's state then stays in registers, which
// saves a tenth of the time.
impl<'a> Scanner<'a, '_> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// Skips blanks and returns the byte after them without taking it.
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
    fn value(&mut self) -> Option<ScannedValue<'a>> {
        let scalar = match self.skip_blank()? {
            b'"' => Loose::Text(self.text()?.into()),
            b'{' => {
                self.at += 1;
                return Some(ScannedValue::Texts(self.texts()?));
            }
            b'0'..=b'9' => Loose::Integer(self.number()?),
            b'n' => self.word("null", Loose::Absent)?,
            b't' => self.word("true", Loose::Flag(true))?,
            b'f' => self.word("false", Loose::Flag(false))?,
            _ => return None,
        };
        Some(ScannedValue::Scalar(scalar))
    }

    /// Reads past an entry: true if another one follows, false at the object's end.
    fn has_next(&mut self) -> Option<bool> {
        let next = self.skip_blank()?;
        self.at += 1;
        match next {
            b',' => Some(true),
            b'}' => Some(false),
            _ => None,
        }
    }

    /// Reads an object of texts, from after its opening brace to after its closing one.
    #[inline(always)]
    fn texts(&mut self) -> Option<WrittenTexts<'a>> {
        let begin = self.at;
        if self.skip_blank()? == b'}' {
            self.at += 1;
            return Some(WrittenTexts::default());
        }
        // A larger object is left to the general parser, which knows the limit of each field.
        for _ in 0..MAX_TEXTS {
            self.text()?;
            self.expect(b':')?;
            self.text()?;
            if !self.has_next()? {
                return Some(WrittenTexts::new(&self.text[begin..self.at - 1]));
            }
        }
        None
    }

    fn ends(&mut self) -> Option<()> {
        self.skip_blank().is_none().then_some(())
    }

    /// Reads a text, from before its opening quote to after its closing one.
    #[inline(always)]
    fn text(&mut self) -> Option<&'a str> {
        if self.skip_blank()? != b'"' {
            return None;
        }
        let (open, close) = (self.quotes.next()?, self.quotes.next()?);
        self.at = close + 1;
        Some(&self.text[open + 1..close])
    }

    /// Reads a whole number without sign and leading zeros.
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
mod tests;
