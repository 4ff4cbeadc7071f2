//! The state of a webhook in sentences: what is wrong, since when, what happens next, what to do.

use chrono::TimeDelta;

pub(super) use facts::{HealthFacts, Remedy, StateBox};
use facts::{is_real, last_tried, state};
use held::{off, open, paused};

use super::html::Html;
use super::model::{DeliveryView, TriggerView};
use super::times::{ago, count, counted, span_words, took};
use super::words;
use crate::domain::health::MAX_WAITING;
use crate::domain::trigger::spike_rearm_level;

/// The facts, and a state as it is shown.
mod facts;
mod held;

/// The states of a webhook in the order in which they are shown.
pub(super) fn states(facts: &HealthFacts<'_>) -> Vec<StateBox> {
    let health = &facts.webhook.health;
    let is_off = health.state == "disabled";
    let mut found = Vec::new();
    if !is_off {
        found.extend(new(facts));
        found.extend(failing(facts));
        found.extend(careful(facts));
        found.extend(paused(facts));
        found.extend(open(facts));
        found.extend(waiting(facts));
    } else {
        found.push(off(facts));
    }
    if found.is_empty() {
        found.push(working(facts));
    }
    found.extend(overlap(facts));
    if !is_off {
        found.extend(facts.triggers.iter().filter_map(|trigger| alert(facts, trigger)));
    }
    found
}

/// The one line of a list: the first state, without the rest.
pub(super) fn line(facts: &HealthFacts<'_>) -> StateBox {
    states(facts).swap_remove(0)
}

fn working(facts: &HealthFacts<'_>) -> StateBox {
    let health = &facts.webhook.health;
    let mut words = Html::default().strong("Working");
    if let Some(at) = health.last_success_at {
        words = words.and(format!("  last delivered {}", ago(facts.zone.now() - at)));
    }
    let last = last_tried(facts, |one| one.status == "delivered");
    if let Some(code) = last.and_then(|last| last.response_code) {
        words = words.and(format!(", HTTP {code}"));
    }
    if let Some(ms) = last.and_then(|last| last.latency_ms) {
        words = words.and(format!(", {}", took(ms)));
    }
    state("●", "ok", words)
}

fn new(facts: &HealthFacts<'_>) -> Option<StateBox> {
    let health = &facts.webhook.health;
    let is_new =
        health.state == "new" && health.consecutive_failures == 0 && facts.webhook.paused_until.is_none();
    is_new.then(|| {
        let since = since_word(facts);
        let is_of_now = |one: &DeliveryView| health.since.is_none_or(|since| one.created_at >= since);
        let words = Html::default();
        // If one was tried, it was sent, and has not arrived.
        if last_tried(facts, is_of_now).is_some() {
            let words = words.strong(format!("Nothing has arrived {since}."));
            return state("○", "idle", words.and(" Send a test to see that it arrives."));
        }
        let mut tests = facts.newest.iter().filter(|one| !is_real(one));
        let words = match tests.find(|one| is_of_now(one)) {
            Some(test) => {
                words
                    .strong(format!("Nothing but tests sent {since}."))
                    .and(match test.status.as_str() {
                        "delivered" => " The last one arrived.",
                        "pending" | "retrying" => " The last one is on its way.",
                        _ => " The last one did not arrive.",
                    })
            }
            None if facts.knows_tests => words
                .strong(format!("Nothing sent {since}."))
                .and(" Send a test to see that it arrives."),
            // The list leaves tests out.
            None => words
                .strong(format!("No event sent {since}."))
                .and(" Send a test to see that it arrives."),
        };
        state("○", "idle", words)
    })
}

