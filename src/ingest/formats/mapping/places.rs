//! Places of a record: JSON pointers (RFC 6901), of which the first that holds something counts.

use serde_json::Value;
use url::Url;

use crate::ingest::formats::limits::InvalidField;
use crate::ingest::formats::loose::Loose;

/// Pointers in the order in which they are looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Vec<String>);

impl Places {
    pub(super) fn of(pointers: &[&str]) -> Self {
        Self(pointers.iter().map(|pointer| (*pointer).to_owned()).collect())
    }

    pub(super) fn one(pointer: Option<&str>) -> Self {
        Self(pointer.into_iter().map(str::to_owned).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value that is neither `null` nor the empty text.
    pub(super) fn first<'v>(&self, record: &'v Value) -> Option<&'v Value> {
        let mut values = self.0.iter().filter_map(|pointer| record.pointer(pointer));
        values.find(is_given)
    }

    /// The first value that is there, of whatever type.
    pub(super) fn loose(&self, record: &Value) -> Loose<'static> {
        match self.first(record) {
            None | Some(Value::Null) => Loose::Absent,
            Some(Value::String(text)) => Loose::Text(text.clone().into()),
            Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Loose::Integer(number),
                (None, Some(number)) => Loose::Number(number),
                (None, None) => Loose::Other("a number"),
            },
            Some(Value::Bool(flag)) => Loose::Flag(*flag),
            Some(Value::Array(_)) => Loose::Other("an array"),
            Some(Value::Object(_)) => Loose::Other("an object"),
        }
    }

    /// The first value that is there as a text. Numbers keep all digits of 64 bits; one with a
    /// fraction, or a larger one, has lost some already.
    pub(super) fn text(&self, field: &'static str, record: &Value) -> Result<Loose<'static>, InvalidField> {
        match self.first(record) {
            Some(Value::Number(number)) if number.is_u64() || number.is_i64() => {
                Ok(Loose::Text(number.to_string().into()))
            }
            Some(Value::Number(_)) => Err(InvalidField::bad(
                field,
                "be a string or a whole number of at most 64 bits",
            )),
            _ => Ok(self.loose(record)),
        }
    }

    /// The error of a record that has nothing in any of the places.
    pub(super) fn missing(&self, field: &'static str) -> InvalidField {
        let mut error = InvalidField::missing(field);
        if !self.0.is_empty() {
            error.detail = format!("`{field}` is required, and nothing is at {}", self.0.join(" or "));
        }
        error
    }
}

/// True for a value that is neither `null` nor the empty text.
pub(super) fn is_given(value: &&Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// The host of a URL. A text without a scheme, such as a host alone, has none.
pub(super) fn host_of(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    match Url::parse(text) {
        Ok(url) => url.host_str().map(str::to_owned),
        Err(_) => None,
    }
}
