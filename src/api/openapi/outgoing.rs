//! The requests that webhooks get: one entry of `webhooks` for each event type.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::schema::reference;

/// The contract of a notification's body, with a sample of each event type.
static CONTRACT: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../docs/notification.schema.json");
    serde_json::from_str(text).expect("a test reads the contract")
});

/// Headers of every request, with their meaning.
const HEADERS: [(&str, bool, &str); 9] = [
    (
        "X-Webhook-Signature",
        true,
        "`sha256=` and the hex form of the HMAC-SHA256 of the body, keyed with the secret.",
    ),
    (
        "X-Webhook-Signature-Next",
        false,
        "The same with the new secret, during the overlap of a rotation.",
    ),
    (
        "webhook-id",
        true,
        "Id of the notification; the same on every attempt.",
    ),
    ("webhook-timestamp", true, "Time of this attempt in Unix seconds."),
    (
        "webhook-signature",
        true,
        "Standard Webhooks: `v1,` and base64; two of them during the overlap of a rotation.",
    ),
    ("X-Webhook-Event", true, "Event type."),
    ("X-Webhook-Delivery", true, "Id of the delivery."),
    ("X-Webhook-Attempt", true, "Number of the attempt, from 1."),
    ("User-Agent", true, "`Bellwether/` and the version."),
];

/// Every event type of the contract, in its order.
fn events() -> Vec<&'static str> {
    let words = CONTRACT["properties"]["event"]["enum"].as_array();
    words.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The body of each event type, named `Notification.` and the type.
pub(super) fn schemas() -> Vec<(String, Value)> {
    let schemas = events().into_iter().map(|event| {
        let special = &CONTRACT["$defs"][event];
        let mut properties = CONTRACT["properties"].as_object().cloned().unwrap_or_default();
        properties.extend(special["properties"].as_object().cloned().unwrap_or_default());
        let schema = json!({
            "type": "object",
            "description": special["description"],
            "required": CONTRACT["required"],
            "properties": properties,
            "examples": [sample(event)],
        });
        (schema_name(event), schema)
    });
    schemas.collect()
}

fn schema_name(event: &str) -> String {
    format!("Notification.{event}")
}

fn sample(event: &str) -> Value {
    let samples = CONTRACT["examples"].as_array().into_iter().flatten();
    let mut of_event = samples.filter(|one| one["event"] == event);
    of_event.next().cloned().unwrap_or_default()
}

/// The `webhooks` section.
pub(super) fn section() -> Map<String, Value> {
    let parameters: Vec<Value> = HEADERS
        .iter()
        .map(|(name, required, description)| {
            json!({"name": name, "in": "header", "required": required, "description": description,
                   "schema": {"type": "string"}})
        })
        .collect();
    let section = events().into_iter().map(|event| {
        let content = json!({"schema": reference(&schema_name(event)), "example": sample(event)});
        let request = json!({
            "summary": CONTRACT["$defs"][event]["description"],
            "operationId": format!("on_{event}"),
            "tags": ["Outgoing events"],
            "security": [],
            "parameters": parameters,
            "requestBody": {"required": true, "content": {"application/json": content}},
            "responses": {
                "2XX": {"description": "The notification is delivered."},
                "410": {"description": "The webhook is disabled at once."},
                "default": {"description": "The attempt failed and is tried again; `Retry-After` is honoured."},
            },
        });
        (event.to_owned(), json!({"post": request}))
    });
    section.collect()
}
