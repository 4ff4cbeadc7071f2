//! Schemas of webhooks and their secrets.

use serde_json::{Value, json};

use super::schema::{
    Fields, about, answer, any_text, boolean, by_default, count, id, ignored, input, integer, list, nullable,
    page, partial, read_only, reference, text, time, word,
};
use super::triggers;
use crate::api::secrets::{DEFAULT_OVERLAP_SECONDS, OVERLAP_SECONDS};
use crate::api::webhook_answer::WarningCode;
use crate::api::webhook_input::{
    FAILURE_THRESHOLD, MASK, MAX_AGE_SECONDS, MAX_CONCURRENCY, MAX_EXTERNAL_ID_CHARS, MOVING,
    RATE_LIMIT_PER_SECOND, READ_ONLY,
};
use crate::domain::event::EventType;
use crate::domain::health::{HealthReason, HealthState};
use crate::domain::hidden::is_unseen;
use crate::domain::own_headers::{MAX_NAME_BYTES, MAX_OWN_HEADERS, MAX_VALUE_BYTES, reserved_pattern};
use crate::domain::target::MAX_URL_CHARS;
use crate::domain::webhook::{
    DEFAULT_FAILURE_THRESHOLD, DEFAULT_MAX_CONCURRENCY, DEFAULT_RETRY_SCHEDULE, Format, MAX_NAME_CHARS,
};

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let mut with_secret = answered();
    let always: Vec<&str> = with_secret.iter().map(|(name, _)| *name).collect();
    with_secret.push(("standard_webhooks_secret", standard_secret()));
    let mut listed = answered();
    listed.push((
        "recent",
        about(
            list(reference("Delivery")),
            "With `include=recent`: the newest deliveries but tests, at most 20, without payloads.",
        ),
    ));
    vec![
        ("NewWebhook", new_webhook()),
        ("WebhookPatch", patch()),
        ("Webhook", shown(answer(answered()), example())),
        ("ListedWebhook", partial(&always, listed)),
        ("Webhooks", page("ListedWebhook")),
        (
            "WebhookWithWarnings",
            shown(answer(answered()), example_with_warnings()),
        ),
        (
            "WebhookWithSecret",
            shown(partial(&always, with_secret.clone()), example_with_secret()),
        ),
        ("SecretRotation", rotation()),
        (
            "RotatedWebhook",
            shown(partial(&always, with_secret), example_with_secret()),
        ),
        ("ShownSecret", shown_secret()),
    ]
}

fn shown(mut schema: Value, example: Value) -> Value {
    schema["examples"] = json!([example]);
    schema
}

/// The fields that an owner sets.
fn settings() -> Fields {
    vec![
        (
            "name",
            about(nullable(text(MAX_NAME_CHARS)), "Default: the host of the URL."),
        ),
        ("url", url()),
        (
            "format",
            by_default(nullable(word(Format::WORDS)), Format::default().as_str()),
        ),
        ("headers", by_default(nullable(own_headers()), json!({}))),
        ("events", events()),
        ("triggers", by_default(nullable(triggers::triggers()), json!({}))),
        ("enabled", by_default(nullable(boolean()), true)),
        (
            "failure_threshold",
            by_default(
                about(
                    nullable(integer(FAILURE_THRESHOLD)),
                    "Successive deliveries that fail for good.",
                ),
                DEFAULT_FAILURE_THRESHOLD,
            ),
        ),
        (
            "rate_limit_per_second",
            about(
                nullable(integer(RATE_LIMIT_PER_SECOND)),
                "Null is no limit. Default: 50; 1 with the format of a chat service.",
            ),
        ),
        (
            "max_concurrency",
            by_default(nullable(integer(MAX_CONCURRENCY)), DEFAULT_MAX_CONCURRENCY),
        ),
        (
            "retry_schedule",
            by_default(nullable(retry_schedule()), DEFAULT_RETRY_SCHEDULE),
        ),
        (
            "max_age_seconds",
            about(
                nullable(integer(MAX_AGE_SECONDS)),
                "Older notifications are not sent. Default: 6 hours for spikes and drops, else no limit.",
            ),
        ),
        (
            "external_id",
            about(
                nullable(text(MAX_EXTERNAL_ID_CHARS)),
                "Your own id, unique within the site.",
            ),
        ),
        (
            "paused_until",
            about(nullable(time()), "In the future, at most 30 days away."),
        ),
    ]
}

fn url() -> Value {
    let schema = json!({"type": "string", "format": "uri", "minLength": 1, "maxLength": MAX_URL_CHARS});
    about(
        schema,
        "An https URL with a public address and without credentials.",
    )
}

fn retry_schedule() -> Value {
    let schema = json!({"type": "string", "minLength": 1, "maxLength": 100});
    about(
        schema,
        "Name of a schedule in `[webhooks.retry_schedules]` of the configuration.",
    )
}

