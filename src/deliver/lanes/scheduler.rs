//! Arrivals, outcomes, health and time in; deliveries to start and to park out.
//!
//! Every step costs the same however many endpoints there are: an endpoint that may start stands in
//! a list and has its turn after the others; one that must wait for its site, its host or a token
//! stands with what it waits for, and is listed again when that ends. First attempts have a list of
//! their own, which goes before the other.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::LaneLimits;
use super::action::LaneAction;
use super::endpoint::{Endpoint, EndpointSettings, QueueKind, Queued};
use super::health::{AttemptEnd, EndpointHealth, HealthChange};
use super::held_back::HeldBack;
use super::share::Shares;
use crate::domain::health::{HealthState, ParkReason};
use crate::domain::id::WebhookId;
use crate::domain::site::SiteId;

/// Starting what may start.
mod starting;
/// Parking what may not be sent for now.
mod parking;

pub(crate) use super::endpoint::{Now, Wait};

/// Deliveries that may wait however slowly others end.
const SHORT_QUEUE: usize = 1_024;

/// Queues and counts of one process.
#[derive(Debug)]
pub(crate) struct Scheduler<J> {
    limits: LaneLimits,
    endpoints: HashMap<WebhookId, Endpoint<J>>,
    sites: Shares<SiteId>,
    hosts: Shares<Arc<str>>,
    in_flight: u32,
    careful_in_flight: u32,
    queued: usize,
    /// True if the last run left something that might have started, for want of room.
    is_saturated: bool,
    /// Endpoints with first attempts that may start.
    first: VecDeque<WebhookId>,
    /// Endpoints with other deliveries that may start.
    rest: VecDeque<WebhookId>,
    careful_waiting: VecDeque<WebhookId>,
    /// Endpoints that wait for a token, by when it comes.
    rate_waiting: BTreeSet<(Instant, WebhookId)>,
    /// Arrivals of what may still wait, oldest first.
    arrivals: VecDeque<(Instant, WebhookId)>,
    actions: Vec<LaneAction<J>>,
}

impl<J> Scheduler<J> {
    /// A scheduler with empty queues.
    pub(crate) fn new(limits: LaneLimits) -> Self {
        Self {
            limits,
            endpoints: HashMap::new(),
            sites: Shares::new(),
            hosts: Shares::new(),
            in_flight: 0,
            careful_in_flight: 0,
            queued: 0,
            is_saturated: false,
            first: VecDeque::new(),
            rest: VecDeque::new(),
            careful_waiting: VecDeque::new(),
            rate_waiting: BTreeSet::new(),
            arrivals: VecDeque::new(),
            actions: Vec::new(),
        }
    }

    /// True if the endpoint's health and settings are known here. One that is not has to be set up
    /// before it is sent to.
    pub(crate) fn knows(&self, endpoint: WebhookId) -> bool {
        self.endpoints.contains_key(&endpoint)
    }