/// The time of which that is said: one that was switched on again has a past.
fn since_word(facts: &HealthFacts<'_>) -> &'static str {
    let health = &facts.webhook.health;
    let is_earlier = |one: &DeliveryView| health.since.is_some_and(|since| one.created_at < since);
    match health.last_success_at.is_some() || last_tried(facts, is_earlier).is_some() {
        true => "since it was switched on",
        false => "yet",
    }
}

fn failing(facts: &HealthFacts<'_>) -> Option<StateBox> {
    let (webhook, health) = (facts.webhook, &facts.webhook.health);
    if health.consecutive_failures == 0 || health.state == "open" {
        return None;
    }
    let lead = match health.consecutive_failures {
        1 => "The last delivery failed".to_owned(),
        many => format!("The last {} deliveries failed", count(many)),
    };
    let failed = facts
        .newest
        .iter()
        .filter(is_real)
        .find(|one| one.status == "failed");
    let cause = failed.and_then(|one| words::answer(one.result.as_deref(), one.response_code));
    let words = Html::default()
        .strong(lead)
        .and(cause.map_or_else(|| ". ".to_owned(), |cause| format!(": {cause}. ")))
        .and(format!(
            "After {} we hold back and try once in a while.",
            webhook.failure_threshold
        ));
    Some(state("▲", "warn", words))
}

fn careful(facts: &HealthFacts<'_>) -> Option<StateBox> {
    let health = &facts.webhook.health;
    if health.state != "careful" {
        return None;
    }
    let words = match health.since {
        Some(since) => Html::default()
            .strong("Your server did not answer at ")
            .strong_time(&facts.zone.minute(since))
            .and(". "),
        None => Html::default().strong("Your server did not answer. "),
    };
    Some(state(
        "▲",
        "warn",
        words.and("We try with one request at a time."),
    ))
}

/// Deliveries that wait for their turn: they drain, or the owner's limit holds them.
fn waiting(facts: &HealthFacts<'_>) -> Option<StateBox> {
    let (webhook, health) = (facts.webhook, &facts.webhook.health);
    if health.waiting == 0 || health.state == "open" || webhook.paused_until.is_some() {
        return None;
    }
    let rate = webhook.rate_limit_per_second;
    let reason = |wanted: &str| {
        let parked = facts.newest.iter().filter_map(|one| one.parked_reason.as_deref());
        parked.into_iter().any(|one| one == wanted)
    };
    if health.waiting >= MAX_WAITING.unsigned_abs() {
        let words = Html::default().strong("No room.").and(format!(
            " {} wait. Newer ones fail; send them later.",
            count(health.waiting)
        ));
        return Some(state("■", "bad", words).with(Remedy::Recover));
    }
    if let (Some(rate), true) = (rate, reason("rate")) {
        let words = Html::default().strong(format!(
            "{} wait because of your limit of {} a second.",
            count(health.waiting),
            count(rate.into())
        ));
        return Some(state("●", "ok", words));
    }
    if health.state == "careful" {
        let words = match health.waiting {
            1 => "1 waits for its turn.".to_owned(),
            many => format!("{} wait for their turn.", count(many)),
        };
        return Some(state("○", "idle", Html::default().strong(words)));
    }
    let mut words = Html::default();
    words = match health.since.filter(|_| health.state == "ok") {
        Some(since) => words
            .strong("Answering again since ")
            .strong_time(&facts.zone.minute(since)),
        None => words.strong("Catching up"),
    };
    words = words.and(format!(". {} still to go", count(health.waiting)));
    words = match rate.filter(|_| health.state == "ok") {
        Some(rate) => {
            let rate = u64::from(rate.max(1));
            let seconds = health.waiting.saturating_add(rate / 2) / rate;
            let seconds = i64::try_from(seconds.max(1)).unwrap_or(i64::MAX / 1_000);
            words.and(format!(", about {}.", span_words(TimeDelta::seconds(seconds))))
        }
        None => words.and("."),
    };
    Some(state("●", "ok", words))
}

fn overlap(facts: &HealthFacts<'_>) -> Option<StateBox> {
    let until = facts.webhook.secret_overlap_until?;
    let left = span_words(until - facts.zone.now());
    let words = Html::default()
        .strong("Two secrets are valid until ")
        .strong_time(&facts.zone.minute(until))
        .and(format!(" ({left} left). Requests carry a signature of each."));
    Some(state("○", "idle", words).with(Remedy::FinishRotation))
}

fn alert(facts: &HealthFacts<'_>, trigger: &TriggerView) -> Option<StateBox> {
    if trigger.webhook_id != facts.webhook.id || trigger.state != "firing" {
        return None;
    }
    let mut words = Html::default().strong(words::event(&trigger.event));
    if let Some(since) = trigger.since {
        words = words.strong(" since ").strong_time(&facts.zone.minute(since));
    }
    let visitors = facts.visitors.map_or_else(String::new, |visitors| {
        format!(" {},", counted(visitors, "visitor"))
    });
    if let Some(threshold) = trigger.threshold {
        words = words.and(format!(":{visitors} fires at {}.", count(threshold)));
        if trigger.event == "visitor_spike" {
            let level = spike_rearm_level(threshold);
            words = words.and(format!(" It re-arms at {}.", count(level)));
        }
    }
    Some(state("●", "warn", words))
}

#[cfg(test)]
mod tests;
