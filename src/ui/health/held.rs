//! States in which nothing is sent for now: paused, held back, off.

use chrono::TimeDelta;

use super::facts::{HealthFacts, Remedy, StateBox, last_tried, state};
use crate::domain::health::OPEN_TOO_LONG_MS;
use crate::ui::html::Html;
use crate::ui::times::{count, counted, took};
use crate::ui::words;

pub(super) fn paused(facts: &HealthFacts<'_>) -> Option<StateBox> {
    let health = &facts.webhook.health;
    let until = facts.webhook.paused_until?;
    let words = Html::default()
        .strong("Paused until ")
        .strong_time(&facts.zone.minute(until))
        .and(".");
    let words = match health.waiting {
        // What waits goes out once the server answers, as its own box says.
        _ if health.state == "open" => words.and(" Nothing is tried until then."),
        0 => words.and(" What comes until then goes out afterwards."),
        1 => words.and(" 1 waits and goes out then."),
        waiting => words.and(format!(" {} wait and go out then.", count(waiting))),
    };
    Some(state("○", "idle", words).with(Remedy::Resume))
}

pub(super) fn open(facts: &HealthFacts<'_>) -> Option<StateBox> {
    let health = &facts.webhook.health;
    if health.state != "open" {
        return None;
    }
    let mut words = failing_since(facts);
    let paused_until = facts.webhook.paused_until;
    let off_at = health
        .since
        .map(|since| since + TimeDelta::milliseconds(OPEN_TOO_LONG_MS));
    // It is switched off in the middle of its pause, and never tried again.
    let is_over = paused_until
        .zip(off_at)
        .is_some_and(|(until, off_at)| off_at <= until);
    if !is_over {
        words = next_try(facts, words);
        words = match health.waiting {
            0 => words.and("What comes meanwhile waits and goes out oldest first. "),
            waiting => words.and(format!(
                "{} wait{} and go{} out oldest first once it answers. ",
                counted(waiting, "notification"),
                if waiting == 1 { "s" } else { "" },
                if waiting == 1 { "es" } else { "" },
            )),
        };
    } else if health.waiting > 0 {
        let verb = if health.waiting == 1 { "waits" } else { "wait" };
        words = words.and(format!("{} {verb}. ", counted(health.waiting, "notification")));
    }
    if let Some(off_at) = off_at {
        words = words
            .and("On ")
            .time(&facts.zone.minute(off_at))
            .and(" we switch this webhook off")
            .and(if is_over { ", before its pause ends" } else { "" })
            .and("; you can still send what waited.");
    }
    Some(state("▲", "bad", words))
}

/// Says since when the server accepts nothing, and how it fails.
fn failing_since(facts: &HealthFacts<'_>) -> Html {
    let health = &facts.webhook.health;
    let last = last_tried(facts, |one| one.status != "delivered");
    let code = last.and_then(|last| last.response_code);
    let lead = match (code, last, health.reason.as_deref()) {
        (Some(code), ..) => format!("Your server has answered HTTP {code}"),
        (None, Some(_), _) | (None, None, Some("timeouts")) => "Your server has not answered".to_owned(),
        // Nothing tells how it failed.
        (None, None, _) => "Your server has accepted nothing".to_owned(),
    };
    let mut words = Html::default().strong(lead);
    if let Some(since) = health.since {
        words = words.strong(" since ").strong_time(&facts.zone.minute(since));
    }
    if let (None, Some(last)) = (code, last) {
        let cause = words::answer(last.result.as_deref(), None);
        words = match (cause, last.latency_ms) {
            (Some(cause), Some(ms)) if last.result.as_deref() == Some("timeout") => {
                words.and(format!(" ({cause} in {})", took(ms)))
            }
            (Some(cause), _) => words.and(format!(" ({cause})")),
            (None, _) => words,
        };
    }
    words.and(". ")
}

/// Says when a webhook whose server does not answer is tried next: not while it is paused.
fn next_try(facts: &HealthFacts<'_>, words: Html) -> Html {
    let Some(at) = facts.webhook.health.next_probe_at else {
        return words;
    };
    match facts.webhook.paused_until {
        Some(until) if until >= at => words
            .and("Next try when the pause ends (")
            .time(&facts.zone.minute(until))
            .and("). "),
        _ if at > facts.zone.now() => words.and("Next try at ").time(&facts.zone.minute(at)).and(". "),
        _ => words.and("The next try is due now. "),
    }
}

pub(super) fn off(facts: &HealthFacts<'_>) -> StateBox {
    let health = &facts.webhook.health;
    let reason = health.reason.as_deref();
    if !matches!(reason, Some("gone" | "open_too_long")) {
        let words = Html::default()
            .strong("Off.")
            .and(" Nothing is sent and nothing is kept for later.");
        return state("–", "idle", words).with(Remedy::Enable);
    }
    let mut words = Html::default().strong("Switched off");
    if let Some(since) = health.since {
        words = words.strong(" on ").strong_time(&facts.zone.dated(since));
    }
    words = words.strong(match reason {
        Some("gone") => ": your server answered 410 Gone.",
        _ => ": your server had accepted nothing for five days.",
    });
    if let Some(missed) = facts.missed.filter(|missed| !missed.is_none()) {
        words = words
            .and(format!(" {} ", missed.words()))
            .time(&facts.zone.minute(missed.since))
            .and(".");
    }
    state("■", "bad", words)
        .with(Remedy::Enable)
        .with(Remedy::Recover)
}
