//! The headers of a delivery's last request, as far as they are known afterwards.

use super::model::{DeliveryView, WebhookView};

/// A header in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestHeader {
    pub(super) name: String,
    pub(super) value: String,
}

/// Stands for a signature, which is made for each try and not kept.
const NOT_KEPT: &str = "made for each try, not kept";
/// Stands for a value of the owner's own.
const NOT_SHOWN: &str = "your own value, not shown";

/// The headers of the last try in the order in which they were sent; none before the first try.
/// The owner's own are those that the webhook has now.
pub(super) fn request_headers(delivery: &DeliveryView, webhook: Option<&WebhookView>) -> Vec<RequestHeader> {
    let Some(last) = delivery.attempt_log.last() else {
        return Vec::new();
    };
    let mut headers = Vec::new();
    let mut add = |name: &str, value: String| {
        let name = name.to_owned();
        headers.push(RequestHeader { name, value });
    };
    let content_type = match webhook.map(|webhook| webhook.format.as_str()) {
        Some("cloudevents") => "application/cloudevents+json",
        _ => "application/json",
    };
    add("Content-Type", content_type.to_owned());
    add(
        "User-Agent",
        concat!("Bellwether/", env!("CARGO_PKG_VERSION")).to_owned(),
    );
    add("X-Webhook-Signature", format!("sha256=… ({NOT_KEPT})"));
    if webhook.is_some_and(|webhook| webhook.secret_overlap_until.is_some()) {
        add("X-Webhook-Signature-Next", format!("sha256=… ({NOT_KEPT})"));
    }
    add("webhook-id", delivery.notification_id.clone());
    add("webhook-timestamp", last.started_at.timestamp().to_string());
    add("webhook-signature", format!("v1,… ({NOT_KEPT})"));
    add("X-Webhook-Event", delivery.event_type.clone());
    add("X-Webhook-Delivery", delivery.id.clone());
    add("X-Webhook-Attempt", last.attempt.to_string());
    for name in webhook.into_iter().flat_map(|webhook| webhook.headers.keys()) {
        add(name, NOT_SHOWN.to_owned());
    }
    headers
}
