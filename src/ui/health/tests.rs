use serde_json::{Value, json};

use super::*;
use crate::ui::missed::MissedCount;
use crate::ui::model::WebhookView;
use crate::ui::times::Zone;

fn zone() -> Zone {
    Zone::new("Europe/Berlin", "2026-11-22T13:05:00Z".parse().expect("a time"))
}

fn webhook(health: Value, more: Value) -> WebhookView {
    let mut webhook = json!({
        "id": "wh_1", "name": "Production", "url": "https://hooks.example.com/…9f2c", "format": "json",
        "events": ["visitor_spike"], "failure_threshold": 3, "rate_limit_per_second": 50,
        "max_concurrency": 8, "retry_schedule": "default", "max_age_seconds": null,
        "paused_until": null, "secret_overlap_until": null,
        "health": {"state": "ok", "reason": null, "since": null, "next_probe_at": null, "waiting": 0,
            "last_success_at": null, "consecutive_failures": 0},
    });
    for (key, value) in health.as_object().expect("an object") {
        webhook["health"][key] = value.clone();
    }
    for (key, value) in more.as_object().expect("an object") {
        webhook[key] = value.clone();
    }
    serde_json::from_value(webhook).expect("a webhook")
}

fn delivery(fields: Value) -> DeliveryView {
    let mut delivery = json!({
        "id": "dlv_1", "notification_id": "evt_1", "event_type": "visitor_spike", "status": "failed",
        "response_code": null, "attempts": 4, "result": null, "latency_ms": null, "failure_reason": null,
        "next_retry_at": null, "parked_until": null, "parked_reason": null, "resend_of": null, "payload": null,
        "created_at": "2026-11-22T13:00:00Z",
    });
    for (key, value) in fields.as_object().expect("an object") {
        delivery[key] = value.clone();
    }
    serde_json::from_value(delivery).expect("a delivery")
}

/// The states in plain text, each with its shape.
fn told(webhook: &WebhookView, newest: &[DeliveryView], triggers: &[TriggerView]) -> Vec<String> {
    let zone = zone();
    let facts = HealthFacts {
        webhook,
        newest,
        triggers,
        visitors: Some(512),
        zone: &zone,
        missed: Some(MissedCount {
            since: "2026-11-22T12:58:00Z".parse().expect("a time"),
            number: 12,
        }),
        knows_tests: true,
    };
    let plain = |one: StateBox| {
        let mut text = String::new();
        let html = one.words.to_string();
        for part in html.split('<') {
            text.push_str(part.split_once('>').map_or(part, |(_, text)| text));
        }
        format!("{} {text}", one.shape)
    };
    states(&facts).into_iter().map(plain).collect()
}

#[test]
fn each_state_has_the_words_of_the_design() {
    let failed = [delivery(json!({"response_code": 500, "result": "5xx"}))];
    let hung = [delivery(json!({"result": "timeout", "latency_ms": 30_002}))];
    let limited = [delivery(
        json!({"status": "pending", "attempts": 0, "parked_reason": "rate"}),
    )];
    let none: [DeliveryView; 0] = [];
    let at = "2026-11-22T13:02:00Z";
    let cases: [(Value, Value, &[DeliveryView], &str); 12] = [
        (
            json!({"state": "new"}),
            json!({}),
            &none,
            "○ Nothing sent yet. Send a test to see that it arrives.",
        ),
        (
            json!({"consecutive_failures": 2}),
            json!({}),
            &failed,
            "▲ The last 2 deliveries failed: HTTP 500. After 3 we hold back and try once in a while.",
        ),
        (
            json!({"state": "careful", "since": at}),
            json!({}),
            &none,
            "▲ Your server did not answer at 14:02. We try with one request at a time.",
        ),
        (
            json!({"waiting": 41}),
            json!({"paused_until": "2026-11-23T08:00:00Z"}),
            &none,
            "○ Paused until 23 Nov, 09:00. 41 wait and go out then.",
        ),
        (
            json!({"state": "open", "since": at, "next_probe_at": "2026-11-22T13:17:00Z", "waiting": 312}),
            json!({}),
            &hung,
            "▲ Your server has not answered since 14:02 (no reply in 30 s). Next try at 14:17. 312 notifications \
             wait and go out oldest first once it answers. On 27 Nov, 14:02 we switch this webhook off; you can still \
             send what waited.",
        ),
        (
            json!({"state": "open", "since": at, "waiting": 1}),
            json!({}),
            &failed,
            "▲ Your server has answered HTTP 500 since 14:02. 1 notification waits and goes out oldest first once \
             it answers. On 27 Nov, 14:02 we switch this webhook off; you can still send what waited.",
        ),
        (
            json!({"since": "2026-11-22T13:03:00Z", "waiting": 1_204}),
            json!({}),
            &none,
            "● Answering again since 14:03. 1,204 still to go, about 24 s.",
        ),
        (
            json!({"waiting": 312}),
            json!({}),
            &limited,
            "● 312 wait because of your limit of 50 a second.",
        ),
        (
            json!({"waiting": 100_000}),
            json!({}),
            &limited,
            "■ No room. 100,000 wait. Newer ones fail; send them later.",
        ),
        (
            json!({"state": "disabled", "reason": "gone", "since": "2026-11-20T07:15:00Z"}),
            json!({}),
            &none,
            "■ Switched off on 20 Nov, 08:15: your server answered 410 Gone. 12 were not delivered since \
             13:58.",
        ),
        (
            json!({"state": "disabled", "reason": "owner", "since": at}),
            json!({}),
            &none,
            "– Off. Nothing is sent and nothing is kept for later.",
        ),
        (
            json!({}),
            json!({"secret_overlap_until": "2026-11-23T09:05:00Z"}),
            &none,
            "○ Two secrets are valid until 23 Nov, 10:05 (20 h left). Requests carry a signature of each.",
        ),
    ];
    for (health, more, newest, wanted) in cases {
        let states = told(&webhook(health, more), newest, &[]);
        // Two secrets are valid beside whatever else is.
        let others = if wanted.contains("secrets") {
            vec!["● Working"]
        } else {
            Vec::new()
        };
        assert_eq!(states, [others, vec![wanted]].concat());
    }
}

