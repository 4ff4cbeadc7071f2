//! The contract files under `docs/`, compared with the code that they describe.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::domain::event::{EventKind, EventType};
use crate::domain::health::{HealthReason, HealthState, ParkReason};
use crate::ingest::formats::{FIELDS, RecordReader};

pub(super) fn document(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let text = std::fs::read_to_string(&path).expect("a readable document");
    serde_json::from_str(&text).expect("JSON")
}

fn words(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|word| word.as_str().expect("a text")).collect()
}

#[test]
fn the_examples_of_the_source_events_schema_are_read() {
    let schema = document("source-event.schema.json");
    let examples = schema["examples"].as_array().expect("examples");
    assert!(examples.len() > 3);
    for example in examples {
        let text = example.to_string();
        assert!(
            RecordReader::default().read(text.as_bytes(), &[]).is_ok(),
            "{text}"
        );
    }
}

#[test]
fn the_source_events_schema_has_the_kinds_of_the_code() {
    let schema = document("source-event.schema.json");
    assert_eq!(words(&schema["properties"]["type"]["enum"]), EventKind::WORDS);
}

#[test]
fn the_source_events_schema_has_the_fields_of_the_code() {
    let schema = document("source-event.schema.json");
    let fields = schema["properties"].as_object().expect("fields");
    let fields: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(fields, FIELDS.into_iter().collect());
    let historical = schema["properties"]["historical"]["anyOf"]
        .as_array()
        .expect("forms");
    let types = historical.iter().filter_map(|form| form["type"].as_str());
    assert_eq!(types.collect::<Vec<_>>(), ["boolean", "null"]);
}

#[test]
fn every_event_type_has_a_schema_and_an_example() {
    let schema = document("notification.schema.json");
    let known = words(&schema["properties"]["event"]["enum"]);
    for word in EventType::WORDS {
        assert!(known.contains(word), "{word}");
    }
    let examples = schema["examples"].as_array().expect("examples");
    let shown: Vec<&str> = examples.iter().filter_map(|one| one["event"].as_str()).collect();
    assert_eq!(shown, known);
    for word in known {
        assert!(schema["$defs"][word]["properties"]["data"].is_object(), "{word}");
    }
}

#[test]
fn the_asyncapi_document_has_the_same_source_event() {
    let mut schema = document("source-event.schema.json");
    let fields = schema.as_object_mut().expect("an object");
    fields.retain(|name, _| !matches!(name.as_str(), "$schema" | "$id" | "examples"));
    let document = document("asyncapi.json");
    assert_eq!(
        document["components"]["messages"]["event"]["payload"]["schema"],
        schema
    );
}

/// The words of the first column of a table of docs/api.md, which is found by its head.
fn table<'a>(reference: &'a str, head: &str) -> Vec<&'a str> {
    let (_, table) = reference.split_once(head).expect("a table of this head");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('`').nth(1).expect("a word")).collect()
}

#[test]
fn the_reference_has_the_words_of_a_webhooks_health() {
    let reference = include_str!("../../docs/api.md");
    assert_eq!(table(reference, "| state | meaning |"), HealthState::WORDS);
    assert_eq!(
        table(reference, "| reason | state | meaning |"),
        HealthReason::WORDS
    );
    let is_health = |event: &EventType| event.is_health();
    let events: Vec<_> = EventType::ALL
        .into_iter()
        .filter(is_health)
        .map(EventType::as_str)
        .collect();
    assert_eq!(table(reference, "| event type | when |"), events);
    let (_, reasons) = reference.split_once("`parked_reason`: ").expect("the reasons");
    let (reasons, _) = reasons.split_once(". ").expect("their end");
    let named: Vec<&str> = reasons.split('`').skip(1).step_by(2).collect();
    assert_eq!(named.len(), ParkReason::WORDS.len());
    for word in ParkReason::WORDS {
        assert!(named.contains(word), "{word}");
    }
}
