//! The requests that webhooks, and the operator's webhook, get: one entry of `webhooks` for each
//! event type.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::schema::reference;

/// The contracts of bodies, with a sample of each event type: those of sites, and the operator's.
static CONTRACTS: LazyLock<[Value; 2]> = LazyLock::new(|| {
    [
        include_str!("../../../docs/notification.schema.json"),
        include_str!("../../../docs/operator-notification.schema.json"),
    ]
    .map(|text| serde_json::from_str(text).expect("a test reads the contract"))
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

/// An event type, with the contract of its body.
struct OutgoingEvent {
    contract: &'static Value,
    name: &'static str,
}

/// Every event type of the contracts, in their order.
fn events() -> impl Iterator<Item = OutgoingEvent> {
    CONTRACTS.iter().flat_map(|contract| {
        let words = contract["properties"]["event"]["enum"].as_array();
        let names = words.into_iter().flatten().filter_map(Value::as_str);
        names.map(move |name| OutgoingEvent { contract, name })
    })
}

impl OutgoingEvent {
    /// The part of the contract that only this event type has.
    fn special(&self) -> &'static Value {
        &self.contract["$defs"][self.name]
    }

    fn schema_name(&self) -> String {
        format!("Notification.{}", self.name)
    }

    fn schema(&self) -> Value {
        let special = self.special();
        let mut properties = self.contract["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        properties.extend(special["properties"].as_object().cloned().unwrap_or_default());
        json!({
            "type": "object",
            "description": special["description"],
            "required": self.contract["required"],
            "properties": properties,
            "examples": [self.sample()],
        })
    }

    fn sample(&self) -> Value {
        let samples = self.contract["examples"].as_array().into_iter().flatten();
        let mut of_event = samples.filter(|one| one["event"] == self.name);
        of_event.next().cloned().unwrap_or_default()
    }
}

/// The body of each event type, named `Notification.` and the type.
pub(super) fn schemas() -> Vec<(String, Value)> {
    events()
        .map(|event| (event.schema_name(), event.schema()))
        .collect()
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
    let section = events().map(|event| {
        let content = json!({"schema": reference(&event.schema_name()), "example": event.sample()});
        let request = json!({
            "summary": event.special()["description"],
            "operationId": format!("on_{}", event.name),
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
        (event.name.to_owned(), json!({"post": request}))
    });
    section.collect()
}
