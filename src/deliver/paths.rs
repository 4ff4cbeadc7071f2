//! Paths of pages taken out of a body that was decided while its site still named them. Pure.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

/// An object's entries in their order, each value as it was written.
struct ObjectText<'a>(Vec<(String, ValueText<'a>)>);

enum ValueText<'a> {
    Written(&'a RawValue),
    Object(ObjectText<'a>),
    NoItems,
}

/// The canonical body as it would have been decided for a site that names no paths: without `path`,
/// and with nothing in `top_pages`. What is no canonical body stays as it is.
pub(super) fn without_paths(canonical: &Bytes) -> Bytes {
    let stripped = serde_json::from_slice::<ObjectText<'_>>(canonical)
        .ok()
        .and_then(|body| serde_json::to_vec(&strip_data(body)).ok());
    stripped.map_or_else(|| canonical.clone(), Bytes::from)
}

/// Strips the notification's data, and those of the sample in a test.
fn strip_data(body: ObjectText<'_>) -> ObjectText<'_> {
    body.map(|name, value| match name {
        "data" => Some(strip(value)),
        _ => Some(ValueText::Written(value)),
    })
}

fn strip(data: &RawValue) -> ValueText<'_> {
    let Ok(data) = serde_json::from_str::<ObjectText<'_>>(data.get()) else {
        return ValueText::Written(data);
    };
    ValueText::Object(data.map(|name, value| match name {
        "path" => None,
        "top_pages" => Some(ValueText::NoItems),
        "sample" => Some(match serde_json::from_str::<ObjectText<'_>>(value.get()) {
            Ok(sample) => ValueText::Object(strip_data(sample)),
            Err(_) => ValueText::Written(value),
        }),
        _ => Some(ValueText::Written(value)),
    }))
}

impl<'a> ObjectText<'a> {
    /// Puts another value in the place of each, or leaves the entry out.
    fn map(self, change: impl Fn(&str, &'a RawValue) -> Option<ValueText<'a>>) -> Self {
        let entries = self.0.into_iter();
        let changed = entries.filter_map(|(name, value)| match value {
            ValueText::Written(value) => change(&name, value).map(|value| (name, value)),
            other => Some((name, other)),
        });
        Self(changed.collect())
    }
}

impl<'de> Deserialize<'de> for ObjectText<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectTextVisitor;

        impl<'de> Visitor<'de> for ObjectTextVisitor {
            type Value = ObjectText<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    entries.push((name, ValueText::Written(value)));
                }
                Ok(ObjectText(entries))
            }
        }

        deserializer.deserialize_map(ObjectTextVisitor)
    }
}

impl Serialize for ObjectText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                ValueText::Written(value) => map.serialize_entry(name, value)?,
                ValueText::Object(entries) => map.serialize_entry(name, entries)?,
                ValueText::NoItems => map.serialize_entry(name, &[(); 0])?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventType;
    use crate::domain::sample;

    fn stripped(body: &str) -> String {
        let body = without_paths(&Bytes::copy_from_slice(body.as_bytes()));
        String::from_utf8(body.to_vec()).expect("text")
    }

    #[test]
    fn paths_go_and_everything_else_stays_as_it_was_written() {
        for (body, wanted) in [
            (
                r#"{"id":"evt_1","data":{"goal_name":"Paid","path":"/a","revenue":{"amount":"1.50"},"n":1.50}}"#,
                r#"{"id":"evt_1","data":{"goal_name":"Paid","revenue":{"amount":"1.50"},"n":1.50}}"#,
            ),
            (
                r#"{"data":{"top_pages":[{"path":"/a","visitors":3}],"top_sources":[{"source":"/s","visitors":3}]},"link":"https://a/"}"#,
                r#"{"data":{"top_pages":[],"top_sources":[{"source":"/s","visitors":3}]},"link":"https://a/"}"#,
            ),
            (
                r#"{"event":"test","data":{"message":"m","sample":{"event":"custom_event","data":{"path":"/a","name":"x"}}}}"#,
                r#"{"event":"test","data":{"message":"m","sample":{"event":"custom_event","data":{"name":"x"}}}}"#,
            ),
            // Properties have names of their own.
            (
                r#"{"path":"kept","data":{"props":{"path":"kept"}}}"#,
                r#"{"path":"kept","data":{"props":{"path":"kept"}}}"#,
            ),
            ("[1]", "[1]"),
            ("not json", "not json"),
        ] {
            assert_eq!(stripped(body), wanted);
        }
    }

    #[test]
    fn no_sample_of_any_event_type_keeps_a_path() {
        for event in EventType::ALL {
            let sample = sample::of(event);
            let body = serde_json::json!({"event": sample.event, "data": sample.data}).to_string();
            let kept = stripped(&body);
            assert!(!kept.contains("\"path\""), "{event}: {kept}");
        }
    }
}
