//! The queue and limits of one endpoint.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::health::EndpointHealth;
use super::rate::TokenBucket;
use crate::domain::health::HealthState;
use crate::domain::site::SiteId;
use crate::domain::webhook::SendLimits;
use crate::telemetry::words::WaitCause;

/// Settings of an endpoint that decide when it is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointSettings {
    pub(crate) site_id: SiteId,
    /// The URL's host in lower case, without port.
    pub(crate) host: Arc<str>,
    pub(crate) limits: SendLimits,
    /// When its owner last switched it on, in milliseconds since the Unix epoch.
    pub(crate) active_since_ms: i64,
    /// When its owner last changed the URL, if ever.
    pub(crate) url_changed_at: Option<DateTime<Utc>>,
}

/// The queue of an endpoint in which a delivery waits: each endpoint has one of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueKind {
    /// A first attempt.
    First,
    /// A retry that is due.
    Retry,
    /// A row of `parked`.
    Parked,
}

/// A delivery that waits in a queue.
#[derive(Debug)]
pub(super) struct Queued<J> {
    pub(super) job: J,
    pub(super) since: Instant,
}

/// Queues of one endpoint, and what it has in flight.
#[derive(Debug)]
pub(super) struct Endpoint<J> {
    pub(super) settings: EndpointSettings,
    pub(super) health: EndpointHealth,
    pub(super) bucket: TokenBucket,
    pub(super) first: VecDeque<Queued<J>>,
    pub(super) retries: VecDeque<Queued<J>>,
    pub(super) parked: VecDeque<Queued<J>>,
    pub(super) in_flight: u32,
    pub(super) is_probing: bool,
    /// The last delivery taken came from `parked`: the next one is new, if there is one.
    took_parked: bool,
    /// An entry of the endpoint is in the list of first attempts, or of the others.
    pub(super) in_first_list: bool,
    pub(super) in_rest_list: bool,
    /// The endpoint stands with what it waits for, and in no list.
    pub(super) waits_for: Option<Wait>,
    /// Cause of the wait before the next start.
    pub(super) waited_for: Option<Wait>,
    /// Arrival of the token for which it waits.
    pub(super) token_at: Instant,
    /// End of its last request.
    pub(super) last_end: Instant,
    /// Rows of `parked` wait for it, or may.
    pub(super) has_parked: bool,
    /// Cause of its last wait: until it starts, a place there is kept for it.
    pub(super) woken_from: Option<Wait>,
    /// Requests in flight that count as careful.
    pub(super) careful_in_flight: u32,
}

/// Cause for which an endpoint with deliveries is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Its own limit of concurrent requests.
    Endpoint,
    Rate,
    Site,
    Host,
    /// The share of careful endpoints.
    Careful,
    /// The process' limit.
    Process,
}

impl Wait {
    /// True if the endpoint's own limits, or those of its site or host, made it wait.
    pub(crate) const fn is_for_endpoint(self) -> bool {
        !matches!(self, Self::Process)
    }

    /// The limit as `queue_wait_seconds` counts it.
    pub(crate) const fn cause(self) -> WaitCause {
        match self {
            Self::Endpoint | Self::Rate => WaitCause::Endpoint,
            Self::Site => WaitCause::Site,
            Self::Host => WaitCause::Host,
            Self::Careful | Self::Process => WaitCause::Process,
        }
    }
}

impl<J> Endpoint<J> {
    pub(super) fn new(settings: EndpointSettings, health: EndpointHealth, now: Instant) -> Self {
        Self {
            bucket: TokenBucket::new(settings.limits.rate_per_second, now),
            settings,
            health,
            first: VecDeque::new(),
            retries: VecDeque::new(),
            parked: VecDeque::new(),
            in_flight: 0,
            is_probing: false,
            took_parked: false,
            in_first_list: false,
            in_rest_list: false,
            waits_for: None,
            waited_for: None,
            token_at: now,
            woken_from: None,
            careful_in_flight: 0,
            last_end: now,
            has_parked: false,
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.first.len() + self.retries.len() + self.parked.len()
    }

    pub(super) fn push(&mut self, kind: QueueKind, queued: Queued<J>) {
        match kind {
            QueueKind::First => self.first.push_back(queued),
            QueueKind::Retry => self.retries.push_back(queued),
            QueueKind::Parked => self.parked.push_back(queued),
        }
    }

    /// The next delivery: first attempts before retries, and in turn with what comes back from
    /// `parked`.
    pub(super) fn pop(&mut self) -> Option<Queued<J>> {
        let is_parked_next = !self.parked.is_empty()
            && (!self.took_parked || (self.first.is_empty() && self.retries.is_empty()));
        self.took_parked = is_parked_next;
        if is_parked_next {
            return self.parked.pop_front();
        }
        self.first.pop_front().or_else(|| self.retries.pop_front())
    }

    /// Arrival of the delivery that waits longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let fronts = [&self.first, &self.retries, &self.parked].map(|queue| Some(queue.front()?.since));
        fronts.into_iter().flatten().min()
    }

