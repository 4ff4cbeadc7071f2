//! The fields of a record as its producer wrote them, for hints about those that were refused or
//! passed over. Pure. Shows no value that may say who a visitor was.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::detect::redact::redact;
use crate::domain::event::EventKind;
use crate::domain::near_words::nearest;
use crate::ingest::formats::{FIELDS, repair};

/// Fields whose refused value is shown; the others may hold a visitor's id.
const SHOWN: [&str; 9] = [
    "site_id",
    "type",
    "name",
    "path",
    "timestamp",
    "source",
    "scroll_depth",
    "revenue.amount",
    "revenue.currency",
];
/// Values of `type`.
const TYPES: &[&str] = EventKind::WORDS;
/// Most characters of a value or a key that are shown.
const MAX_CHARS: usize = 60;
/// Similarity (Jaro-Winkler, 0 to 1) from which on a word is taken for a misspelt one.
const MIN_SIMILARITY: f64 = 0.85;
/// Visitor ids shorter than this are only compared whole: they would be found in everything.
const MIN_VISITOR_CHARS: usize = 4;

/// A word in a record, and the format's word that is meant by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct NearMiss {
    pub(super) found: String,
    pub(super) meant: &'static str,
}

/// The top-level fields of a record that is one JSON object.
#[derive(Debug)]
pub(super) struct GivenFields(BTreeMap<String, Value>);

impl GivenFields {
    /// Reads a record; `None` if it is no JSON object.
    pub(super) fn read(record: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(record).ok()?;
        repair::parse(text).ok().map(Self)
    }

    /// A field's value as it is shown: cut, and only if it names nobody.
    pub(super) fn shown_value(&self, field: &str) -> Option<String> {
        if !SHOWN.contains(&field) {
            return None;
        }
        let value = match field.split_once('.') {
            Some((object, key)) => self.0.get(object)?.get(key)?,
            None => self.0.get(field)?,
        };
        let text = scalar(value)?;
        if self.may_name_visitor(&text) {
            return None;
        }
        match value {
            Value::String(_) if field == "path" => {
                let path = text.split(['?', '#']).next().unwrap_or_default();
                Some(format!("\"{}\"", cut(&redact(path))))
            }
            Value::String(_) => Some(format!("\"{}\"", cut(&text))),
            _ => Some(cut(&text)),
        }
    }

    fn may_name_visitor(&self, text: &str) -> bool {
        // An id may also stand under a key that was misspelt.
        let ids = self.0.iter().filter(|(key, _)| normal(key).contains("visitor"));
        ids.filter_map(|(_, value)| scalar(value))
            .any(|id| id == text || (id.chars().count() >= MIN_VISITOR_CHARS && text.contains(&id)))
    }

    /// The key that is meant for `field`, which the record lacks.
    pub(super) fn near_miss_of(&self, field: &str) -> Option<NearMiss> {
        let meant = *FIELDS.iter().find(|known| **known == field)?;
        let similarity = |key: &&String| {
            let (key, field) = (normal(key), normal(field));
            // `event_type` for `type`
            let is_longer = key.len() > field.len() && key.ends_with(&field);
            strsim::jaro_winkler(&key, &field).max(if is_longer { MIN_SIMILARITY } else { 0.0 })
        };
        let found = self
            .unknown_keys()
            .filter(|key| similarity(key) >= MIN_SIMILARITY)
            .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
        Some(NearMiss {
            found: cut(found),
            meant,
        })
    }

    /// Keys that are no field of the format, and differ from one that the record lacks by case,
    /// separators or a letter of a long word.
    pub(super) fn near_misses(&self) -> Vec<NearMiss> {
        let lacking = || FIELDS.into_iter().filter(|field| !self.0.contains_key(*field));
        self.unknown_keys()
            .filter_map(|key| {
                let is_meant = |field: &&str| {
                    let (key, field) = (normal(key), normal(field));
                    let most = if field.len() >= 6 { 1 } else { 0 };
                    strsim::damerau_levenshtein(&key, &field) <= most
                };
                let meant = lacking().find(is_meant)?;
                Some(NearMiss {
                    found: cut(key),
                    meant,
                })
            })
            .collect()
    }

    fn unknown_keys(&self) -> impl Iterator<Item = &String> {
        self.0.keys().filter(|key| !FIELDS.contains(&key.as_str()))
    }

