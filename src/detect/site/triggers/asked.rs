//! The conditions that a site's webhooks ask for, and their rules.

use std::collections::BTreeMap;

use super::subscriber::Subscriber;
use crate::detect::site::condition::{Condition, CountSettings};
use crate::detect::site::rules::Rule;
use crate::detect::site::rules::count::CountRule;
use crate::detect::site::rules::drop::DropRule;
use crate::detect::site::rules::silence::SilenceRule;
use crate::detect::site::rules::spike::SpikeRule;
use crate::domain::event::EventType;
use crate::domain::registry::Site;
use crate::domain::trigger::{DEFAULT_WINDOW_SECONDS, ErrorSettings, NameTrigger, NoticeOptions, NoticePace};
use crate::domain::webhook::Subscription;

/// The window lengths that a site needs, in seconds: first that of current visitors, then those of
/// its triggers that are short enough for the table of visitors.
pub(crate) fn window_lengths(site: &Site) -> Vec<u32> {
    let mut lengths = vec![DEFAULT_WINDOW_SECONDS];
    for condition in conditions(site).keys() {
        let seconds = match condition {
            Condition::VisitorSpike(spike) => spike.window_seconds,
            Condition::VisitorDrop(drop) if !drop.is_long() => drop.window_seconds,
            _ => continue,
        };
        if !lengths.contains(&seconds) {
            lengths.push(seconds);
        }
    }
    lengths
}

/// The conditions that a site's enabled webhooks ask for, without those that count names, and the
/// webhooks that ask for each.
pub(crate) fn conditions(site: &Site) -> BTreeMap<Condition, Vec<Subscriber>> {
    let mut subscribers = BTreeMap::<_, Vec<_>>::new();
    for webhook in site.webhooks.iter().filter(|webhook| webhook.enabled) {
        let triggers = &webhook.triggers;
        let mut add = |condition: Condition, options: NoticeOptions| {
            let list = subscribers.entry(condition).or_default();
            list.push(subscriber(webhook, options));
        };
        if let Some(spike) = triggers.visitor_spike {
            add(Condition::VisitorSpike(spike.condition), spike.options);
        }
        if let Some(drop) = triggers.visitor_drop {
            add(Condition::VisitorDrop(drop.condition), drop.options);
        }
        if let Some(errors) = &triggers.error_condition {
            for condition in &errors.conditions {
                add(Condition::Errors(condition.clone()), errors.options);
            }
        }
    }
    subscribers
}

/// The webhooks that ask for a condition that counts a name.
pub(crate) fn count_subscribers(site: &Site, event: EventType, settings: &CountSettings) -> Vec<Subscriber> {
    let wanted = NoticePace::AtLeast {
        at_least: settings.at_least,
        within_seconds: settings.within_seconds,
    };
    site.webhooks
        .iter()
        .filter(|webhook| webhook.enabled)
        .filter(|webhook| {
            let trigger = name_trigger(webhook, event);
            trigger.is_some_and(|trigger| trigger.pace == wanted && trigger.names.takes(&settings.name))
        })
        .map(|webhook| subscriber(webhook, NoticeOptions::default()))
        .collect()
}

/// The trigger of a webhook for single events of a type.
pub(crate) fn name_trigger(webhook: &Subscription, event: EventType) -> Option<&NameTrigger> {
    match event {
        EventType::GoalCompletion => webhook.triggers.goal_completion.as_ref(),
        EventType::CustomEvent => webhook.triggers.custom_event.as_ref(),
        _ => None,
    }
}

fn subscriber(webhook: &Subscription, options: NoticeOptions) -> Subscriber {
    Subscriber {
        webhook: webhook.id,
        since_ms: webhook.active_since_ms,
        options,
        is_notified: false,
        reminders: 0,
        notified_at: None,
    }
}

/// Makes the rule of a condition that nobody asked for before.
pub(super) fn new_rule(condition: &Condition, known_since: u32) -> Rule {
    match condition {
        Condition::VisitorSpike(settings) => Rule::Spike(SpikeRule {
            settings: *settings,
            length: 0,
        }),
        Condition::VisitorDrop(settings) => Rule::Drop(DropRule {
            settings: *settings,
            length: None,
            known_since,
            active_since: 0,
        }),
        Condition::Errors(ErrorSettings::ErrorEvents {
            count,
            window_seconds,
            ..
        }) => Rule::Count(CountRule::arming_below_half(*count, *window_seconds)),
        Condition::Errors(ErrorSettings::RejectedEvents {
            count,
            window_seconds,
        }) => Rule::Count(CountRule::arming_when_empty(*count, *window_seconds)),
        Condition::Errors(ErrorSettings::Silence { goal }) => Rule::Silence(SilenceRule {
            goal: goal.clone(),
            last: None,
            watched_from: None,
        }),
        Condition::GoalCompletion(settings) | Condition::CustomEvent(settings) => Rule::Count(
            CountRule::arming_below_half(settings.at_least, settings.within_seconds),
        ),
    }
}
