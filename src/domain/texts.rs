//! Texts: what is in them, and those by name, an event's properties.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Texts by name, each name once.
#[derive(Debug, Clone)]
pub enum Texts<'a> {
    /// As they were written. Hardly any event's are asked for, so these are not taken apart before
    /// they are.
    Written(WrittenTexts<'a>),
    Read(Vec<(Cow<'a, str>, Cow<'a, str>)>),
}

impl Texts<'_> {
    /// The text of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        match self {
            Self::Written(texts) => texts.get(name),
            Self::Read(texts) => texts
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, text)| &**text),
        }
    }

    /// The same texts, owned.
    pub(crate) fn into_owned(self) -> Texts<'static> {
        let owned = |text: &str| Cow::Owned(text.to_owned());
        let texts = self.by_name().into_iter();
        Texts::Read(texts.map(|(name, text)| (owned(name), owned(text))).collect())
    }

    /// All of them.
    pub(crate) fn by_name(&self) -> BTreeMap<&str, &str> {
        match self {
            Self::Written(texts) => texts.iter().collect(),
            Self::Read(texts) => texts.iter().map(|(name, text)| (&**name, &**text)).collect(),
        }
    }
}

impl PartialEq for Texts<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.by_name() == other.by_name()
    }
}

impl Default for Texts<'_> {
    fn default() -> Self {
        Self::Written(WrittenTexts::default())
    }
}

/// The inside of a JSON object, without its braces, whose values are texts without escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WrittenTexts<'a>(&'a str);

impl<'a> WrittenTexts<'a> {
    /// Takes it as it is: of a text that is none of the kind, something is read.
    pub(crate) fn new(json: &'a str) -> Self {
        Self(json)
    }

    /// Names and texts, as often as they were written.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        // Without escapes every second piece between quotes is a text.
        let mut texts = self.0.split('"').skip(1).step_by(2);
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    /// The text of this name: of several the last, as in JavaScript.
    pub(crate) fn get(self, name: &str) -> Option<&'a str> {
        self.iter()
            .filter(|(known, _)| *known == name)
            .last()
            .map(|(_, text)| text)
    }
}

/// True if a text has a control character.
pub(crate) fn has_control(text: &str) -> bool {
    // Without an early end, the common case is a few instructions for sixteen bytes.
    let plain = |all: bool, byte: u8| all & (b' '..0x7f).contains(&byte);
    !text.bytes().fold(true, plain) && text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_their_names() {
        let texts = WrittenTexts::new(r#" "a":"x", "b" : "" ,"":"{:,}","a":"y" "#);
        let list: Vec<_> = texts.iter().collect();
        assert_eq!(list, [("a", "x"), ("b", ""), ("", "{:,}"), ("a", "y")]);
        assert_eq!(texts.get("a"), Some("y"), "the last one counts");
        assert_eq!((texts.get("b"), texts.get("")), (Some(""), Some("{:,}")));
        assert_eq!((texts.get("x"), WrittenTexts::default().get("a")), (None, None));

        let read = Texts::Read(vec![("a".into(), "x".into())]);
        assert_eq!((read.get("a"), read.get("x")), (Some("x"), None));
        assert_eq!(Texts::default().get(""), None);
        assert_eq!(Texts::Written(WrittenTexts::new(r#""a":"y","a":"x""#)), read);
        assert_ne!(Texts::default(), read);
    }
}
