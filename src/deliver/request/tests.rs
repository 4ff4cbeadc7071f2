use super::*;
use crate::domain::id::{NotificationKind, WebhookId};
use crate::domain::secret::Secret;
use crate::domain::time::from_ms;
use crate::domain::webhook::{Format, NextSecret};

/// A webhook for tests of this stage.
pub(crate) fn webhook(url: &str) -> Webhook {
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
    Webhook::without_row(
        WebhookId::new_v7(1, [1; 10]),
        "example.com".parse().expect("a site id"),
        TargetUrl::from_trusted(url).expect("a URL"),
        secret,
        Format::Json,
    )
}

/// The facts of a first attempt for tests of this stage.
pub(crate) fn facts(body: &'static str) -> AttemptFacts {
    let notification_id =
        NotificationId::derive(1_000, "example.com", "test", NotificationKind::Each, &[b"1"]);
    AttemptFacts {
        delivery_id: DeliveryId::derive(notification_id, WebhookId::new_v7(1, [1; 10])),
        notification_id,
        event: "goal_completion",
        attempt: 1,
        now_ms: 1_614_265_330_999,
        body: Bytes::from_static(body.as_bytes()),
    }
}

fn header<'a>(request: &'a WebhookRequest, name: &str) -> Option<&'a str> {
    let mut found = request
        .headers
        .iter()
        .filter(|(one, _)| one.eq_ignore_ascii_case(name));
    let value = found.next().map(|(_, value)| value.reveal());
    assert_eq!(found.next(), None, "{name} is there twice");
    value
}

#[test]
fn an_attempt_carries_every_header_of_the_contract() {
    let mut webhook = webhook("https://example.com/hook");
    webhook.headers = vec![("Authorization".to_owned(), Hidden::new("Bearer token"))];
    let facts = AttemptFacts {
        attempt: 3,
        ..facts("{}")
    };
    let request = WebhookRequest::build(&webhook, &facts);
    let id = facts.notification_id.to_string();
    let standard = signature::standard(&webhook.secret, &id, 1_614_265_330, b"{}");
    for (name, value) in [
        ("Content-Type", "application/json"),
        ("User-Agent", concat!("Bellwether/", env!("CARGO_PKG_VERSION"))),
        ("X-Webhook-Signature", &signature::plain(&webhook.secret, b"{}")),
        ("webhook-id", &id),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", &standard),
        ("X-Webhook-Event", "goal_completion"),
        ("X-Webhook-Delivery", &facts.delivery_id.to_string()),
        ("X-Webhook-Attempt", "3"),
        ("Authorization", "Bearer token"),
    ] {
        assert_eq!(header(&request, name), Some(value), "{name}");
    }
    assert_eq!(request.headers.len(), 10);
    assert_eq!(header(&request, "X-Webhook-Signature-Next"), None);
}

#[test]
fn during_an_overlap_both_secrets_sign_and_plain_keeps_the_old() {
    let mut webhook = webhook("https://example.com/hook");
    let next = Secret::parse("the-new-secret-of-this-hook").expect("a secret");
    let now_ms = facts("{}").now_ms;
    webhook.next_secret = Some(rotated_to(&next, now_ms + 1));
    let request = WebhookRequest::build(&webhook, &facts("{}"));
    let plain = header(&request, "X-Webhook-Signature").expect("there");
    assert!(signature::verify_plain(&webhook.secret, b"{}", plain));
    let plain_next = header(&request, "X-Webhook-Signature-Next").expect("there");
    assert!(signature::verify_plain(&next, b"{}", plain_next));
    let (id, standard) = (
        header(&request, "webhook-id").expect("there"),
        header(&request, "webhook-signature").expect("there"),
    );
    assert_eq!(standard.split(' ').count(), 2);
    for secret in [&webhook.secret, &next] {
        assert!(signature::verify_standard(
            secret,
            id,
            "1614265330",
            b"{}",
            standard
        ));
    }
}

fn rotated_to(secret: &Secret, until_ms: i64) -> NextSecret {
    NextSecret {
        secret: secret.clone(),
        overlap_until: from_ms(until_ms),
    }
}

#[test]
fn from_the_end_of_an_overlap_on_the_new_secret_signs_alone() {
    let next = Secret::parse("the-new-secret-of-this-hook").expect("a secret");
    let facts = facts("{}");
    for (until_ms, is_over) in [
        (facts.now_ms + 1, false),
        (facts.now_ms, true),
        (facts.now_ms - 1, true),
    ] {
        let mut webhook = webhook("https://example.com/hook");
        webhook.next_secret = Some(rotated_to(&next, until_ms));
        let request = WebhookRequest::build(&webhook, &facts);
        let signer = if is_over { &next } else { &webhook.secret };
        let plain = header(&request, SIGNATURE).expect("there");
        assert!(signature::verify_plain(signer, b"{}", plain), "{until_ms}");
        assert_eq!(header(&request, SIGNATURE_NEXT).is_none(), is_over, "{until_ms}");
        let standard = header(&request, STANDARD_SIGNATURE).expect("there");
        assert_eq!(standard.contains(' '), !is_over, "{until_ms}: {standard}");
        // What an endpoint answers may hold the old one still.
        assert_eq!(request.secrets, [webhook.secret.clone(), next.clone()]);
    }
    // Within the millisecond of the end, too, it is over.
    let mut webhook = webhook("https://example.com/hook");
    let mut rotated = rotated_to(&next, facts.now_ms);
    rotated.overlap_until += chrono::TimeDelta::microseconds(999);
    webhook.next_secret = Some(rotated);
    assert_eq!(webhook.signers(facts.now_ms), (&next, None));
}

#[test]
fn debug_output_shows_no_path_no_value_and_no_body() {
    let mut webhook = webhook("https://example.com/very-secret-path-x");
    webhook.headers = vec![("X-Key".to_owned(), Hidden::new("hidden-value"))];
    let shown = format!("{:?}", WebhookRequest::build(&webhook, &facts("{\"a\":1}")));
    for hidden in ["secret", "hidden-value", "sha256=", "v1,", "\"a\""] {
        assert!(!shown.contains(hidden), "{hidden}: {shown}");
    }
    assert!(shown.contains("X-Key") && shown.contains("example.com"));
}

#[test]
fn a_sites_wish_for_no_paths_holds_for_what_is_queued() {
    let body = r#"{"id":"evt_1","event":"goal_completion","site_id":"s","timestamp":"2026-02-25T12:00:00Z","data":{"goal_name":"Paid","visitor_count":1,"path":"/secret-page"}}"#;
    for format in Format::ALL {
        let mut webhook = webhook("https://example.com/");
        webhook.format = format;
        for include_paths in [true, false] {
            webhook.include_paths = include_paths;
            let request = WebhookRequest::build(&webhook, &facts(body));
            let sent = String::from_utf8(request.body.to_vec())
                .expect("text")
                .replace('\\', "");
            assert_eq!(sent.contains("secret-page"), include_paths, "{format}: {sent}");
            assert!(sent.contains("Paid"), "{format}: {sent}");
            let signed = signature::plain(&webhook.secret, &request.body);
            let signature = request.headers.iter().find(|(name, _)| name == SIGNATURE);
            assert_eq!(signature.map(|(_, value)| value.reveal()), Some(signed.as_str()));
        }
    }
}
