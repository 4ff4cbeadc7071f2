//! Schemas of deliveries.

use serde_json::{Value, json};

use super::schema::{Fields, about, answer, any_text, boolean, count, id, list, nullable, page, time, word};
use crate::domain::attempt::{AttemptResult, Fault};
use crate::domain::delivery::{DeliveryStatus, FailureReason, Origin};
use crate::domain::event::EventType;
use crate::domain::health::ParkReason;

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let mut with_attempts = delivery();
    with_attempts.push((
        "resends",
        about(
            list(id("dlv")),
            "The deliveries by which this one was sent again.",
        ),
    ));
    with_attempts.push(("attempt_log", list(attempt())));
    let (mut one, mut with_attempts) = (answer(delivery()), answer(with_attempts));
    one["examples"] = json!([example()]);
    let mut shown = example();
    shown["resends"] = json!([]);
    shown["attempt_log"] = json!([example_attempt()]);
    with_attempts["examples"] = json!([shown]);
    vec![
        ("Delivery", one),
        ("DeliveryWithAttempts", with_attempts),
        ("Deliveries", page("Delivery")),
    ]
}

fn delivery() -> Fields {
    vec![
        ("id", id("dlv")),
        (
            "notification_id",
            about(id("evt"), "The `id` in the payload, and the header `webhook-id`."),
        ),
        ("webhook_id", id("wh")),
        ("site_id", any_text()),
        ("event_type", word(EventType::WORDS)),
        ("origin", word(Origin::WORDS)),
        ("status", word(DeliveryStatus::WORDS)),
        (
            "response_code",
            about(nullable(count()), "HTTP status of the last attempt."),
        ),
        ("attempts", count()),
        (
            "result",
            about(
                nullable(word(AttemptResult::WORDS)),
                "Result of the last attempt.",
            ),
        ),
        (
            "latency_ms",
            about(nullable(count()), "Time that the last attempt took."),
        ),
        ("failure_reason", nullable(word(FailureReason::WORDS))),
        ("next_retry_at", nullable(time())),
        ("parked_until", nullable(time())),
        ("parked_reason", nullable(word(ParkReason::WORDS))),
        (
            "resend_of",
            about(nullable(id("dlv")), "The delivery that was asked for again."),
        ),
        (
            "payload",
            json!({"type": ["object", "null"], "description": "The body, byte for byte as it was signed."}),
        ),
        ("created_at", about(time(), "Time of the notification.")),
        ("first_attempt_at", nullable(time())),
        ("inserted_at", time()),
        ("updated_at", time()),
    ]
}

fn attempt() -> Value {
    let phase = || nullable(count());
    answer(vec![
        ("attempt", about(count(), "From 1.")),
        ("response_code", nullable(count())),
        ("result", word(AttemptResult::WORDS)),
        ("fault", word(Fault::WORDS)),
        ("error", nullable(any_text())),
        ("url", about(nullable(any_text()), "Masked.")),
        ("remote_address", nullable(any_text())),
        ("due_at", time()),
        ("started_at", time()),
        ("headers_at", nullable(time())),
        ("ended_at", time()),
        ("retry_at", nullable(time())),
        (
            "possible_repeat",
            about(
                boolean(),
                "True if a crash hides if the same attempt was sent before.",
            ),
        ),
        ("dns_ms", phase()),
        ("connect_ms", phase()),
        ("tls_ms", phase()),
        ("response_ms", phase()),
        ("total_ms", phase()),
        (
            "response",
            about(
                nullable(any_text()),
                "The start of the endpoint's answer, without what is secret.",
            ),
        ),
    ])
}

fn example() -> Value {
    json!({
        "id": "dlv_01jz0000000000000000000000", "notification_id": "evt_01jz0000000000000000000000",
        "webhook_id": "wh_01jz0000000000000000000000", "site_id": "example.com", "event_type": "goal_completion",
        "origin": "event", "status": "delivered", "response_code": 200, "attempts": 1, "result": "2xx", "latency_ms": 92, "failure_reason": null,
        "next_retry_at": null, "parked_until": null, "parked_reason": null, "resend_of": null,
        "payload": {"id": "evt_01jz0000000000000000000000", "event": "goal_completion", "site_id": "example.com",
                    "timestamp": "2026-02-25T12:00:00Z",
                    "data": {"goal_name": "Signup", "visitor_count": 1, "path": "/signup"}},
        "created_at": "2026-02-25T12:00:00.000Z", "first_attempt_at": "2026-02-25T12:00:00.004Z",
        "inserted_at": "2026-02-25T12:00:00.100Z", "updated_at": "2026-02-25T12:00:00.100Z"
    })
}

fn example_attempt() -> Value {
    json!({
        "attempt": 1, "response_code": 200, "result": "2xx", "fault": "none", "error": null,
        "url": "https://hooks.example.com/…ther", "remote_address": "192.0.2.1:443",
        "due_at": "2026-02-25T12:00:00.003Z", "started_at": "2026-02-25T12:00:00.004Z",
        "headers_at": "2026-02-25T12:00:00.095Z", "ended_at": "2026-02-25T12:00:00.096Z", "retry_at": null,
        "possible_repeat": false, "dns_ms": 3, "connect_ms": 20, "tls_ms": 30, "response_ms": 38, "total_ms": 92,
        "response": "ok"
    })
}
