//! Reading of JSON that refuses what a lenient reader hides: a key that is given twice.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::field_errors::escape;

/// JSON pointers to the keys that a text gives twice, the first hundred.
const MAX_REPEATED: usize = 100;

/// A value, with the pointers to keys that are given twice.
#[derive(Debug)]
pub(crate) struct StrictJson {
    pub(crate) value: Value,
    pub(crate) repeated: Vec<String>,
}

/// Reads a text as one JSON value.
pub(crate) fn read(bytes: &[u8]) -> Result<StrictJson, serde_json::Error> {
    let mut repeated = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = ValueAt {
        pointer: String::new(),
        repeated: &mut repeated,
    }
    .deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(StrictJson { value, repeated })
}

/// The value at a pointer.
struct ValueAt<'a> {
    pointer: String,
    repeated: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for ValueAt<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueAt<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let next = ValueAt {
                pointer: format!("{}/{}", self.pointer, values.len()),
                repeated: self.repeated,
            };
            match list.next_element_seed(next)? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            let pointer = format!("{}/{}", self.pointer, escape(&key));
            if map.contains_key(&key) && self.repeated.len() < MAX_REPEATED {
                self.repeated.push(pointer.clone());
            }
            let value = object.next_value_seed(ValueAt {
                pointer,
                repeated: self.repeated,
            })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_given_twice_is_found_at_any_depth() {
        for (text, wanted) in [
            (r#"{"a":1,"b":2}"#, vec![]),
            (r#"{"a":1,"a":1}"#, vec!["/a"]),
            (r#"{"a":{"b/c":1,"b/c":2}}"#, vec!["/a/b~1c"]),
            (r#"{"a":[0,{"b":1,"b":2}]}"#, vec!["/a/1/b"]),
            (r#"{"a":1,"\u0061":2}"#, vec!["/a"]),
        ] {
            assert_eq!(read(text.as_bytes()).expect(text).repeated, wanted, "{text}");
        }
    }

    #[test]
    fn values_are_those_that_serde_json_reads() {
        for text in [
            "null",
            "[true,false]",
            r#"{"a":[1,-2,3.5,18446744073709551615,"x\n"],"b":{}}"#,
            "1e3",
        ] {
            let plain: Value = serde_json::from_str(text).expect(text);
            assert_eq!(read(text.as_bytes()).expect(text).value, plain, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{} {}", "{a:1}", "nul", &"[".repeat(1_000)] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
