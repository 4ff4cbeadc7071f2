//! The fields of a form that was sent.

use serde_json::Value;
use url::form_urlencoded;

/// Most bytes of a form: a body of the API's size with every byte escaped, and more.
pub(super) const MAX_FORM_BYTES: usize = 256 * 1024;

/// The fields in the order in which they were sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body of the type `application/x-www-form-urlencoded`. Line breaks, which browsers
    /// send as CRLF, become LF.
    pub(super) fn parse(body: &[u8]) -> Self {
        Self(
            form_urlencoded::parse(body)
                .map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n")))
                .collect(),
        )
    }

    /// The first value of a field, without blanks at its ends; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default().trim()
    }

    /// The first value of a field, unless it is empty.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// The first value of a field as it was sent.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// True if a box is ticked.
    pub(super) fn is_ticked(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Names and values in the order in which they were sent.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every value of a field.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A number if it is one, also with commas as pages write it; else the text, which the API refuses
/// with its reasons.
pub(super) fn number(text: &str) -> Value {
    let mut groups = text.split(',');
    let is_first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()));
    let is_grouped = is_first && groups.all(|group| group.len() == 3);
    let digits = match is_grouped {
        true => text.replace(',', ""),
        false => text.to_owned(),
    };
    digits.parse::<u64>().map_or_else(|_| text.into(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_browsers_send_them() {
        let form = Form::parse(b"name=+A+%C3%BC&goal=one&goal=two&text=a%0D%0Ab&empty=");
        assert_eq!(form.text("name"), "A ü");
        assert_eq!(form.raw("name"), " A ü");
        assert_eq!(form.all("goal").collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(form.text("text"), "a\nb");
        assert_eq!(form.given("empty"), None);
        assert!(form.is_ticked("empty") && !form.is_ticked("other"));
    }

    #[test]
    fn numbers_are_read_as_pages_write_them() {
        for (text, wanted) in [
            ("1000", Value::from(1_000)),
            ("1,000", Value::from(1_000)),
            ("12,345,678", Value::from(12_345_678)),
            ("1,00", "1,00".into()),
            ("1000,000", "1000,000".into()),
            (",000", ",000".into()),
            ("many", "many".into()),
        ] {
            assert_eq!(number(text), wanted, "{text}");
        }
    }
}
