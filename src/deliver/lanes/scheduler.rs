//! Arrivals, outcomes, health and time in; deliveries to start and to park out.
//!
//! Every step costs the same however many endpoints there are: an endpoint that may start stands in a list and has its turn
//! after the others; one that must wait for its site, its host or a token stands with what it waits for, and is listed again
//! when that ends. First attempts have a list of their own, which goes before the other.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Limits;
use super::endpoint::{Endpoint, EndpointSettings, Queued, Source};
use super::health::{AttemptEnd, Health, HealthChange, HealthState};
use super::share::Shares;
use crate::domain::id::WebhookId;
use crate::domain::site::SiteId;

pub(crate) use super::endpoint::{Now, Wait};

/// Reason for which a delivery waits in Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParkReason {
    /// The endpoint's queue was full, or it waited too long in it.
    Queue,
    /// It waited too long for the endpoint's rate.
    Rate,
    /// The circuit is open.
    Circuit,
    /// The owner paused the webhook.
    Paused,
}

/// What is to be done with a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<J> {
    /// Its request begins now. `Scheduler::ended` must be told when it has ended.
    Start {
        endpoint: WebhookId,
        job: J,
        is_probe: bool,
        waited: Duration,
        /// Cause of the wait, if it had to.
        cause: Option<Wait>,
    },
    /// It goes to `parked`, to be looked at again at `due_ms`.
    Park {
        endpoint: WebhookId,
        job: J,
        reason: ParkReason,
        due_ms: i64,
    },
    /// Its endpoint was disabled while it waited.
    Refuse { endpoint: WebhookId, job: J },
}

/// Until what is parked beside a probe in flight is looked at again, in milliseconds.
const LOOK_AGAIN_MS: i64 = 1_000;

/// Queues and counts of one process.
#[derive(Debug)]
pub(crate) struct Scheduler<J> {
    limits: Limits,
    endpoints: HashMap<WebhookId, Endpoint<J>>,
    sites: Shares<SiteId>,
    hosts: Shares<Arc<str>>,
    in_flight: u32,
    careful_in_flight: u32,
    queued: usize,
    /// Endpoints with first attempts that may start.
    first: VecDeque<WebhookId>,
    /// Endpoints with other deliveries that may start.
    rest: VecDeque<WebhookId>,
    careful_waiting: VecDeque<WebhookId>,
    /// Endpoints that wait for a token, by when it comes.
    rate_waiting: BTreeSet<(Instant, WebhookId)>,
    /// Arrivals of what may still wait, oldest first.
    arrivals: VecDeque<(Instant, WebhookId)>,
    actions: Vec<Action<J>>,
}

