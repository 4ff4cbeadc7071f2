//! Words of the API, as pages show them.

use serde_json::Value;

use super::escape::cut;
use super::model::{AttemptView, DeliveryView, GoalView, Warned};
use super::times::{count, counted};
use crate::domain::attempt::AttemptResult;
use crate::domain::delivery::FailureReason;
use crate::domain::event::EventType;
use crate::domain::health::ParkReason;

/// Most characters of a name in a line.
const MAX_NAME_CHARS: usize = 80;

/// Event types in the words of a list: `Spike`.
pub(super) fn event(word: &str) -> &str {
    match word.parse() {
        Ok(EventType::GoalCompletion) => "Goal",
        Ok(EventType::VisitorSpike) => "Spike",
        Ok(EventType::VisitorDrop) => "Drop",
        Ok(EventType::VisitorSpikeResolved) => "Spike over",
        Ok(EventType::VisitorDropResolved) => "Drop over",
        Ok(EventType::CustomEvent) => "Event",
        Ok(EventType::ErrorCondition) => "Tracking problem",
        Ok(EventType::WebhookFailing) => "Webhook failing",
        Ok(EventType::WebhookRecovered) => "Webhook recovered",
        Ok(EventType::WebhookDisabled) => "Webhook switched off",
        Ok(EventType::Test) => "Test",
        Err(_) => word,
    }
}

/// Event types in the words of an enumeration: `goals, spike`.
pub(super) fn events(word: &str) -> String {
    match word {
        "goal_completion" => "goals".to_owned(),
        "custom_event" => "events".to_owned(),
        "error_condition" => "tracking problems".to_owned(),
        other => event(other).to_lowercase(),
    }
}

/// Event types as a form asks for them.
pub(super) fn event_question(word: &str) -> &str {
    match word {
        "goal_completion" => "A goal is completed",
        "visitor_spike" => "More visitors than usual",
        "visitor_drop" => "Fewer visitors than usual",
        "custom_event" => "A custom event",
        "error_condition" => "A problem with tracking",
        "visitor_spike_resolved" => "A surge of visitors is over",
        "visitor_drop_resolved" => "A lack of visitors is over",
        "webhook_failing" => "Another webhook is failing",
        "webhook_recovered" => "Another webhook has recovered",
        "webhook_disabled" => "Another webhook was switched off",
        other => other,
    }
}

/// The event behind a delivery, from its payload: `Spike: 512 of 300`.
pub(super) fn happened(delivery: &DeliveryView) -> String {
    let title = event(&delivery.event_type);
    let payload: Option<Value> = delivery
        .payload
        .as_ref()
        .and_then(|payload| serde_json::from_str(payload.get()).ok());
    let data = payload.as_ref().and_then(|payload| payload.get("data"));
    let Some(data) = data else { return title.to_owned() };
    let number = |key: &str| {
        data.get(key)
            .and_then(Value::as_f64)
            .map(|number| count(number as u64))
    };
    let text = |key: &str| data.get(key).and_then(Value::as_str);
    match (number("current_visitors"), number("threshold")) {
        (Some(visitors), Some(threshold)) => format!("{title}: {visitors} of {threshold}"),
        (Some(visitors), None) => format!("{title}: {visitors} visitors"),
        _ => match text("goal_name")
            .or_else(|| text("name"))
            .or_else(|| text("kind"))
        {
            Some(name) => format!("{title}: {}", cut(name, MAX_NAME_CHARS)),
            None => title.to_owned(),
        },
    }
}

/// A mark and a word for the state of a delivery, with the class of its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatusMark {
    pub(super) shape: &'static str,
    pub(super) word: &'static str,
    pub(super) class: &'static str,
}

pub(super) fn delivery_mark(delivery: &DeliveryView) -> StatusMark {
    let (shape, word, class) = match delivery.status.as_str() {
        "delivered" => ("●", "Delivered", "ok"),
        "failed" => ("■", "Failed", "bad"),
        "cancelled" => ("■", "Not sent", "bad"),
        "retrying" if delivery.parked_reason.is_none() => ("▲", "Retrying", "warn"),
        _ if delivery.parked_reason.is_some() => ("○", "Waiting", "idle"),
        _ => ("○", "On its way", "idle"),
    };
    StatusMark { shape, word, class }
}

/// The answer of an endpoint in words: `HTTP 500`, or what went wrong before there was one.
pub(super) fn answer(result: Option<&str>, code: Option<u16>) -> Option<String> {
    if let Some(code) = code {
        return Some(format!("HTTP {code}"));
    }
    let words = match result?.parse().ok()? {
        AttemptResult::Timeout => "no reply",
        AttemptResult::Dns => "unknown host",
        AttemptResult::Connect => "no connection",
        AttemptResult::Tls => "no secure connection",
        AttemptResult::Reset => "connection broken off",
        AttemptResult::Body => "answer broken off",
        AttemptResult::Protocol => "not an HTTP answer",
        AttemptResult::AddressRefused => "address not allowed",
        AttemptResult::Internal => "a fault of ours",
        AttemptResult::Success
        | AttemptResult::Redirect
        | AttemptResult::ClientError
        | AttemptResult::Gone
        | AttemptResult::TooManyRequests
        | AttemptResult::ServerError => return None,
    };
    Some(words.to_owned())
}