    /// The event type that is meant by the record's, which is none.
    pub(super) fn near_miss_of_type(&self) -> Option<NearMiss> {
        let found = self.0.get("type")?.as_str()?;
        let meant = nearest(&normal(found), TYPES.iter().copied(), MIN_SIMILARITY)?;
        (found != meant).then(|| NearMiss {
            found: cut(found),
            meant,
        })
    }
}

/// A value that is one text, number or flag.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A word without case and separators, which people write in several ways.
fn normal(word: &str) -> String {
    word.chars()
        .filter(|one| one.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(record: Value) -> GivenFields {
        GivenFields::read(record.to_string().as_bytes()).expect("an object")
    }

    fn meant(record: Value, field: &str) -> Option<String> {
        fields(record).near_miss_of(field).map(|miss| miss.found)
    }

    #[test]
    fn a_missing_field_is_found_under_the_name_it_was_given() {
        for (key, field) in [
            ("siteId", "site_id"),
            ("site-id", "site_id"),
            ("site", "site_id"),
            ("Site_ID", "site_id"),
            ("vistor_id", "visitor_id"),
            ("visitor", "visitor_id"),
            ("event_type", "type"),
            ("Type", "type"),
            ("eventName", "name"),
        ] {
            assert_eq!(
                meant(json!({key: "x", "country": "DE"}), field).as_deref(),
                Some(key),
                "{field}"
            );
        }
        assert_eq!(meant(json!({"domain": "x", "url": "y"}), "site_id"), None);
        // A field of the format is not meant for another one.
        assert_eq!(meant(json!({"visitor_id": "x"}), "site_id"), None);
    }

    #[test]
    fn a_strange_record_has_the_same_hints() {
        for record in [
            "\u{feff}{\"siteId\":\"x\"}",
            r#"{"siteId":"x\ud83d"}"#,
            r#"{"siteId":"x","y":1e999}"#,
        ] {
            let fields = GivenFields::read(record.as_bytes()).expect(record);
            let miss = fields.near_miss_of("site_id").expect(record);
            assert_eq!(miss.found, "siteId");
        }
    }

    #[test]
    fn a_field_that_is_passed_over_is_told_only_if_it_is_close() {
        let misses = |record| {
            let misses = fields(record).near_misses();
            misses
                .into_iter()
                .map(|miss| (miss.found, miss.meant))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            misses(json!({"timeStamp": 1})),
            [("timeStamp".to_owned(), "timestamp")]
        );
        assert_eq!(
            misses(json!({"timestmp": 1})),
            [("timestmp".to_owned(), "timestamp")]
        );
        assert_eq!(misses(json!({"timeStamp": 1, "timestamp": 1})), []);
        assert_eq!(misses(json!({"game": 1, "user_agent": 1, "pathname": 1})), []);
    }

    #[test]
    fn an_unknown_type_is_told_what_may_be_meant() {
        let meant = |kind: &str| {
            fields(json!({"type": kind}))
                .near_miss_of_type()
                .map(|miss| miss.meant)
        };
        assert_eq!(meant("page_view"), Some("pageview"));
        assert_eq!(meant("Goal"), Some("goal"));
        assert_eq!(meant("purchase"), None);
    }

    #[test]
    fn a_refused_value_is_shown_cut() {
        let long = "x".repeat(500);
        let fields = fields(
            json!({"timestamp": "yesterday", "name": long, "scroll_depth": 101, "path": "/u/jane@doe.example?q=1", "revenue": {"amount": 5}}),
        );
        assert_eq!(fields.shown_value("timestamp").as_deref(), Some("\"yesterday\""));
        assert_eq!(
            fields.shown_value("name").map(|text| text.chars().count()),
            Some(MAX_CHARS + 3)
        );
        assert_eq!(fields.shown_value("scroll_depth").as_deref(), Some("101"));
        assert_eq!(fields.shown_value("path").as_deref(), Some("\"/u/:redacted\""));
        assert_eq!(fields.shown_value("revenue.amount").as_deref(), Some("5"));
        assert_eq!(fields.shown_value("source"), None);
    }

    #[test]
    fn a_visitors_id_is_never_shown() {
        let fields = fields(
            json!({"visitorId": "jane-4711", "visitor_id": 4711, "name": "jane-4711", "timestamp": 4711, "source": "by jane-4711", "props": {"id": "jane-4711"}}),
        );
        for field in [
            "visitor_id",
            "visitorId",
            "name",
            "timestamp",
            "source",
            "props",
            "event_id",
        ] {
            assert_eq!(fields.shown_value(field), None, "{field}");
        }
    }
}