    /// True if its requests count among those of careful endpoints.
    pub(super) fn is_careful(&self) -> bool {
        !self.health.is_well()
    }

    /// True if it may start one request whatever its site and host have in flight.
    pub(super) fn may_always_start(&self) -> bool {
        self.health.is_well() && self.in_flight == 0
    }

    /// Removes everything that came at or before `came`.
    pub(super) fn take_until(&mut self, came: Instant) -> Vec<Queued<J>> {
        let mut taken = Vec::new();
        for queue in [&mut self.first, &mut self.retries, &mut self.parked] {
            while queue.front().is_some_and(|queued| queued.since <= came) {
                taken.extend(queue.pop_front());
            }
        }
        taken
    }

    pub(super) fn take_all(&mut self) -> Vec<Queued<J>> {
        let mut taken: Vec<_> = self.first.drain(..).collect();
        taken.extend(self.retries.drain(..));
        taken.extend(self.parked.drain(..));
        taken
    }

    fn is_paused(&self, now_ms: i64) -> bool {
        self.settings
            .limits
            .paused_until_ms
            .is_some_and(|until| now_ms < until)
    }

    /// Requests that its settings and health allow at a time.
    pub(super) fn concurrency(&self) -> u32 {
        match self.health.state {
            HealthState::New | HealthState::Ok => self.settings.limits.max_concurrency.max(1),
            HealthState::Careful | HealthState::Open => 1,
            HealthState::Disabled => 0,
        }
    }

    /// Counts rows of `parked` that find room here now: as many as may start within a second, at
    /// most `most`.
    pub(super) fn room_for_parked(&self, most: usize, now: Now) -> usize {
        if self.is_paused(now.wall_ms) {
            return 0;
        }
        let is_idle = self.queued() == 0 && self.in_flight == 0;
        match self.health.state {
            HealthState::Disabled => 0,
            HealthState::Open => usize::from(is_idle && self.health.is_probe_due(now.wall_ms)),
            HealthState::Careful => usize::from(is_idle),
            // It hangs, though it is not known for that yet: more would only be parked again.
            HealthState::New | HealthState::Ok if self.hangs(now.instant) => 0,
            HealthState::New | HealthState::Ok => {
                let second = self.settings.limits.rate_per_second;
                let most = second.map_or(most, |rate| most.min(rate.max(1) as usize));
                most.saturating_sub(self.parked.len())
            }
        }
    }

    /// True if all its requests are in flight and none has ended for a second.
    fn hangs(&self, now: Instant) -> bool {
        self.in_flight >= self.concurrency()
            && now.saturating_duration_since(self.last_end) > Duration::from_secs(1)
    }

    /// Counts all waits from `now` on.
    pub(super) fn wait_from(&mut self, now: Instant) {
        for queue in [&mut self.first, &mut self.retries, &mut self.parked] {
            queue.iter_mut().for_each(|queued| queued.since = now);
        }
    }

    /// True if nothing would be lost by forgetting the endpoint.
    pub(super) fn is_idle(&mut self, now: Instant) -> bool {
        self.in_flight == 0
            && self.queued() == 0
            && !self.has_parked
            && !self.health.is_notable()
            && self.bucket.is_full(now)
    }
}

/// The time, by both clocks: the monotonic one for waits and rates, the wall clock for what is
/// stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Milliseconds since the Unix epoch.
    pub(crate) wall_ms: i64,
}
