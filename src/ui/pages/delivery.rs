//! One delivery: what happened, every try, what was sent and what came back.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;
use serde::Deserialize;

use super::deliveries::{History, history_of};
use crate::domain::health::ParkReason;
use crate::domain::site::escape_segment;
use crate::ui::address::Path;
use crate::ui::button::Button;
use crate::ui::failure::PageFailure;
use crate::ui::html::Html;
use crate::ui::json_text::in_lines;
use crate::ui::layout::{Layout, Section};
use crate::ui::model::{AttemptView, DeliveryView, WebhookView};
use crate::ui::request_headers::{RequestHeader, request_headers};
use crate::ui::respond::page;
use crate::ui::session::PageVisit;
use crate::ui::times::{Stamp, Zone, counted, took};
use crate::ui::webhook_visit::WebhookIds;
use crate::ui::words::{self, StatusMark};

#[derive(Template)]
#[template(path = "delivery.html")]
struct DeliveryPage {
    l: Layout,
    what: String,
    mark: StatusMark,
    at: Stamp,
    words: Html,
    tries: Vec<Try>,
    payload: Option<String>,
    id: String,
    notification_id: String,
    /// Address and id of the delivery that this one repeats.
    resend_of: Option<(String, String)>,
    /// Addresses and ids of the deliveries that repeat this one.
    resends: Vec<(String, String)>,
    /// The headers of the last request.
    headers: Vec<RequestHeader>,
    webhook_href: String,
    is_deleted: bool,
    /// Address of the form that sends it again, if it can be.
    resend: Option<String>,
    name: String,
}

/// One try.
struct Try {
    number: u64,
    class: &'static str,
    shape: &'static str,
    outcome: String,
    due: Stamp,
    began: Stamp,
    late: String,
    took: String,
    /// The phases of the request, as far as it came.
    steps: String,
    to: Option<String>,
    next: Option<Stamp>,
    response: Option<String>,
    possible_repeat: bool,
}

#[derive(Debug, Deserialize)]
pub(in crate::ui) struct DeliveryIds {
    pub(in crate::ui) site_id: String,
    pub(in crate::ui) webhook_id: String,
    pub(in crate::ui) delivery_id: String,
}

impl DeliveryIds {
    pub(super) fn webhook(&self) -> WebhookIds {
        WebhookIds {
            site_id: self.site_id.clone(),
            webhook_id: self.webhook_id.clone(),
        }
    }
}

/// `GET …/deliveries/{delivery_id}`
pub(in crate::ui) async fn show(
    visit: PageVisit,
    Path(ids): Path<DeliveryIds>,
) -> Result<Response, PageFailure> {
    let History {
        site,
        api,
        href,
        name,
        webhook,
    } = history_of(&visit, &ids.webhook()).await?;
    let end = format!("/deliveries/{}", escape_segment(&ids.delivery_id));
    let delivery: DeliveryView = visit.api.get(&format!("{api}{end}")).await?;
    let zone = &site.zone;
    let what = words::happened(&delivery);
    let is_finished = matches!(delivery.status.as_str(), "delivered" | "failed" | "cancelled");
    let is_on = webhook.as_ref().is_some_and(|one| one.health.state != "disabled");
    let can_resend = visit.is_editor() && is_finished && is_on && delivery.event_type != "test";
    let link = |other: &String| (format!("{href}/deliveries/{other}"), other.clone());
    let shown = DeliveryPage {
        l: visit.site_layout(&site, Section::Webhooks, &what),
        mark: words::delivery_mark(&delivery),
        at: zone.listed(delivery.created_at),
        words: sentence(&delivery, webhook.as_ref(), zone),
        tries: delivery
            .attempt_log
            .iter()
            .map(|one| one_try(one, zone))
            .collect(),
        payload: delivery.payload.as_ref().map(|payload| in_lines(payload.get())),
        headers: request_headers(&delivery, webhook.as_ref()),
        resend_of: delivery.resend_of.as_ref().map(link),
        resends: delivery.resends.iter().map(link).collect(),
        id: delivery.id,
        notification_id: delivery.notification_id,
        what,
        resend: can_resend.then(|| Button::Resend.action(&format!("{href}{end}"))),
        is_deleted: webhook.is_none(),
        webhook_href: href,
        name,
    };
    Ok(page(StatusCode::OK, &shown))
}

