//! Schemas of what is done on request: tests, retries, recoveries and links to the pages.

use serde_json::{Value, json};

use super::schema::{
    about, answer, any_text, by_default, count, id, input, integer, nullable, partial, time, word,
};
use crate::api::portal_links::{DEFAULT_EXPIRES_IN_SECONDS, EXPIRES_IN_SECONDS};
use crate::domain::attempt::AttemptResult;
use crate::domain::delivery::DeliveryStatus;
use crate::domain::event::EventType;
use crate::record::jobs::JobStatus;
use crate::record::tokens::Role;

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("TestRequest", test_request()),
        ("TestOutcome", test_outcome()),
        ("RetryRequest", retry_request()),
        ("RecoveryRequest", recovery_request()),
        ("Recovery", recovery()),
        ("PortalLinkRequest", portal_link_request()),
        ("PortalLink", portal_link()),
    ]
}

fn test_request() -> Value {
    let samples: Vec<&str> = EventType::ALL
        .into_iter()
        .filter(|event| *event != EventType::Test)
        .map(EventType::as_str)
        .collect();
    let event = about(
        nullable(word(&samples)),
        "Event type of the sample. Default: the first that is subscribed to.",
    );
    let mut schema = input(&[], vec![("event", event)]);
    schema["examples"] = json!([{}, {"event": "goal_completion"}]);
    schema
}

fn test_outcome() -> Value {
    let mut schema = answer(vec![
        ("delivery_id", id("dlv")),
        ("status", word(DeliveryStatus::WORDS)),
        ("response_code", nullable(integer(100..=999))),
        ("result", word(AttemptResult::WORDS)),
        ("error", nullable(any_text())),
        ("latency_ms", count()),
        (
            "response",
            about(
                nullable(any_text()),
                "The start of the endpoint's answer; null for a private target.",
            ),
        ),
    ]);
    schema["examples"] = json!([{
        "delivery_id": "dlv_01jz0000000000000000000000", "status": "delivered", "response_code": 200, "result": "2xx",
        "error": null, "latency_ms": 96, "response": "ok"
    }]);
    schema
}

fn retry_request() -> Value {
    let mut schema = input(&[], Vec::new());
    schema["examples"] = json!([{}]);
    schema
}

fn recovery_request() -> Value {
    let mut schema = input(
        &["since"],
        vec![
            (
                "since",
                about(time(), "The earliest time of a notification, in the past."),
            ),
            (
                "until",
                about(
                    nullable(time()),
                    "The latest time of a notification. Default: now.",
                ),
            ),
        ],
    );
    schema["examples"] = json!([{"since": "2026-02-25T12:00:00Z"}]);
    schema
}

fn portal_link_request() -> Value {
    let mut schema = input(
        &[],
        vec![
            (
                "role",
                by_default(
                    about(nullable(word(Role::WORDS)), "Rights of who opens it."),
                    "editor",
                ),
            ),
            (
                "expires_in_seconds",
                by_default(
                    about(
                        nullable(integer(EXPIRES_IN_SECONDS)),
                        "The time within which it must be opened.",
                    ),
                    DEFAULT_EXPIRES_IN_SECONDS,
                ),
            ),
        ],
    );
    schema["examples"] = json!([{}, {"role": "viewer", "expires_in_seconds": 600}]);
    schema
}

fn portal_link() -> Value {
    let mut schema = partial(
        &["expires_at"],
        vec![
            (
                "url",
                about(
                    any_text(),
                    "Opens the pages once. A repeated answer does not show it again.",
                ),
            ),
            ("expires_at", time()),
        ],
    );
    schema["examples"] = json!([
        {"url": "https://bellwether.example.com/p/example-of-a-link", "expires_at": "2026-02-25T12:15:00.000Z"}
    ]);
    schema
}

fn recovery() -> Value {
    let mut schema = answer(vec![
        ("id", id("job")),
        ("status", word(JobStatus::WORDS)),
        ("since", nullable(time())),
        ("until", nullable(time())),
        ("total", about(count(), "Deliveries found so far.")),
        ("sent", about(count(), "Deliveries sent again that have ended.")),
        (
            "skipped",
            about(count(), "Deliveries that arrived meanwhile or are on their way."),
        ),
        ("inserted_at", time()),
        ("ended_at", nullable(time())),
    ]);
    schema["examples"] = json!([{
        "id": "job_01jz0000000000000000000000", "status": "running", "since": "2026-02-25T12:00:00.000Z",
        "until": "2026-02-25T18:00:00.000Z", "total": 120, "sent": 80, "skipped": 3,
        "inserted_at": "2026-02-25T18:00:00.000Z", "ended_at": null
    }]);
    schema
}