fn events() -> Value {
    let words: Vec<&str> = EventType::SUBSCRIBABLE
        .iter()
        .map(|event| event.as_str())
        .collect();
    let schema = json!({"type": "array", "items": {"type": "string", "enum": words}, "minItems": 1, "uniqueItems": true});
    about(schema, "Event types that the webhook subscribes to.")
}

fn own_headers() -> Value {
    let name = json!({
        "type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES, "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
        "not": {"pattern": reserved_pattern()},
    });
    let value = json!({
        "type": "string", "minLength": 1, "maxLength": MAX_VALUE_BYTES, "pattern": "^[!-~](?:[ -~]*[!-~])?$",
    });
    let schema = json!({"type": "object", "maxProperties": MAX_OWN_HEADERS, "propertyNames": name,
                        "additionalProperties": nullable(value)});
    about(schema, "Added to every request; the values are secrets.")
}

/// The characters that nobody sees, as the inside of a character class of a regular expression.
fn unseen_class() -> String {
    let mut class = String::new();
    let mut all = ('\0'..=char::MAX).filter(|one| is_unseen(*one)).peekable();
    while let Some(first) = all.next() {
        let mut last = first;
        while let Some(next) = all.next_if(|next| u32::from(*next) == u32::from(last) + 1) {
            last = next;
        }
        for one in [first, '-', last] {
            match one {
                '-' => class.push('-'),
                // `\u` has four digits; what lies beyond them stands for itself.
                one if u32::from(one) <= 0xffff => class.push_str(&format!("\\u{:04x}", u32::from(one))),
                one => class.push(one),
            }
        }
    }
    class
}

/// 12 to 64 characters with something to see at the ends, or `whsec_` and strict base64 of 24 to 64
/// bytes.
fn secret() -> Value {
    let unseen = unseen_class();
    let plain = json!({
        "minLength": 12, "maxLength": 64, "not": {"pattern": "^whsec_"},
        "pattern": format!(r"^[^{unseen}][^\x00-\x1f\x7f-\x9f]*[^{unseen}]$"),
    });
    let (any, two_of_six, four_of_six) = ("[A-Za-z0-9+/]", "[AQgw]", "[AEIMQUYcgkosw048]");
    let (one_byte, two_bytes) = (
        format!("{any}{two_of_six}=="),
        format!("{any}{{2}}{four_of_six}="),
    );
    let up_to_63 = format!("(?:{any}{{4}}){{8,20}}(?:{any}{{4}}|{two_bytes}|{one_byte})?");
    let of_64 = format!("(?:{any}{{4}}){{21}}{one_byte}");
    let standard = json!({"pattern": format!("^whsec_(?:{up_to_63}|{of_64})$")});
    let schema = json!({"type": "string", "anyOf": [plain, standard]});
    about(
        schema,
        "12 to 64 characters, or `whsec_` and the base64 form of 24 to 64 bytes. Default: generated.",
    )
}

fn new_webhook() -> Value {
    let mut fields = settings();
    fields.push(("secret", nullable(secret())));
    let mut schema = input(&["url", "events"], fields);
    schema["allOf"] = triggers::conditions();
    schema["examples"] = json!([
        {"url": "https://hooks.example.com/bellwether", "events": ["goal_completion"]},
        {"name": "Production", "url": "https://hooks.example.com/bellwether",
         "events": ["visitor_spike", "goal_completion"],
         "triggers": {"visitor_spike": {"threshold": 500}, "goal_completion": {"goals": ["Signup"]}}},
    ]);
    schema
}

/// Any of the settings, and the fields of an answer that is edited and sent back.
fn patch() -> Value {
    let mut fields = settings();
    fields.push((
        "secret",
        json!({"const": MASK, "description": "The masked secret of an answer; a secret is changed by rotate-secret."}),
    ));
    fields.extend(READ_ONLY.iter().map(|name| {
        let is_moving = MOVING.contains(name);
        (*name, if is_moving { ignored() } else { read_only() })
    }));
    let mut schema = input(&[], fields);
    schema["examples"] = json!([{"enabled": false}, {"triggers": {"visitor_spike": {"threshold": 800}}}]);
    schema
}

fn rotation() -> Value {
    let mut schema = input(
        &[],
        vec![
            ("secret", nullable(secret())),
            (
                "overlap_seconds",
                by_default(
                    about(
                        nullable(integer(OVERLAP_SECONDS)),
                        "The time for which requests carry both signatures.",
                    ),
                    DEFAULT_OVERLAP_SECONDS,
                ),
            ),
            (
                "finish",
                by_default(
                    about(
                        nullable(boolean()),
                        "True ends an overlap and makes no new secret.",
                    ),
                    false,
                ),
            ),
        ],
    );
    let alone = json!({"secret": {"type": "null"}, "overlap_seconds": {"type": "null"}});
    schema["if"] = json!({"required": ["finish"], "properties": {"finish": {"const": true}}});
    schema["then"] = json!({"properties": alone});
    schema["examples"] = json!([{}, {"overlap_seconds": 0}, {"finish": true}]);
    schema
}