impl<J> Scheduler<J> {
    /// A scheduler with empty queues.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            endpoints: HashMap::new(),
            sites: Shares::new(),
            hosts: Shares::new(),
            in_flight: 0,
            careful_in_flight: 0,
            queued: 0,
            first: VecDeque::new(),
            rest: VecDeque::new(),
            careful_waiting: VecDeque::new(),
            rate_waiting: BTreeSet::new(),
            arrivals: VecDeque::new(),
            actions: Vec::new(),
        }
    }

    /// True if the endpoint's health and settings are known here. One that is not has to be set up before it is sent to.
    pub(crate) fn knows(&self, endpoint: WebhookId) -> bool {
        self.endpoints.contains_key(&endpoint)
    }

    /// Sets an endpoint up, or changes its settings.
    pub(crate) fn set_up(&mut self, id: WebhookId, settings: EndpointSettings, health: Health, now: Now) {
        match self.endpoints.get_mut(&id) {
            None => {
                let endpoint = Endpoint::new(settings, health, now.instant);
                self.endpoints.insert(id, endpoint);
            }
            Some(endpoint) if endpoint.settings != settings => self.change(id, settings, now),
            Some(_) => {}
        }
    }

    /// A delivery may be sent to an endpoint that was set up.
    ///
    /// # Panics
    /// When it was not.
    pub(crate) fn arrive(&mut self, id: WebhookId, source: Source, job: J, now: Now) {
        let endpoint = self.endpoints.get_mut(&id).expect("an endpoint that was set up");
        if let Some(held) = HeldBack::find(endpoint, now) {
            return self.actions.push(held.action(id, job));
        }
        let has_room = endpoint.queued() < self.limits.queue_per_endpoint
            && (self.queued < self.limits.queued || endpoint.queued() == 0);
        if !has_room {
            let reason = match endpoint.waits_for {
                Some(Wait::Rate) => ParkReason::Rate,
                _ => ParkReason::Queue,
            };
            return self.actions.push(Action::Park {
                endpoint: id,
                job,
                reason,
                due_ms: now.wall_ms,
            });
        }
        endpoint.push(
            source,
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
        self.release(id, end.is_probe);
        let endpoint = self.endpoints.get_mut(&id)?;
        let threshold = endpoint.settings.failure_threshold;
        let change = endpoint.health.record(end, threshold, now.wall_ms);
        if change.is_some() {
            self.health_changed(id, now);
        }
        self.list(id);
        change
    }

    /// A delivery that was started is not sent after all.
    pub(crate) fn given_up(&mut self, id: WebhookId, is_probe: bool) {
        self.release(id, is_probe);
        self.list(id);
    }

    /// Health of an endpoint, if it is known here.
    pub(crate) fn health(&self, id: WebhookId) -> Option<&Health> {
        Some(&self.endpoints.get(&id)?.health)
    }

    /// Rows of `parked` that find room at an endpoint now.
    pub(crate) fn room_for_parked(&self, id: WebhookId, now: Now) -> usize {
        let most = self.limits.queue_per_endpoint / 2;
        self.endpoints
            .get(&id)
            .map_or(0, |endpoint| endpoint.room_for_parked(most, now.wall_ms))
    }

    /// Starts what may start and parks what has waited too long.
    pub(crate) fn run(&mut self, now: Now) -> Vec<Action<J>> {
        self.take_tokens_that_came(now);
        self.park_overdue(now);
        while self.in_flight < self.limits.in_flight {
            let Some(id) = self.next_listed() else { break };
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

    /// Takes what waits in queues and satisfies `is_gone`, as when its partition went to another process.
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
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        endpoint.bucket.set_rate(settings.rate_per_second, now.instant);
        let before = std::mem::replace(&mut endpoint.settings, settings);
        let after = endpoint.settings.clone();
        // What is in flight counts for the site and host that the endpoint has now.
        for _ in 0..endpoint.in_flight {
            self.sites.ended(&before.site_id);
            self.hosts.ended(&before.host);
            self.sites.started(&after.site_id);
            self.hosts.started(&after.host);
        }
        self.wake_for_site(&before.site_id);
        self.wake_for_host(&before.host);
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
        }
        self.hold_back(id, now);
        self.wake_careful();
    }

    /// Parks everything in the queue of an endpoint that may not be sent to.
    fn hold_back(&mut self, id: WebhookId, now: Now) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        if endpoint.queued() > 0
            && let Some(held) = HeldBack::find(endpoint, now)
        {
            let all = endpoint.take_all();
            self.queued -= all.len();
            self.actions
                .extend(all.into_iter().map(|queued| held.action(id, queued.job)));
        }
    }

    fn release(&mut self, id: WebhookId, is_probe: bool) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
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

    fn wake_for_site(&mut self, site_id: &SiteId) {
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

    fn wake_for_host(&mut self, host: &Arc<str>) {
        if self.hosts.in_flight(host) < self.limits.per_host
            && let Some(next) = self.hosts.next_waiting(host, false)
        {
            self.wake(next, Wait::Host);
        }
    }

    fn wake_careful(&mut self) {
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
    fn pass_on(&mut self, id: WebhookId) {
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
    fn list(&mut self, id: WebhookId) {
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

    fn next_listed(&mut self) -> Option<WebhookId> {
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

    fn start_one(&mut self, id: WebhookId, now: Now) {
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
        self.actions.push(Action::Start {
            endpoint: id,
            job: queued.job,
            is_probe,
            waited,
            cause,
        });
        self.list(id);
    }

    /// What an endpoint must wait for before it starts another request.
    fn must_wait(&mut self, id: WebhookId, now: Now) -> Option<Wait> {
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
        // Asked last: what waits for a token waits for nothing else.
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

    /// Takes an endpoint away from what it waits for.
    fn stop_waiting(&mut self, id: WebhookId) {
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

    fn take_tokens_that_came(&mut self, now: Now) {
        while let Some((at, id)) = self.rate_waiting.first().copied()
            && at <= now.instant
        {
            self.stop_waiting(id);
            self.list(id);
        }
    }

    fn park_overdue(&mut self, now: Now) {
        while let Some((came, id)) = self.arrivals.front().copied() {
            let is_overdue = now.instant.saturating_duration_since(came) >= self.limits.longest_wait;
            let Some(endpoint) = self.endpoints.get_mut(&id) else {
                self.arrivals.pop_front();
                continue;
            };
            let still_waits = endpoint.oldest().is_some_and(|oldest| oldest <= came);
            if still_waits && !is_overdue {
                break;
            }
            self.arrivals.pop_front();
            if !still_waits {
                continue;
            }
            let reason = match endpoint.waits_for {
                Some(Wait::Rate) => ParkReason::Rate,
                _ => ParkReason::Queue,
            };
            let overdue = endpoint.take_until(came);
            let is_empty = endpoint.queued() == 0;
            self.queued -= overdue.len();
            self.actions
                .extend(overdue.into_iter().map(|queued| Action::Park {
                    endpoint: id,
                    job: queued.job,
                    reason,
                    due_ms: now.wall_ms,
                }));
            if is_empty {
                self.stop_waiting(id);
            }
        }
    }
}

/// Why an endpoint is not sent to at all, and until when.
#[derive(Debug, Clone, Copy)]
enum HeldBack {
    Parked { reason: ParkReason, due_ms: i64 },
    Disabled,
}

impl HeldBack {
    fn find<J>(endpoint: &Endpoint<J>, now: Now) -> Option<Self> {
        if endpoint.health.state == HealthState::Disabled {
            return Some(Self::Disabled);
        }
        if let Some(due_ms) = endpoint
            .settings
            .paused_until_ms
            .filter(|until| now.wall_ms < *until)
        {
            let reason = ParkReason::Paused;
            return Some(Self::Parked { reason, due_ms });
        }
        if endpoint.health.state != HealthState::Open {
            return None;
        }
        let health = &endpoint.health;
        let may_probe = health.is_probe_due(now.wall_ms) && !endpoint.is_probing && endpoint.queued() == 0;
        if may_probe {
            return None;
        }
        // While a probe is in flight nobody knows yet when the next one will be.
        let due_ms = health.probe_at_ms.max(now.wall_ms + LOOK_AGAIN_MS);
        let reason = ParkReason::Circuit;
        Some(Self::Parked { reason, due_ms })
    }

    fn action<J>(self, endpoint: WebhookId, job: J) -> Action<J> {
        match self {
            Self::Parked { reason, due_ms } => Action::Park {
                endpoint,
                job,
                reason,
                due_ms,
            },
            Self::Disabled => Action::Refuse { endpoint, job },
        }
    }
}

#[cfg(test)]
mod tests;
