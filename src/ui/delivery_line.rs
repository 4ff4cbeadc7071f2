//! A delivery in a list.

use super::html::Html;
use super::model::DeliveryView;
use super::times::{Stamp, Zone, took};
use super::words::{self, StatusMark};

/// A delivery in a list, in words.
pub(super) struct DeliveryLine {
    pub(super) id: String,
    pub(super) href: String,
    pub(super) at: Stamp,
    pub(super) what: String,
    pub(super) mark: StatusMark,
    /// More about the result.
    pub(super) more: Html,
    pub(super) took: String,
}

pub(super) fn line(delivery: &DeliveryView, zone: &Zone, webhook_href: &str) -> DeliveryLine {
    DeliveryLine {
        id: delivery.id.clone(),
        href: zone.link(format!("{webhook_href}/deliveries/{}", delivery.id)),
        at: zone.listed(delivery.created_at),
        what: words::happened(delivery),
        mark: words::delivery_mark(delivery),
        more: more(delivery, zone),
        took: match delivery.latency_ms {
            None => "–".to_owned(),
            // Its column is narrow.
            Some(0) => "<1 ms".to_owned(),
            Some(ms) => took(ms),
        },
    }
}

/// `HTTP 500, 4 tries`, `no reply; next try 14:05:12`, `your server does not answer`
fn more(delivery: &DeliveryView, zone: &Zone) -> Html {
    if let Some(reason) = &delivery.parked_reason {
        return Html::text(words::waits_for(reason));
    }
    let answer = words::answer(delivery.result.as_deref(), delivery.response_code);
    let mut html = Html::text(answer.as_deref().unwrap_or_default());
    match delivery.status.as_str() {
        "failed" | "cancelled" if delivery.attempts == 0 => {
            let reason = delivery.failure_reason.as_deref().unwrap_or_default();
            return Html::text(words::given_up(reason));
        }
        "failed" | "delivered" | "cancelled" if delivery.attempts > 1 => {
            html = html.and(format!(", {} tries", delivery.attempts));
        }
        "retrying" => {
            if let Some(at) = delivery.next_retry_at {
                html = html.and("; next try ").time(&zone.second(at));
            }
        }
        _ => {}
    }
    match delivery.resend_of {
        Some(_) => html.and(" (sent again)"),
        None => html,
    }
}
