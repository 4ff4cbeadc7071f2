//! The document against the validators, and against itself.

mod probe;

use serde_json::{Map, Value, json};

use super::*;

/// A validator for one schema of the document.
fn judge(name: &str) -> jsonschema::Validator {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/components/schemas/{name}"),
        "components": openapi()["components"],
    });
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("a schema")
}

fn schemas() -> &'static Map<String, Value> {
    openapi()["components"]["schemas"].as_object().expect("schemas")
}

#[test]
fn every_schema_is_one_and_takes_its_examples() {
    let mut shown = 0;
    for (name, schema) in schemas() {
        jsonschema::meta::validate(schema).expect(name);
        let judge = judge(name);
        for example in schema["examples"].as_array().into_iter().flatten() {
            let errors: Vec<String> = judge
                .iter_errors(example)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{name}: {errors:?}");
            shown += 1;
        }
    }
    assert!(shown > 25, "{shown}");
}

#[test]
fn every_body_and_answer_of_a_call_has_a_schema_and_an_example() {
    for call in CALLS {
        assert!(!call.summary.is_empty(), "{}", call.path);
        assert_eq!(
            call.body == BodyRule::None,
            call.input.is_empty(),
            "{}",
            call.path
        );
        assert_eq!(call.success == 204, call.output.is_empty(), "{}", call.path);
        for name in [call.input, call.output]
            .into_iter()
            .filter(|name| !name.is_empty())
        {
            let schema = schemas().get(name).unwrap_or_else(|| panic!("no schema {name}"));
            let of_page = schema["properties"]["data"]["items"]["$ref"].is_string();
            assert!(of_page || schema["examples"].is_array(), "{name} has no example");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn follow(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| follow(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| follow(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    follow(openapi(), &mut found);
    assert!(found.len() > 100);
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(openapi().pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_operation_has_an_id_of_its_own() {
    let mut ids: Vec<String> = CALLS.iter().map(operation_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), CALLS.len());
    assert!(ids.contains(&"getDelivery".to_owned()) && ids.contains(&"postRotateSecret".to_owned()));
}

#[test]
fn every_problem_is_documented_somewhere() {
    let text = openapi().to_string();
    for one in ProblemType::ALL {
        // The answer to a method that a path does not have belongs to no operation.
        let is_of_no_call = one == ProblemType::MethodNotAllowed;
        assert_eq!(
            text.contains(&format!("\"{}\"", one.urn())),
            !is_of_no_call,
            "{one}"
        );
    }
}

#[test]
fn every_outgoing_event_has_a_schema_and_a_sample() {
    let webhooks = openapi()["webhooks"].as_object().expect("webhooks");
    assert_eq!(webhooks.len(), 13);
    assert!(webhooks.contains_key("source_silent") && webhooks.contains_key("source_rejecting"));
    for event in crate::domain::event::EventType::WORDS {
        assert!(webhooks.contains_key(*event), "{event}");
    }
    for (event, item) in webhooks {
        let media = &item["post"]["requestBody"]["content"]["application/json"];
        assert_eq!(media["example"]["event"], *event);
        let name = media["schema"]["$ref"]
            .as_str()
            .and_then(|path| path.rsplit('/').next());
        assert!(
            judge(name.expect("a name")).is_valid(&media["example"]),
            "{event}"
        );
        let mut other = media["example"].clone();
        other["data"] = json!({});
        assert!(!judge(name.expect("a name")).is_valid(&other), "{event}");
    }
}

#[test]
fn the_document_is_the_one_that_was_agreed_on() {
    insta::assert_snapshot!(format!("{:#}", openapi()));
}
