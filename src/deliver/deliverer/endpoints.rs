//! Endpoints as the scheduler knows them, by the settings of their webhooks.

use std::sync::Arc;

use super::{Deliverer, now_of};
use crate::clock;
use crate::deliver::lanes::EndpointSettings;
use crate::deliver::lanes::health::EndpointHealth;
use crate::deliver::lanes::scheduler::Now;
use crate::domain::health::{HealthReason, HealthState};
use crate::domain::id::WebhookId;
use crate::domain::webhook::Webhook;

impl Deliverer {
    pub(super) fn set_up(&mut self, webhook: &Webhook, now: Now) {
        if self.scheduler.knows(webhook.id) {
            return;
        }
        let stored = self.stored_health.remove(&webhook.id);
        let stored = stored.filter(|health| !health.is_over(webhook.active_since_ms));
        let health = stored.unwrap_or_else(|| EndpointHealth::new(now.wall_ms));
        self.scheduler
            .set_up(webhook.id, settings_of(webhook), health, now);
    }

    /// Brings changed settings into force.
    pub(super) fn apply_settings(&mut self) {
        let now = now_of(clock::monotonic());
        let registry = Arc::clone(&self.links.registry.borrow());
        let known: Vec<WebhookId> = self.scheduler.known().collect();
        for id in known {
            if let Some(webhook) = registry.webhooks.get(&id) {
                let health = EndpointHealth::new(now.wall_ms);
                if self.scheduler.set_up(id, settings_of(webhook), health, now) {
                    self.note_health(id);
                }
                if webhook.disabled {
                    self.note_disabled(id, now);
                }
            }
        }
        self.looks.want_refill();
    }

    /// Has the health of an endpoint written that began anew.
    fn note_health(&self, id: WebhookId) {
        if let Some(health) = self.scheduler.health(id) {
            self.links.health_book.note(id, health, true);
        }
    }

    /// Notes that an endpoint was disabled without an attempt, because it was open for too long.
    fn note_disabled(&mut self, id: WebhookId, now: Now) {
        let health = self.scheduler.health(id).copied();
        if let Some(health) = health.filter(|health| health.state == HealthState::Open) {
            let disabled = EndpointHealth {
                state: HealthState::Disabled,
                reason: Some(HealthReason::OpenTooLong),
                ..health
            };
            self.scheduler.set_health(id, disabled, now);
        }
    }
}

fn settings_of(webhook: &Webhook) -> EndpointSettings {
    EndpointSettings {
        site_id: webhook.site_id.clone(),
        host: host_of(webhook).into(),
        limits: webhook.limits.clone(),
        active_since_ms: webhook.active_since_ms,
        url_changed_at: webhook.url_changed_at,
    }
}

/// The host by which endpoints share a limit. A name with the dot at its end is the same name.
fn host_of(webhook: &Webhook) -> &str {
    let host = webhook.url.reveal().host_str().unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host)
}