    /// Lists the endpoints that are known here.
    pub(crate) fn known(&self) -> impl Iterator<Item = WebhookId> + '_ {
        self.endpoints.keys().copied()
    }

    /// Sets an endpoint up, or changes its settings. True if it was known here, and its health is
    /// another one as its URL has changed.
    pub(crate) fn set_up(
        &mut self,
        id: WebhookId,
        settings: EndpointSettings,
        mut health: EndpointHealth,
        now: Now,
    ) -> bool {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            health.take_url(settings.url_changed_at, now.wall_ms);
            let endpoint = Endpoint::new(settings, health, now.instant);
            self.endpoints.insert(id, endpoint);
            return false;
        };
        let is_over = endpoint.health.is_over(settings.active_since_ms);
        if is_over {
            endpoint.health = EndpointHealth::new(now.wall_ms);
        }
        let is_begun_anew = endpoint.health.take_url(settings.url_changed_at, now.wall_ms);
        if is_over || is_begun_anew {
            self.health_changed(id, now);
        }
        if self.endpoints[&id].settings != settings {
            self.change(id, settings, now);
        }
        is_begun_anew
    }

    /// A delivery may be sent to an endpoint that was set up.
    ///
    /// # Panics
    /// When it was not.
    pub(crate) fn arrive(&mut self, id: WebhookId, kind: QueueKind, job: J, now: Now) {
        let endpoint = self.endpoints.get_mut(&id).expect("an endpoint that was set up");
        if let Some(held) = HeldBack::find(endpoint, kind, now) {
            endpoint.has_parked |= matches!(held, HeldBack::Parked { .. });
            return self.actions.push(held.action(id, job));
        }
        let has_room = endpoint.queued() < self.limits.queue_per_endpoint
            && (self.queued < self.limits.queued || endpoint.queued() == 0);
        if !has_room {
            let reason = match endpoint.waits_for {
                Some(Wait::Rate) => ParkReason::Rate,
                _ => ParkReason::Queue,
            };
            endpoint.has_parked = true;
            return self.actions.push(LaneAction::Park {
                endpoint: id,
                job,
                reason,
                due_ms: now.wall_ms,
            });
        }
        endpoint.push(
            kind,
            Queued {
                job,
                since: now.instant,
            },
        );
        self.queued += 1;
        self.arrivals.push_back((now.instant, id));
        self.list(id);
    }

    /// A request has ended. Returns the change of its endpoint's health, if there is one.
    pub(crate) fn ended(&mut self, id: WebhookId, end: AttemptEnd, now: Now) -> Option<HealthChange> {
        self.release(id, end.is_probe, now);
        let endpoint = self.endpoints.get_mut(&id)?;
        let threshold = endpoint.settings.limits.failure_threshold;
        let change = endpoint.health.record(end, threshold, now.wall_ms);
        if change.is_some() {
            self.health_changed(id, now);
        }
        self.list(id);
        change
    }

    /// A delivery that was started is not sent after all.
    pub(crate) fn given_up(&mut self, id: WebhookId, is_probe: bool, now: Now) {
        self.release(id, is_probe, now);
        self.list(id);
    }

    /// Notes that rows of `parked` wait for the endpoint, or that none does.
    pub(crate) fn note_parked(&mut self, id: WebhookId, has_parked: bool) {
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            endpoint.has_parked = has_parked;
        }
    }

    /// Replaces the health of an endpoint by what another owner has stored.
    pub(crate) fn set_health(&mut self, id: WebhookId, mut health: EndpointHealth, now: Now) {
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            health.take_url(endpoint.settings.url_changed_at, now.wall_ms);
            endpoint.health = health;
            self.health_changed(id, now);
            self.list(id);
        }
    }

    /// Counts all waits from now on: nothing could be sent until now, for no endpoint's fault.
    pub(crate) fn forgive_waits(&mut self, now: Now) {
        for endpoint in self.endpoints.values_mut() {
            endpoint.wait_from(now.instant);
        }
        for (came, _) in &mut self.arrivals {
            *came = now.instant;
        }
    }

    /// True if more deliveries may come. While the process sends as much as it may, only as many
    /// are taken as are sent within a second or two, and never so many that some would be parked
    /// for want of room.
    pub(crate) fn has_room(&self, ended_per_second: usize) -> bool {
        let most = if self.is_saturated {
            (2 * ended_per_second).clamp(SHORT_QUEUE, self.limits.queued / 2)
        } else {
            usize::MAX
        };
        self.queued < most
    }

    /// Counts the endpoints known here by state.
    pub(crate) fn states(&self) -> [(HealthState, usize); 4] {
        let count =
            |is: fn(&EndpointHealth) -> bool| self.endpoints.values().filter(|one| is(&one.health)).count();
        [
            (HealthState::Ok, count(EndpointHealth::is_well)),
            (
                HealthState::Careful,
                count(|health| health.state == HealthState::Careful),
            ),
            (
                HealthState::Open,
                count(|health| health.state == HealthState::Open),
            ),
            (
                HealthState::Disabled,
                count(|health| health.state == HealthState::Disabled),
            ),
        ]
    }

    /// The endpoints that are disabled, with their health.
    pub(crate) fn disabled(&self) -> impl Iterator<Item = (WebhookId, &EndpointHealth)> {
        let all = self.endpoints.iter();
        all.filter(|(_, endpoint)| endpoint.health.state == HealthState::Disabled)
            .map(|(id, endpoint)| (*id, &endpoint.health))
    }

    /// Health of an endpoint, if it is known here.
    pub(crate) fn health(&self, id: WebhookId) -> Option<&EndpointHealth> {
        Some(&self.endpoints.get(&id)?.health)
    }

    /// Rows of `parked` that find room at an endpoint now, if `claimed` others have been claimed
    /// before them. What finds none in the queues would only be parked again; an endpoint for which
    /// nothing waits there has room for one in any case.
    pub(crate) fn room_for_parked(&self, id: WebhookId, claimed: usize, now: Now) -> usize {
        let Some(endpoint) = self.endpoints.get(&id) else {
            return 0;
        };
        let free = self.limits.queued.saturating_sub(self.queued + claimed);
        let free = free.max(usize::from(endpoint.queued() == 0));
        let most = self.limits.queue_per_endpoint / 2;
        endpoint.room_for_parked(most, now).min(free)
    }

    /// Starts what may start, at most `room` deliveries, and parks what has waited too long.
    pub(crate) fn run(&mut self, now: Now, room: usize) -> Vec<LaneAction<J>> {
        self.take_tokens_that_came(now);
        self.park_overdue(now);
        let before = self.in_flight;
        loop {
            let has_room =
                self.in_flight < self.limits.in_flight && ((self.in_flight - before) as usize) < room;
            if !has_room {
                self.is_saturated = !self.first.is_empty() || !self.rest.is_empty();
                break;
            }
            let Some(id) = self.next_listed() else {
                self.is_saturated = false;
                break;
            };
            self.start_one(id, now);
        }
        std::mem::take(&mut self.actions)
    }

    /// When `run` must be called again at the latest.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let token = self.rate_waiting.first().map(|(at, _)| *at);
        let overdue = self
            .arrivals
            .front()
            .map(|(came, _)| *came + self.limits.longest_wait);
        [token, overdue].into_iter().flatten().min()
    }

    /// Deliveries in queues.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Requests in flight, of careful endpoints and of the others.
    pub(crate) fn in_flight(&self) -> (u32, u32) {
        (self.careful_in_flight, self.in_flight - self.careful_in_flight)
    }

    /// Removes what waits in queues and satisfies `is_gone`, as when its partition went to another
    /// process.
    pub(crate) fn remove_where(&mut self, is_gone: impl Fn(&J) -> bool) -> Vec<J> {
        let mut removed = Vec::new();
        for endpoint in self.endpoints.values_mut() {
            for queue in [&mut endpoint.first, &mut endpoint.retries, &mut endpoint.parked] {
                let (gone, kept) = std::mem::take(queue)
                    .into_iter()
                    .partition::<VecDeque<_>, _>(|queued| is_gone(&queued.job));
                *queue = kept;
                removed.extend(gone.into_iter().map(|queued| queued.job));
            }
        }
        self.queued -= removed.len();
        let emptied: Vec<WebhookId> = self
            .endpoints
            .iter()
            .filter(|(_, endpoint)| endpoint.queued() == 0 && endpoint.waits_for.is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in emptied {
            self.stop_waiting(id);
        }
        removed
    }

    /// Forgets endpoints that are idle. Called now and then, so that memory follows what is in use.
    pub(crate) fn forget_idle(&mut self, now: Now) {
        self.endpoints.retain(|_, endpoint| {
            let is_listed = endpoint.in_first_list || endpoint.in_rest_list || endpoint.waits_for.is_some();
            is_listed || !endpoint.is_idle(now.instant)
        });
    }

    fn change(&mut self, id: WebhookId, settings: EndpointSettings, now: Now) {
        self.stop_waiting(id);
        // A place that was kept for it is of the site and host that it has until now.
        self.pass_on(id);
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        endpoint
            .bucket
            .set_rate(settings.limits.rate_per_second, now.instant);
        let before = std::mem::replace(&mut endpoint.settings, settings);
        let after = endpoint.settings.clone();
        // What is in flight counts for the site and host that the endpoint has now.
        for _ in 0..endpoint.in_flight {
            self.sites.ended(&before.site_id);
            self.hosts.ended(&before.host);
            self.sites.started(&after.site_id);
            self.hosts.started(&after.host);
        }
        // Each request that counts elsewhere now makes room for one more.
        for _ in 0..endpoint.in_flight {
            self.wake_for_site(&before.site_id);
            self.wake_for_host(&before.host);
        }
        self.hold_back(id, now);
        self.list(id);
    }

    fn health_changed(&mut self, id: WebhookId, now: Now) {
        self.stop_waiting(id);
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            let count = if endpoint.is_careful() {
                endpoint.in_flight
            } else {
                0
            };
            let before = std::mem::replace(&mut endpoint.careful_in_flight, count);
            self.careful_in_flight = self.careful_in_flight + count - before;
            for _ in count..before {
                self.wake_careful();
            }
        }
        self.hold_back(id, now);
    }
}

#[cfg(test)]
mod tests;