#[test]
fn an_alert_that_is_on_is_told_beside_the_rest() {
    let trigger = |state: &str, webhook: &str| TriggerView {
        webhook_id: webhook.to_owned(),
        event: "visitor_spike".to_owned(),
        state: state.to_owned(),
        since: "2026-11-22T13:03:00Z".parse().ok(),
        threshold: Some(300),
    };
    let triggers = [
        trigger("firing", "wh_1"),
        trigger("armed", "wh_1"),
        trigger("firing", "wh_2"),
    ];
    let states = told(&webhook(json!({}), json!({})), &[], &triggers);
    assert_eq!(
        states,
        [
            "● Working",
            "● Spike since 14:03: 512 visitors, fires at 300. It re-arms at 240."
        ]
    );
}

#[test]
fn tests_count_in_no_sentence_about_deliveries() {
    let test = [delivery(
        json!({"event_type": "test", "response_code": 401, "result": "4xx"}),
    )];
    for (reason, words) in [
        ("failures", "▲ Your server has accepted nothing."),
        ("timeouts", "▲ Your server has not answered."),
    ] {
        let open = webhook(json!({"state": "open", "reason": reason}), json!({}));
        assert!(told(&open, &test, &[])[0].starts_with(words));
    }
}

#[test]
fn one_that_is_switched_on_again_has_a_past() {
    let since = json!({"state": "new", "since": "2026-11-22T13:02:00Z"});
    let tried = |at: &str| delivery(json!({"created_at": at, "status": "retrying", "attempts": 1}));
    let (before, after) = (tried("2026-11-22T12:00:00Z"), tried("2026-11-22T13:04:00Z"));
    for (newest, words) in [
        (vec![], "Nothing sent yet."),
        (vec![before.clone()], "Nothing sent since it was switched on."),
        (vec![after.clone()], "Nothing has arrived yet."),
        (
            vec![after, before],
            "Nothing has arrived since it was switched on.",
        ),
    ] {
        let wanted = format!("○ {words} Send a test to see that it arrives.");
        assert_eq!(told(&webhook(since.clone(), json!({})), &newest, &[]), [wanted]);
    }
}

#[test]
fn nothing_catches_up_that_is_not_answered() {
    let hung = webhook(json!({"state": "careful", "waiting": 5}), json!({}));
    let wanted = [
        "▲ Your server did not answer. We try with one request at a time.",
        "○ 5 wait for their turn.",
    ];
    assert_eq!(told(&hung, &[], &[]), wanted);
}

#[test]
fn several_states_keep_their_order() {
    let webhook = webhook(
        json!({"state": "careful", "consecutive_failures": 1}),
        json!({"paused_until": "2026-11-23T08:00:00Z", "secret_overlap_until": "2026-11-23T09:05:00Z"}),
    );
    let states = told(&webhook, &[], &[]);
    let shown: Vec<&str> = states
        .iter()
        .map(|one| one.split(['.', ':']).next().unwrap_or(""))
        .collect();
    assert_eq!(
        shown,
        [
            "▲ The last delivery failed",
            "▲ Your server did not answer",
            "○ Paused until 23 Nov, 09",
            "○ Two secrets are valid until 23 Nov, 10"
        ]
    );
}

#[test]
fn a_pause_and_a_failing_server_agree_on_what_is_next() {
    let since = "2026-11-22T13:02:00Z";
    let open = |probe: &str, until: &str| {
        let health = json!({"state": "open", "since": since, "next_probe_at": probe, "waiting": 41});
        told(&webhook(health, json!({"paused_until": until})), &[], &[])
    };
    let lead = "▲ Your server has accepted nothing since 14:02.";
    let off = "On 27 Nov, 14:02 we switch this webhook off";
    let then = "41 notifications wait and go out oldest first once it answers.";
    let end = "; you can still send what waited.";
    // Nothing is tried before the pause ends.
    assert_eq!(
        open("2026-11-22T13:17:00Z", "2026-11-23T08:00:00Z"),
        [
            "○ Paused until 23 Nov, 09:00. Nothing is tried until then.".to_owned(),
            format!("{lead} Next try when the pause ends (23 Nov, 09:00). {then} {off}{end}"),
        ]
    );
    assert_eq!(
        open("2026-11-22T13:17:00Z", "2026-11-22T13:10:00Z"),
        [
            "○ Paused until 14:10. Nothing is tried until then.".to_owned(),
            format!("{lead} Next try at 14:17. {then} {off}{end}"),
        ]
    );
    // Nor after it, if it is switched off in the middle of it.
    assert_eq!(
        open("2026-11-22T13:17:00Z", "2026-11-29T08:00:00Z"),
        [
            "○ Paused until 29 Nov, 09:00. Nothing is tried until then.".to_owned(),
            format!("{lead} 41 notifications wait. {off}, before its pause ends{end}"),
        ]
    );
}
