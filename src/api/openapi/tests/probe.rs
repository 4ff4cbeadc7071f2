//! Probes of the validators with bodies made from their schemas: at each limit and just beyond,
//! with each word and another, with each type, with a field left out and one too many.
//!
//! What the schema refuses, the validator must refuse. What the schema takes, the validator must
//! take, except in fields whose rule no schema can say.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{judge, schemas};
use crate::api::field_errors::FieldErrors;
use crate::api::validate::BodyObject;
use crate::api::webhook_input::WebhookRules;
use crate::api::{
    goal_input, portal_links, recoveries, secrets, site_input, token_input, webhook_input, webhook_test,
};
use crate::domain::event::EventType;
use crate::domain::site::SiteId;

/// Validator of a body; true if it takes it.
type Accepts = fn(&Map<String, Value>) -> bool;

/// Fields whose rule no schema can say, so that a validator may refuse more than the schema does.
const BEYOND_SCHEMAS: [&str; 5] = ["url", "time_zone", "retry_schedule", "paused_until", "expires_at"];

fn now() -> DateTime<Utc> {
    "2026-02-25T12:00:00Z".parse().expect("a time")
}

fn takes_site(body: &Map<String, Value>) -> bool {
    let site: SiteId = "example.com".parse().expect("an id");
    let mut errors = FieldErrors::default();
    site_input::read_settings(&site, &BodyObject::root(body), &mut errors);
    errors.is_empty()
}

fn takes_goal(body: &Map<String, Value>) -> bool {
    let mut errors = FieldErrors::default();
    goal_input::read_settings(&BodyObject::root(body), &mut errors).is_some()
}

fn takes_token(body: &Map<String, Value>) -> bool {
    token_input::read(&BodyObject::root(body), now()).is_ok()
}

fn takes_rotation(body: &Map<String, Value>) -> bool {
    secrets::read_rotation(&BodyObject::root(body)).is_ok()
}

fn takes_portal_link(body: &Map<String, Value>) -> bool {
    portal_links::read(&BodyObject::root(body)).is_ok()
}

fn takes_test(body: &Map<String, Value>) -> bool {
    webhook_test::read_event(&BodyObject::root(body), &[EventType::GoalCompletion]).is_ok()
}

fn takes_recovery(body: &Map<String, Value>) -> bool {
    recoveries::read_span(&BodyObject::root(body), now()).is_ok()
}

fn takes_webhook(body: &Map<String, Value>) -> bool {
    let object = BodyObject::root(body);
    let rules = WebhookRules {
        retry_schedules: ["default".to_owned()].into_iter().collect(),
        ..WebhookRules::default()
    };
    let mut errors = FieldErrors::default();
    webhook_input::refuse_other_fields(&object, &mut errors);
    webhook_input::read_secret(&object, &mut errors);
    webhook_input::read_settings(&object, &rules, None, now(), &mut errors);
    errors.is_empty()
}

/// Bodies that each validator takes, from which the probes depart.
fn bases() -> Vec<(&'static str, Accepts, Vec<Value>)> {
    let mut webhooks = vec![json!({
        "name": "n", "url": "https://example.com/x", "format": "json", "headers": {"X-Key": "v"},
        "events": EventType::SUBSCRIBABLE, "triggers": triggers(), "enabled": true,
        "failure_threshold": 3, "rate_limit_per_second": 1, "max_concurrency": 8, "retry_schedule": "default",
        "max_age_seconds": 60, "external_id": "e", "paused_until": "2026-02-26T12:00:00Z",
        "secret": "a-secret-of-mine",
    })];
    webhooks.push(json!({"url": "https://example.com/x", "events": ["goal_completion"]}));
    vec![
        (
            "SiteSettings",
            takes_site,
            vec![
                json!({}),
                json!({"name": "n", "time_zone": "UTC", "aliases": ["a", "b"], "include_paths": false}),
            ],
        ),
        (
            "NewGoal",
            takes_goal,
            vec![
                json!({"name": "n", "kind": "event", "event": "e", "props": {"a": "b"}}),
                json!({"name": "n", "kind": "page", "path": "/p"}),
                json!({"name": "n", "kind": "scroll", "path": "/p", "scroll_threshold": 50}),
            ],
        ),
        (
            "NewToken",
            takes_token,
            vec![
                json!({"sites": ["a"], "role": "viewer", "subject": "s", "admin": false}),
                json!({"admin": true, "role": "editor", "subject": "s", "expires_at": "2027-01-01T00:00:00Z"}),
            ],
        ),
        (
            "SecretRotation",
            takes_rotation,
            vec![
                json!({}),
                json!({"secret": "a-secret-of-mine", "overlap_seconds": 5}),
                json!({"finish": true}),
            ],
        ),
        (
            "PortalLinkRequest",
            takes_portal_link,
            vec![json!({}), json!({"role": "viewer", "expires_in_seconds": 5})],
        ),
        (
            "TestRequest",
            takes_test,
            vec![json!({}), json!({"event": "visitor_spike"})],
        ),
        (
            "RecoveryRequest",
            takes_recovery,
            vec![json!({"since": "2026-02-24T12:00:00Z", "until": "2026-02-25T12:00:00Z"})],
        ),
        ("NewWebhook", takes_webhook, webhooks),
    ]
}