/// The state of the delivery in a sentence.
fn sentence(delivery: &DeliveryView, webhook: Option<&WebhookView>, zone: &Zone) -> Html {
    let last = delivery.attempt_log.last();
    let tries = counted(delivery.attempts, "try").replace("trys", "tries");
    let answer = words::answer(delivery.result.as_deref(), delivery.response_code);
    let answer = answer.map_or_else(String::new, |answer| format!(": {answer}"));
    if delivery.attempts == 0 && matches!(delivery.parked_reason.as_deref(), Some("resend" | "recover")) {
        return Html::text("Queued. It goes out beside what is new.");
    }
    if let Some(reason) = &delivery.parked_reason {
        let words = match delivery.parked_until {
            Some(until) if until > zone.now() => Html::text("It waits until ").time(&zone.minute(until)),
            _ => Html::text("It waits"),
        };
        let words = words.and(": ").and(words::waits_for(reason));
        // None comes while it is paused.
        let webhook = webhook.filter(|one| one.paused_until.is_none());
        let probe_at = webhook.and_then(|one| one.health.next_probe_at);
        let probe_at = probe_at.filter(|at| reason == ParkReason::Circuit.as_str() && *at > zone.now());
        return match probe_at {
            Some(at) => words.and(", next at ").time(&zone.minute(at)).and("."),
            None => words.and("."),
        };
    }
    match delivery.status.as_str() {
        "delivered" => {
            let words = Html::text(format!("Your server took it after {tries}"));
            match last {
                Some(last) => words.and(", at ").time(&zone.second(last.ended_at)).and("."),
                None => words.and("."),
            }
        }
        "retrying" => {
            let words = Html::text(format!("The last try failed{answer}. "));
            match delivery.next_retry_at {
                Some(at) => words.and("We try again at ").time(&zone.second(at)).and("."),
                None => words.and("We try again."),
            }
        }
        "failed" | "cancelled" => {
            let reason = words::given_up(delivery.failure_reason.as_deref().unwrap_or_default());
            let lead = if delivery.attempts == 0 {
                "It was not sent"
            } else {
                "It did not arrive"
            };
            Html::text(format!(
                "{lead}: {reason}{}.",
                if delivery.attempts == 0 {
                    String::new()
                } else {
                    answer
                }
            ))
        }
        _ => Html::text("It is being sent."),
    }
}

fn one_try(attempt: &AttemptView, zone: &Zone) -> Try {
    let (class, shape) = match (attempt.result.as_str(), attempt.fault.as_str()) {
        ("2xx", _) => ("ok", "●"),
        (_, "own") => ("warn", "▲"),
        _ => ("bad", "■"),
    };
    let steps = [
        ("name", attempt.dns_ms),
        ("connection", attempt.connect_ms),
        ("encryption", attempt.tls_ms),
        ("reply", attempt.response_ms),
    ];
    let steps = steps
        .iter()
        .filter_map(|(step, ms)| Some(format!("{step} {}", took((*ms)?))));
    let late = attempt.started_at - attempt.due_at;
    Try {
        number: attempt.attempt,
        class,
        shape,
        outcome: words::outcome(attempt),
        due: zone.exact(attempt.due_at),
        began: zone.exact(attempt.started_at),
        late: took(late.num_milliseconds()),
        took: took(
            (attempt.ended_at - attempt.started_at)
                .max(TimeDelta::zero())
                .num_milliseconds(),
        ),
        steps: steps.collect::<Vec<_>>().join(", "),
        to: attempt.url.as_ref().map(|url| match &attempt.remote_address {
            Some(address) => format!("{url} ({address})"),
            None => url.clone(),
        }),
        next: attempt.retry_at.map(|at| zone.exact(at)),
        response: attempt.response.clone().filter(|text| !text.is_empty()),
        possible_repeat: attempt.possible_repeat,
    }
}