/// The fields of every answer with a webhook.
fn answered() -> Fields {
    vec![
        ("id", id("wh")),
        ("site_id", any_text()),
        ("name", text(MAX_NAME_CHARS)),
        (
            "url",
            about(any_text(), "Masked: scheme, host and the last four characters."),
        ),
        (
            "secret",
            about(any_text(), "Masked, unless this call has made it."),
        ),
        ("format", word(Format::WORDS)),
        (
            "headers",
            json!({"type": "object", "additionalProperties": {"const": MASK}}),
        ),
        ("events", list(word(EventType::WORDS))),
        (
            "triggers",
            about(json!({"type": "object"}), "As in `NewWebhook`, with defaults."),
        ),
        ("enabled", boolean()),
        ("failure_threshold", integer(FAILURE_THRESHOLD)),
        ("rate_limit_per_second", nullable(integer(RATE_LIMIT_PER_SECOND))),
        ("max_concurrency", integer(MAX_CONCURRENCY)),
        ("retry_schedule", any_text()),
        ("max_age_seconds", nullable(integer(MAX_AGE_SECONDS))),
        ("external_id", nullable(text(MAX_EXTERNAL_ID_CHARS))),
        ("paused_until", nullable(time())),
        ("secret_overlap_until", nullable(time())),
        ("health", health()),
        ("inserted_at", time()),
        ("updated_at", time()),
        ("warnings", list(warning())),
    ]
}

fn health() -> Value {
    answer(vec![
        ("state", word(HealthState::WORDS)),
        ("reason", nullable(word(HealthReason::WORDS))),
        ("since", nullable(time())),
        ("next_probe_at", nullable(time())),
        ("waiting", about(count(), "Deliveries that are parked.")),
        ("last_success_at", nullable(time())),
        ("consecutive_failures", count()),
    ])
}

fn warning() -> Value {
    partial(
        &["code", "detail"],
        vec![
            ("code", word(WarningCode::WORDS)),
            ("pointer", about(any_text(), "A JSON pointer to the field.")),
            ("detail", any_text()),
        ],
    )
}

fn standard_secret() -> Value {
    about(
        any_text(),
        "The form that Standard Webhooks libraries take; only for a secret without `whsec_`.",
    )
}

fn shown_secret() -> Value {
    let next = partial(
        &["secret", "from"],
        vec![
            ("secret", any_text()),
            ("standard_webhooks_secret", standard_secret()),
            (
                "from",
                about(time(), "Time from which the new secret has been valid."),
            ),
        ],
    );
    let schema = partial(
        &["secret"],
        vec![
            ("secret", any_text()),
            ("standard_webhooks_secret", standard_secret()),
            ("next", about(next, "The new secret, during an overlap.")),
        ],
    );
    shown(schema, json!({"secret": EXAMPLE_SECRET}))
}

const EXAMPLE_SECRET: &str = "whsec_ZXhhbXBsZSBleGFtcGxlIGV4YW1wbGUgZXhhbXBsZSE=";

fn example() -> Value {
    json!({
        "id": "wh_01jz0000000000000000000000", "site_id": "example.com", "name": "Production",
        "url": "https://hooks.example.com/…ther", "secret": MASK, "format": "json", "headers": {},
        "events": ["visitor_spike"], "triggers": {"visitor_spike": {"threshold": 500, "window_seconds": 300}},
        "enabled": true, "failure_threshold": 3, "rate_limit_per_second": 50, "max_concurrency": 8,
        "retry_schedule": "default", "max_age_seconds": null, "external_id": null, "paused_until": null,
        "secret_overlap_until": null,
        "health": {"state": "ok", "reason": null, "since": "2026-02-01T08:00:00.000Z", "next_probe_at": null,
                   "waiting": 0, "last_success_at": "2026-02-25T12:00:00.000Z", "consecutive_failures": 0},
        "inserted_at": "2026-02-01T08:00:00.000Z", "updated_at": "2026-02-01T08:00:00.000Z",
        "warnings": []
    })
}

fn example_with_warnings() -> Value {
    let mut example = example();
    example["warnings"] = json!([{"code": "unknown_goal", "pointer": "/triggers/goal_completion/goals/0",
                                  "detail": "The site has no goal `Signup` yet."}]);
    example
}

fn example_with_secret() -> Value {
    let mut example = example();
    example["secret"] = json!(EXAMPLE_SECRET);
    example
}