/// Settings of every trigger with every option that may stand beside the others.
fn triggers() -> Value {
    let all = super::super::triggers::triggers();
    let properties = all["properties"].as_object().expect("triggers");
    let settings = properties.iter().map(|(event, trigger)| {
        let options = trigger["properties"].as_object().expect("options");
        // `every` excludes `at_least`.
        let options = options.iter().filter(|(name, _)| *name != "every");
        let given = options.map(|(name, schema)| (name.clone(), plain_value(name, schema)));
        (event.clone(), Value::Object(given.collect()))
    });
    Value::Object(settings.collect())
}

fn plain_value(name: &str, schema: &Value) -> Value {
    match schema["type"]
        .as_array()
        .and_then(|types| types[0].as_str())
        .or(schema["type"].as_str())
    {
        Some("integer") => schema["minimum"].clone(),
        Some("boolean") => json!(true),
        Some("string") => json!("a text"),
        Some("array") => json!(["a text"]),
        _ if ["silence", "error_events", "rejected_events"].contains(&name) => json!(true),
        _ => panic!("the option {name} has no schema"),
    }
}

/// Values for a field with this schema: good ones, and bad ones of every sort.
fn values_of(schema: &Value) -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(7),
        json!(1.5),
        json!("x"),
        json!(""),
        json!(" "),
        json!([]),
        json!({}),
        json!(["x"]),
        json!({"x": "y"}),
        json!(-1),
        json!("a\u{0}b"),
        json!([1]),
    ];
    for key in ["minimum", "maximum"] {
        if let Some(limit) = schema[key].as_i64() {
            values.extend([limit - 1, limit, limit + 1].map(|number| json!(number)));
        }
    }
    for key in ["minLength", "maxLength"] {
        if let Some(limit) = schema[key].as_u64() {
            let limit = usize::try_from(limit).expect("small");
            values.extend([limit.saturating_sub(1), limit, limit + 1].map(|chars| json!("ü".repeat(chars))));
            values.extend([limit.saturating_sub(1), limit, limit + 1].map(|chars| json!("u".repeat(chars))));
        }
    }
    for word in schema["enum"].as_array().into_iter().flatten() {
        values.push(word.clone());
        values.push(json!(format!("{}x", word.as_str().unwrap_or_default())));
    }
    values.extend(schema.get("const").cloned());
    if schema["items"].is_object() {
        let items = values_of(&schema["items"]);
        values.extend(items.iter().map(|item| json!([item])));
        values.extend(
            items
                .iter()
                .filter(|item| item.is_string())
                .map(|item| json!([item, item])),
        );
        let limit = usize::try_from(schema["maxItems"].as_u64().unwrap_or(3)).expect("small");
        for count in [limit, limit + 1] {
            values.push((0..count).map(|index| json!(format!("item{index}"))).collect());
        }
    }
    if schema["additionalProperties"].is_object() {
        values.extend(
            values_of(&schema["additionalProperties"])
                .into_iter()
                .map(|value| json!({"x-key": value})),
        );
        let names = values_of(&schema["propertyNames"]);
        let names = names.iter().filter_map(Value::as_str);
        values.extend(names.map(|name| json!({name: "value"})));
        values.extend(
            ["Host", "content-type", "X_Webhook_Id", "a b", "Accept"].map(|name| json!({name: "value"})),
        );
        let limit = schema["maxProperties"].as_u64().expect("a limit");
        for count in [limit, limit + 1] {
            let map: Map<String, Value> = (0..count)
                .map(|index| (format!("x-{index}"), json!("v")))
                .collect();
            values.push(Value::Object(map));
        }
    }
    for other in ["anyOf", "oneOf"] {
        values.extend(schema[other].as_array().into_iter().flatten().flat_map(values_of));
    }
    values
}

/// Values of secrets, whose rule is longer than limits.
fn secrets() -> Vec<Value> {
    let base64 = |bytes: usize| {
        use base64::Engine as _;
        json!(format!(
            "whsec_{}",
            base64::engine::general_purpose::STANDARD.encode(vec![7; bytes])
        ))
    };
    let mut all: Vec<Value> = [23, 24, 25, 26, 32, 62, 63, 64, 65, 66].map(base64).to_vec();
    all.extend(
        [
            " leading-blank",
            "trailing-blank ",
            "tab-at-end\u{9}abcd",
            "inner blank is fine",
            "whsec_short",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx=",
            "whsec_not-base64-at-all-not-base64-at",
            "\u{a0}no-break-blank",
        ]
        .map(|text| json!(text)),
    );
    all
}

