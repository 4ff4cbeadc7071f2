//! Starting what may start: turns, limits, and waiting for what others have in flight.

use std::sync::Arc;

use super::Scheduler;
use crate::deliver::lanes::action::LaneAction;
use crate::deliver::lanes::endpoint::{Now, Wait};
use crate::domain::health::HealthState;
use crate::domain::id::WebhookId;
use crate::domain::site::SiteId;

impl<J> Scheduler<J> {
    pub(super) fn release(&mut self, id: WebhookId, is_probe: bool, now: Now) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
        endpoint.last_end = now.instant;
        endpoint.is_probing &= !is_probe;
        let counted = endpoint.careful_in_flight.min(1);
        endpoint.careful_in_flight -= counted;
        let may_start = match endpoint.waits_for {
            Some(Wait::Endpoint) => true,
            Some(Wait::Site | Wait::Host) => endpoint.may_always_start(),
            _ => false,
        };
        let (site_id, host) = (
            endpoint.settings.site_id.clone(),
            Arc::clone(&endpoint.settings.host),
        );
        self.in_flight -= 1;
        self.careful_in_flight -= counted;
        self.sites.ended(&site_id);
        self.hosts.ended(&host);
        if may_start {
            self.stop_waiting(id);
        }
        self.wake_for_site(&site_id);
        self.wake_for_host(&host);
        self.wake_careful();
    }

    pub(super) fn wake_for_site(&mut self, site_id: &SiteId) {
        let in_flight = self.sites.in_flight(site_id);
        let mut next = None;
        if in_flight < self.limits.per_site_at_most() {
            next = self.sites.next_waiting(site_id, true);
        }
        if next.is_none() && in_flight < self.limits.per_site.min(self.limits.per_site_at_most()) {
            next = self.sites.next_waiting(site_id, false);
        }
        if let Some(next) = next {
            self.wake(next, Wait::Site);
        }
    }

    pub(super) fn wake_for_host(&mut self, host: &Arc<str>) {
        if self.hosts.in_flight(host) < self.limits.per_host
            && let Some(next) = self.hosts.next_waiting(host, false)
        {
            self.wake(next, Wait::Host);
        }
    }

    pub(super) fn wake_careful(&mut self) {
        if self.careful_in_flight < self.limits.careful()
            && let Some(next) = self.careful_waiting.pop_front()
        {
            self.wake(next, Wait::Careful);
        }
    }

    fn wake(&mut self, id: WebhookId, from: Wait) {
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            endpoint.waits_for = None;
            endpoint.woken_from = Some(from);
        }
        self.list(id);
    }

    /// The place that was kept for an endpoint goes to the next one that waits for it.
    pub(super) fn pass_on(&mut self, id: WebhookId) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        let (site_id, host) = (
            endpoint.settings.site_id.clone(),
            Arc::clone(&endpoint.settings.host),
        );
        match endpoint.woken_from.take() {
            Some(Wait::Site) => self.wake_for_site(&site_id),
            Some(Wait::Host) => self.wake_for_host(&host),
            Some(Wait::Careful) => self.wake_careful(),
            _ => {}
        }
    }

    /// Lists an endpoint for each kind of delivery it has, unless it is listed or waits.
    pub(super) fn list(&mut self, id: WebhookId) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        if endpoint.waits_for.is_some() {
            return;
        }
        if !endpoint.first.is_empty() && !std::mem::replace(&mut endpoint.in_first_list, true) {
            self.first.push_back(id);
        }
        let has_rest = !endpoint.retries.is_empty() || !endpoint.parked.is_empty();
        if has_rest && !std::mem::replace(&mut endpoint.in_rest_list, true) {
            self.rest.push_back(id);
        }
    }

    pub(super) fn next_listed(&mut self) -> Option<WebhookId> {
        loop {
            let (id, is_first) = match self.first.pop_front() {
                Some(id) => (id, true),
                None => (self.rest.pop_front()?, false),
            };
            let Some(endpoint) = self.endpoints.get_mut(&id) else {
                continue;
            };
            if is_first {
                endpoint.in_first_list = false;
            } else {
                endpoint.in_rest_list = false;
            }
            if endpoint.waits_for.is_none() && endpoint.queued() > 0 {
                return Some(id);
            }
            self.pass_on(id);
        }
    }

    pub(super) fn start_one(&mut self, id: WebhookId, now: Now) {
        if let Some(wait) = self.must_wait(id, now) {
            self.wait(id, wait);
            return self.pass_on(id);
        }
        let endpoint = self.endpoints.get_mut(&id).expect("a listed endpoint");
        let Some(queued) = endpoint.pop() else { return };
        let is_probe = endpoint.health.state == HealthState::Open;
        let waited = now.instant.saturating_duration_since(queued.since);
        let cause = endpoint
            .waited_for
            .take()
            .or((!waited.is_zero()).then_some(Wait::Process));
        endpoint.woken_from = None;
        endpoint.is_probing |= is_probe;
        endpoint.bucket.take();
        endpoint.in_flight += 1;
        let careful = u32::from(endpoint.is_careful());
        endpoint.careful_in_flight += careful;
        self.careful_in_flight += careful;
        self.in_flight += 1;
        self.queued -= 1;
        self.sites.started(&endpoint.settings.site_id);
        self.hosts.started(&endpoint.settings.host);
        self.actions.push(LaneAction::Start {
            endpoint: id,
            job: queued.job,
            is_probe,
            waited,
            cause,
        });
        self.list(id);
    }

    /// Finds the cause for which an endpoint must wait before it starts another request.
    pub(super) fn must_wait(&mut self, id: WebhookId, now: Now) -> Option<Wait> {
        let endpoint = self.endpoints.get_mut(&id)?;
        if endpoint.in_flight >= endpoint.concurrency() {
            return Some(Wait::Endpoint);
        }
        if endpoint.is_careful() && self.careful_in_flight >= self.limits.careful() {
            return Some(Wait::Careful);
        }
        let site = self.sites.in_flight(&endpoint.settings.site_id);
        if site >= self.limits.per_site_at_most() {
            return Some(Wait::Site);
        }
        if !endpoint.may_always_start() {
            if site >= self.limits.per_site {
                return Some(Wait::Site);
            }
            if self.hosts.in_flight(&endpoint.settings.host) >= self.limits.per_host {
                return Some(Wait::Host);
            }
        }
        // Asked last, so that an endpoint takes no token while something else holds it back.
        endpoint.token_at = endpoint.bucket.wait_until(now.instant)?;
        Some(Wait::Rate)
    }

    fn wait(&mut self, id: WebhookId, wait: Wait) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        endpoint.waits_for = Some(wait);
        endpoint.waited_for = Some(wait);
        match wait {
            Wait::Site => {
                let is_first = endpoint.may_always_start();
                self.sites.wait(&endpoint.settings.site_id, id, is_first);
            }
            Wait::Host => self.hosts.wait(&endpoint.settings.host, id, false),
            Wait::Careful => self.careful_waiting.push_back(id),
            Wait::Rate => {
                self.rate_waiting.insert((endpoint.token_at, id));
            }
            Wait::Endpoint | Wait::Process => {}
        }
    }

    /// Removes an endpoint from what it waits for.
    pub(super) fn stop_waiting(&mut self, id: WebhookId) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        match endpoint.waits_for.take() {
            Some(Wait::Site) => self.sites.forget(&endpoint.settings.site_id, id),
            Some(Wait::Host) => self.hosts.forget(&endpoint.settings.host, id),
            Some(Wait::Careful) => self.careful_waiting.retain(|waiting| *waiting != id),
            Some(Wait::Rate) => {
                self.rate_waiting.remove(&(endpoint.token_at, id));
            }
            Some(Wait::Endpoint | Wait::Process) | None => {}
        }
    }

    pub(super) fn take_tokens_that_came(&mut self, now: Now) {
        while let Some((at, id)) = self.rate_waiting.first().copied()
            && at <= now.instant
        {
            self.stop_waiting(id);
            self.list(id);
        }
    }
}
