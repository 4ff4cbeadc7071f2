//! What one attempt sends: the whole request, ready but for the connection. Pure: the same arguments give the same
//! bytes.

use std::fmt;

use bytes::Bytes;

use super::signature;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, NotificationId};
use crate::domain::secret::Hidden;
use crate::domain::target::TargetUrl;
use crate::domain::webhook::Webhook;

/// Who we say we are.
pub(crate) const USER_AGENT: &str = concat!("Bellwether/", env!("CARGO_PKG_VERSION"));

/// The HMAC of the body under the secret as shown.
pub(crate) const SIGNATURE: &str = "X-Webhook-Signature";
/// During a rotation's overlap: the same under the new secret.
pub(crate) const SIGNATURE_NEXT: &str = "X-Webhook-Signature-Next";
/// The event type.
pub(crate) const EVENT: &str = "X-Webhook-Event";
/// The delivery id.
pub(crate) const DELIVERY: &str = "X-Webhook-Delivery";
/// The attempt's number, from 1.
pub(crate) const ATTEMPT: &str = "X-Webhook-Attempt";
/// Standard Webhooks: the notification id.
pub(crate) const STANDARD_ID: &str = "webhook-id";
/// Standard Webhooks: unix seconds of the attempt.
pub(crate) const STANDARD_TIMESTAMP: &str = "webhook-timestamp";
/// Standard Webhooks: the signatures.
pub(crate) const STANDARD_SIGNATURE: &str = "webhook-signature";

/// The facts of one attempt that its request tells.
#[derive(Debug, Clone)]
pub(crate) struct AttemptFacts {
    pub(crate) delivery_id: DeliveryId,
    pub(crate) notification_id: NotificationId,
    pub(crate) event: EventType,
    /// From 1.
    pub(crate) attempt: u32,
    /// Milliseconds since the Unix epoch at which this attempt starts.
    pub(crate) now_ms: i64,
    /// What is sent and signed, byte for byte.
    pub(crate) body: Bytes,
}

/// A request: always `POST`. Holds credentials, so `Debug` shows the masked URL and the names of the headers only.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WebhookRequest {
    pub(crate) url: TargetUrl,
    /// In the order they are sent. Names are unique but for case.
    pub(crate) headers: Vec<(String, Hidden)>,
    pub(crate) body: Bytes,
}

impl WebhookRequest {
    /// Builds and signs the request of an attempt for `webhook` as it is now, so that an edited URL or a rotated secret holds
    /// for everything still queued.
    pub(crate) fn build(webhook: &Webhook, facts: &AttemptFacts) -> Self {
        let id = facts.notification_id.to_string();
        let timestamp = facts.now_ms.div_euclid(1_000);
        let body = facts.body.as_ref();

        let mut headers = Vec::with_capacity(10 + webhook.headers.len());
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), Hidden::from(value)));
        add("Content-Type", "application/json".to_owned());
        add("User-Agent", USER_AGENT.to_owned());
        let mut standard = signature::standard(&webhook.secret, &id, timestamp, body);
        add(SIGNATURE, signature::plain(&webhook.secret, body));
        if let Some(next) = &webhook.next_secret {
            add(SIGNATURE_NEXT, signature::plain(next, body));
            standard.push(' ');
            standard.push_str(&signature::standard(next, &id, timestamp, body));
        }
        add(STANDARD_ID, id);
        add(STANDARD_TIMESTAMP, timestamp.to_string());
        add(STANDARD_SIGNATURE, standard);
        add(EVENT, facts.event.to_string());
        add(DELIVERY, facts.delivery_id.to_string());
        add(ATTEMPT, facts.attempt.to_string());
        // Checked when they were stored (`own_headers`); none can stand for one of the above.
        headers.extend(webhook.headers.iter().cloned());

        Self {
            url: webhook.url.clone(),
            headers,
            body: facts.body.clone(),
        }
    }
}

impl fmt::Debug for WebhookRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("WebhookRequest")
            .field("url", &self.url)
            .field("headers", &names)
            .field("body", &self.body.len())
            .finish()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::domain::id::{NotificationKind, WebhookId};
    use crate::domain::secret::Secret;
    use crate::domain::trigger::Triggers;

    /// A webhook for tests of this stage.
    pub(crate) fn webhook(url: &str) -> Webhook {
        Webhook {
            id: WebhookId::new_v7(1, [1; 10]),
            site_id: "example.com".parse().expect("a site id"),
            url: TargetUrl::from_trusted(url).expect("a URL"),
            secret: Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret"),
            next_secret: None,
            headers: vec![],
            triggers: Triggers::default(),
            enabled: true,
            disabled: false,
            active_since_ms: 0,
            retry_schedule: "default".to_owned(),
            max_age_seconds: None,
            updated_at: DateTime::<Utc>::UNIX_EPOCH,
        }
    }

    /// The facts of a first attempt for tests of this stage.
    pub(crate) fn facts(body: &'static str) -> AttemptFacts {
        let notification_id =
            NotificationId::derive(1_000, "example.com", "test", NotificationKind::Each, &[b"1"]);
        AttemptFacts {
            delivery_id: DeliveryId::derive(notification_id, WebhookId::new_v7(1, [1; 10])),
            notification_id,
            event: EventType::GoalCompletion,
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
    fn during_an_overlap_both_secrets_sign_and_the_plain_header_keeps_the_old_one() {
        let mut webhook = webhook("https://example.com/hook");
        let next = Secret::parse("the-new-secret-of-this-hook").expect("a secret");
        webhook.next_secret = Some(next.clone());
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
}