/// Paths of goals, of which some can never match.
fn paths() -> [Value; 9] {
    [
        "/a?b",
        "/a#b",
        " /a",
        "/a ",
        "https://example.com/a",
        "a+b.c-1://",
        "/a b",
        "/a://b",
        "*",
    ]
    .map(|text| json!(text))
}

/// Each field of an object schema, at any depth, with the path to it.
fn fields_of(schema: &Value, path: &[String], found: &mut Vec<(Vec<String>, Value)>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let mut path = path.to_vec();
        path.push(name.clone());
        fields_of(field, &path, found);
        found.push((path, field.clone()));
    }
    for other in ["anyOf", "oneOf"] {
        for option in schema[other].as_array().into_iter().flatten() {
            fields_of(option, path, found);
        }
    }
}

/// True for a field that requests may set, and not only repeat from an answer.
fn is_an_owners(field: &Value) -> bool {
    ["type", "anyOf", "oneOf", "const"]
        .iter()
        .any(|key| field.get(key).is_some())
}

/// `body` with another value at `path`; `None` if the path does not lead through it.
fn with(body: &Value, path: &[String], value: Option<Value>) -> Option<Value> {
    let mut changed = body.clone();
    let (last, parents) = path.split_last()?;
    let mut place = &mut changed;
    for parent in parents {
        place = place.get_mut(parent)?;
    }
    let place = place.as_object_mut()?;
    match value {
        Some(value) => place.insert(last.clone(), value),
        None => place.remove(last),
    };
    Some(changed)
}

#[test]
fn each_validator_takes_what_its_schema_takes_and_no_more() {
    let (mut probes, mut apart) = (0, Vec::new());
    for (name, takes, bases) in bases() {
        let judge = judge(name);
        let mut fields = Vec::new();
        fields_of(&schemas()[name], &[], &mut fields);
        for base in &bases {
            assert!(
                judge.is_valid(base),
                "{name}: {base}: {:?}",
                judge.iter_errors(base).map(|e| e.to_string()).collect::<Vec<_>>()
            );
            assert!(takes(base.as_object().expect("an object")), "{name}: {base}");
            let mut probed = BTreeSet::new();
            for (path, field) in fields.iter().filter(|(_, field)| is_an_owners(field)) {
                let mut values: Vec<Option<Value>> = values_of(field).into_iter().map(Some).collect();
                if path.last().is_some_and(|last| last == "secret") {
                    values.extend(secrets().into_iter().map(Some));
                }
                if path.last().is_some_and(|last| last == "path") {
                    values.extend(paths().into_iter().map(Some));
                }
                values.push(None);
                for value in values {
                    let Some(body) = with(base, path, value) else {
                        continue;
                    };
                    if !probed.insert(body.to_string()) {
                        continue;
                    }
                    probes += 1;
                    let (by_schema, by_validator) =
                        (judge.is_valid(&body), takes(body.as_object().expect("an object")));
                    if by_schema != by_validator && !(by_schema && is_beyond_schemas(path, &body)) {
                        let field = path.join(".");
                        let value = path.iter().fold(&body, |value, name| &value[name]);
                        apart.push(format!(
                            "{name} {field}: schema {by_schema}, validator {by_validator}: {value}"
                        ));
                    }
                }
            }
            for path in [
                vec!["no_such_field".to_owned()],
                vec!["triggers".to_owned(), "no_such_field".to_owned()],
            ] {
                if let Some(body) = with(base, &path, Some(json!(1))) {
                    assert!(
                        !judge.is_valid(&body) && !takes(body.as_object().expect("an object")),
                        "{name}: {body}"
                    );
                }
            }
        }
    }
    apart.iter_mut().for_each(|line| line.truncate(300));
    assert!(
        apart.is_empty(),
        "{} of {probes}:\n{}",
        apart.len(),
        apart.join("\n")
    );
    assert!(probes > 2_000, "{probes}");
}

/// True if the validator may refuse what the schema takes. Schemas count characters, and the limit
/// of a site id is in bytes.
fn is_beyond_schemas(path: &[String], body: &Value) -> bool {
    let field = path[0].as_str();
    let is_site_id = matches!(field, "aliases" | "sites");
    BEYOND_SCHEMAS.contains(&field) || is_site_id && body.to_string().contains('ü')
}

#[test]
fn every_option_of_a_trigger_has_a_schema() {
    for trigger in super::super::triggers::triggers()["properties"]
        .as_object()
        .expect("triggers")
        .values()
    {
        for (name, schema) in trigger["properties"].as_object().expect("options") {
            assert!(
                schema.get("type").is_some() || schema.get("anyOf").is_some(),
                "{name}"
            );
        }
    }
}
