//! The fields of a record as its producer wrote them, for hints about those that were refused or
//! passed over. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::domain::event::EventKind;
use crate::domain::near_words::nearest;
use crate::ingest::formats::{FIELDS, repair};

/// Values of `type`.
const TYPES: &[&str] = EventKind::WORDS;
/// Names, without case and separators, under which other products send what a required field of the
/// format says.
const OTHER_NAMES: [(&str, &[&str]); 4] = [
    (
        "site_id",
        &[
            "domain",
            "website",
            "websiteid",
            "hostname",
            "host",
            "property",
            "propertyid",
            "tenantid",
        ],
    ),
    ("type", &["event", "kind", "action"]),
    ("name", &["event", "goal", "action", "title"]),
    ("visitor_id", VISITOR_NAMES),
];
/// Other names of `visitor_id`, without case and separators.
const VISITOR_NAMES: &[&str] = &[
    "userid",
    "anonymousid",
    "distinctid",
    "clientid",
    "deviceid",
    "sessionid",
    "user",
    "uid",
    "uuid",
];
/// Most characters of a value or a key that are shown.
pub(super) const MAX_CHARS: usize = 60;
/// Similarity (Jaro-Winkler, 0 to 1) from which on a word is taken for a misspelt one.
const MIN_SIMILARITY: f64 = 0.85;

/// A word in a record, and the format's word that is meant by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct NearMiss {
    pub(super) found: String,
    pub(super) meant: &'static str,
}

/// The top-level fields of a record that is one JSON object.
#[derive(Debug)]
pub(super) struct GivenFields(pub(super) BTreeMap<String, Value>);

impl GivenFields {
    /// Reads a record; `None` if it is no JSON object.
    pub(super) fn read(record: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(record).ok()?;
        repair::parse(text).ok().map(Self)
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
        let similar = self
            .unknown_keys()
            .filter(|key| similarity(key) >= MIN_SIMILARITY)
            .max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
        let found = similar.or_else(|| self.other_name_of(meant))?;
        Some(NearMiss {
            found: cut(found),
            meant,
        })
    }

    /// The key that says in other products what `field` says here.
    fn other_name_of(&self, field: &str) -> Option<&String> {
        let (_, names) = OTHER_NAMES.iter().find(|(known, _)| *known == field)?;
        names
            .iter()
            .find_map(|name| self.unknown_keys().find(|key| normal(key) == *name))
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

/// True if the value under this key may be a visitor's id, whatever it was meant for.
pub(super) fn may_hold_visitor(key: &str) -> bool {
    let key = normal(key);
    key.contains("visitor") || VISITOR_NAMES.contains(&key.as_str())
}

/// A word without case and separators, which people write in several ways.
fn normal(word: &str) -> String {
    word.chars()
        .filter(|one| one.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

pub(super) fn cut(text: &str) -> String {
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
        assert_eq!(meant(json!({"game": "x", "url": "y"}), "site_id"), None);
        // A field of the format is not meant for another one.
        assert_eq!(meant(json!({"visitor_id": "x"}), "site_id"), None);
    }

    #[test]
    fn a_name_of_another_product_is_known() {
        for (record, field, found) in [
            (json!({"domain": "x", "url": "y"}), "site_id", "domain"),
            (json!({"website_id": "x", "host": "y"}), "site_id", "website_id"),
            (json!({"event": "pageview"}), "type", "event"),
            (json!({"type": "goal", "goal": "Signup"}), "name", "goal"),
            (json!({"anonymousId": "x"}), "visitor_id", "anonymousId"),
            // What is spelt alike comes first.
            (json!({"domain": "x", "siteId": "y"}), "site_id", "siteId"),
        ] {
            assert_eq!(meant(record, field).as_deref(), Some(found), "{field}");
        }
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
}
