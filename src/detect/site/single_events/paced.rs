//! The webhooks that a single event concerns, by the pace at which they are notified.

use crate::detect::site::triggers::asked::name_trigger;
use crate::domain::event::EventType;
use crate::domain::id::WebhookId;
use crate::domain::registry::Site;
use crate::domain::trigger::NoticePace;

/// The webhooks that ask for an event of a type and name.
#[derive(Debug, Default)]
pub(super) struct PacedSubscribers {
    pub(super) each: Vec<WebhookId>,
    pub(super) every: Vec<(WebhookId, u32)>,
    /// Numbers of events, each with its seconds.
    pub(super) at_least: Vec<(u32, u32)>,
}

impl PacedSubscribers {
    /// Finds the webhooks that are enabled, subscribed, and active since before the record.
    pub(super) fn find(site: &Site, event: EventType, name: &str, record_ms: i64) -> Self {
        let mut wanted = Self::default();
        for webhook in &site.webhooks {
            if !webhook.enabled || webhook.active_since_ms > record_ms {
                continue;
            }
            let Some(trigger) = name_trigger(webhook, event).filter(|trigger| trigger.names.takes(name))
            else {
                continue;
            };
            match trigger.pace {
                NoticePace::Each => wanted.each.push(webhook.id),
                NoticePace::Every(every) => wanted.every.push((webhook.id, every)),
                NoticePace::AtLeast {
                    at_least,
                    within_seconds,
                } => {
                    let settings = (at_least, within_seconds);
                    if !wanted.at_least.contains(&settings) {
                        wanted.at_least.push(settings);
                    }
                }
            }
        }
        wanted
    }

    pub(super) fn is_counting(&self) -> bool {
        !self.every.is_empty() || !self.at_least.is_empty()
    }
}
