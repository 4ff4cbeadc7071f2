//! Builds the request of one attempt, complete but for the connection. Pure: the same arguments
//! give the same bytes.

use std::fmt;

use bytes::Bytes;

use super::formats;
use super::paths::without_paths;
use super::signature;
use crate::dispatch::record::DeliveryRecord;
use crate::domain::id::{DeliveryId, NotificationId};
use crate::domain::secret::{Hidden, Secret};
use crate::domain::site::SiteId;
use crate::domain::target::TargetUrl;
use crate::domain::webhook::Webhook;

/// The value of `User-Agent`.
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

/// The facts of one attempt that its request states.
#[derive(Debug, Clone)]
pub(crate) struct AttemptFacts {
    pub(crate) delivery_id: DeliveryId,
    pub(crate) notification_id: NotificationId,
    pub(crate) event: &'static str,
    /// From 1.
    pub(crate) attempt: u32,
    /// Start of the attempt in milliseconds since the Unix epoch.
    pub(crate) now_ms: i64,
    /// The canonical body. As it is, or rendered in the webhook's format, it is signed and sent.
    pub(crate) body: Bytes,
}

impl AttemptFacts {
    /// Collects the facts of the attempt that `record` asks for, as it starts at `now_ms`.
    pub(crate) fn of(record: &DeliveryRecord, now_ms: i64) -> Self {
        Self {
            delivery_id: record.delivery_id,
            notification_id: record.notification_id,
            event: record.event_type.as_str(),
            attempt: record.attempt,
            now_ms,
            body: record.body.clone(),
        }
    }
}

/// A request: always `POST`. Holds credentials, so `Debug` shows the masked URL and the names of
/// the headers only.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WebhookRequest {
    pub(crate) url: TargetUrl,
    /// In the order in which they are sent, the owner's own last. Names are unique but for case.
    pub(crate) headers: Vec<(String, Hidden)>,
    pub(crate) body: Bytes,
    /// The site for which names are looked up.
    pub(crate) site_id: SiteId,
    /// Texts that no stored response may hold.
    pub(crate) secrets: Vec<Secret>,
    own_headers: usize,
}

impl WebhookRequest {
    /// Builds and signs the request of an attempt for `webhook` as it is now, so that an edited
    /// URL, a rotated secret or a site's wish for privacy holds for everything still queued.
    pub(crate) fn build(webhook: &Webhook, facts: &AttemptFacts) -> Self {
        let id = facts.notification_id.to_string();
        let timestamp = facts.now_ms.div_euclid(1_000);
        let canonical = match webhook.include_paths {
            true => facts.body.clone(),
            false => without_paths(&facts.body),
        };
        let rendered = formats::render(webhook.format, &canonical);
        let body = rendered.body.as_ref();

        let mut headers = Vec::with_capacity(10 + webhook.headers.len());
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), Hidden::from(value)));
        add("Content-Type", rendered.content_type.to_owned());
        add("User-Agent", USER_AGENT.to_owned());
        let (secret, next) = webhook.signers(facts.now_ms);
        let mut standard = signature::standard(secret, &id, timestamp, body);
        add(SIGNATURE, signature::plain(secret, body));
        if let Some(next) = next {
            add(SIGNATURE_NEXT, signature::plain(next, body));
            standard.push(' ');
            standard.push_str(&signature::standard(next, &id, timestamp, body));
        }
        add(STANDARD_ID, id);
        add(STANDARD_TIMESTAMP, timestamp.to_string());
        add(STANDARD_SIGNATURE, standard);
        add(EVENT, facts.event.to_owned());
        add(DELIVERY, facts.delivery_id.to_string());
        add(ATTEMPT, facts.attempt.to_string());
        // Checked when they were stored (`own_headers`); none can stand for one of the above.
        headers.extend(webhook.headers.iter().cloned());

        Self {
            url: webhook.url.clone(),
            headers,
            body: rendered.body,
            site_id: webhook.site_id.clone(),
            secrets: [&webhook.secret]
                .into_iter()
                .chain(webhook.next_secret.as_ref().map(|next| &next.secret))
                .cloned()
                .collect(),
            own_headers: webhook.headers.len(),
        }
    }

    /// Lists the headers that the webhook's owner added.
    pub(crate) fn own_headers(&self) -> &[(String, Hidden)] {
        &self.headers[self.headers.len() - self.own_headers..]
    }

    /// True if the owner's headers say what is accepted: then nothing is added to that.
    pub(super) fn has_own_accept(&self) -> bool {
        let mut own = self.own_headers().iter();
        own.any(|(name, _)| name.eq_ignore_ascii_case("accept"))
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
pub(crate) mod tests;