/// The reason for which a delivery waits.
pub(super) fn waits_for(reason: &str) -> &'static str {
    match reason.parse() {
        Ok(ParkReason::Circuit) => "your server is failing; we try now and then",
        Ok(ParkReason::Paused) => "this webhook is paused",
        Ok(ParkReason::Rate) => "your limit of requests a second is reached",
        Ok(ParkReason::Queue) => "other deliveries of this webhook go first",
        Ok(ParkReason::FarDue) => "its next try is due later",
        Ok(ParkReason::Resend | ParkReason::Recover) => "queued, to be sent again",
        Err(_) => "it is not its turn yet",
    }
}

/// The reason for which a delivery was given up.
pub(super) fn given_up(reason: &str) -> &'static str {
    match reason.parse() {
        Ok(FailureReason::Exhausted) => "every try failed",
        Ok(FailureReason::Gone) => "your server answered 410 Gone",
        Ok(FailureReason::Expired) => "it was too old to be sent",
        Ok(FailureReason::Overflow) => "too many others waited",
        Ok(FailureReason::Disabled) => "the webhook was off",
        Ok(FailureReason::Deleted) => "the webhook was deleted",
        Ok(FailureReason::Withdrawn) => "sending again was stopped",
        Ok(FailureReason::Overdue) => "its next try did not come in time, so another delivery took its place",
        Ok(FailureReason::Unrecordable) => "what your server answered could not be recorded",
        Err(_) => "it was cancelled",
    }
}

/// The outcome of a try in a sentence that names the step and the side.
pub(super) fn outcome(attempt: &AttemptView) -> String {
    let said = attempt.error.as_deref();
    if attempt.fault == "own" {
        return "A fault of ours prevented this try; it does not count.".to_owned();
    }
    let sentence = match (attempt.result.as_str(), attempt.response_code) {
        ("2xx", Some(code)) => format!("Arrived: HTTP {code}."),
        ("3xx", Some(code)) => format!("Your server sent us elsewhere: HTTP {code}. We follow no redirects."),
        ("410", _) => "Your server wants nothing more: HTTP 410 Gone.".to_owned(),
        ("429", _) => "Your server asked for fewer requests: HTTP 429.".to_owned(),
        (_, Some(code @ (401 | 403))) => {
            format!("Your server refused it: HTTP {code}. Often a wrong secret.")
        }
        (_, Some(code @ 400..=499)) => format!("Your server refused it: HTTP {code}."),
        (_, Some(code)) => format!("Your server failed: HTTP {code}."),
        ("dns", None) => "Looking up your server’s name failed.".to_owned(),
        ("connect", None) => "Your server took no connection.".to_owned(),
        ("tls", None) => "Your server offered no valid secure connection.".to_owned(),
        ("timeout", None) => "Your server did not reply in time.".to_owned(),
        ("reset", None) => "Your server broke the connection off.".to_owned(),
        ("protocol", None) => "Your server’s answer was not HTTP.".to_owned(),
        ("address_refused", None) => "We may not send to this address.".to_owned(),
        _ => "It did not arrive.".to_owned(),
    };
    match said {
        Some(said) if attempt.response_code.is_none() => format!("{sentence} ({})", cut(said, 300)),
        _ => sentence,
    }
}

/// A warning about a webhook in words.
pub(super) fn warning(warning: Warned) -> String {
    match warning.code.as_str() {
        "no_recent_events" => {
            "No event of this site came within 24 hours. Until one does, nothing can be sent.".to_owned()
        }
        _ => warning.detail,
    }
}

/// The rule of a goal in words.
pub(super) fn goal_rule(goal: &GoalView) -> String {
    let event = cut(goal.event.as_deref().unwrap_or_default(), MAX_NAME_CHARS);
    let path = cut(goal.path.as_deref().unwrap_or_default(), MAX_NAME_CHARS);
    let rule = match goal.kind.as_str() {
        "event" => format!("The event {event}"),
        "page" => format!("A visit to {path}"),
        "scroll" => format!(
            "Scrolling {path} to {} %",
            goal.scroll_threshold.unwrap_or_default()
        ),
        other => other.to_owned(),
    };
    match goal.props.len() as u64 {
        0 => rule,
        number => format!(
            "{rule}, with {}",
            counted(number, "property").replace("propertys", "properties")
        ),
    }
}
