//! The ladder an endpoint climbs down when it fails: new or ok, careful, open, disabled.

use chrono::{DateTime, Utc};

use crate::domain::health::{HealthReason, HealthState, OPEN_TOO_LONG_MS};

/// End of an attempt, as far as health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Success,
    /// A status other than success.
    Answered,
    /// No status, by the endpoint's fault.
    Unanswered,
    /// A fault of our own: it says nothing of the endpoint.
    Own,
}

/// An attempt that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptEnd {
    pub(crate) ending: Ending,
    /// The status was 410.
    pub(crate) is_gone: bool,
    /// The attempt was the delivery's last one, and failed.
    pub(crate) is_final_failure: bool,
    pub(crate) is_probe: bool,
    /// The webhook's own when the request was made: what another URL answered says nothing.
    pub(crate) url_changed_at: Option<DateTime<Utc>>,
}

/// Health of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndpointHealth {
    pub(crate) state: HealthState,
    pub(crate) reason: Option<HealthReason>,
    /// When the state began, in milliseconds since the Unix epoch.
    pub(crate) since_ms: i64,
    /// Attempts in a row without an answer.
    pub(crate) unanswered: u32,
    /// Deliveries in a row that failed for good.
    pub(crate) failed: u32,
    /// While the circuit is open: when the next probe is due.
    pub(crate) probe_at_ms: i64,
    pub(crate) probes_failed: u32,
    /// The last success since the endpoint was set up here.
    pub(crate) last_success_ms: Option<i64>,
    /// The webhook's own, by which its URLs are told apart: this is the health of one of them.
    pub(crate) url_changed_at: Option<DateTime<Utc>>,
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HealthChange {
    pub(crate) from: HealthState,
    pub(crate) to: HealthState,
    /// When `from` began.
    pub(crate) from_since_ms: i64,
}

/// Attempts in a row without an answer that open the circuit.
const UNANSWERED_TO_OPEN: u32 = 10;
/// Pauses before a probe; the last one repeats.
const PROBE_PAUSES_MS: [i64; 6] = [30_000, 60_000, 120_000, 240_000, 480_000, 900_000];

impl EndpointHealth {
    /// The health of an endpoint nothing is known of.
    pub(crate) fn new(now_ms: i64) -> Self {
        Self {
            state: HealthState::New,
            reason: None,
            since_ms: now_ms,
            unanswered: 0,
            failed: 0,
            probe_at_ms: 0,
            probes_failed: 0,
            last_success_ms: None,
            url_changed_at: None,
        }
    }

    /// True if nothing holds the endpoint back.
    pub(crate) const fn is_well(&self) -> bool {
        matches!(self.state, HealthState::New | HealthState::Ok)
    }

    /// True if it says more than that the endpoint is well.
    pub(crate) const fn is_notable(&self) -> bool {
        !self.is_well() || self.failed > 0 || self.unanswered > 0
    }

    /// Makes it the health of the URL that was set at `url_changed_at`, and forgets what was found
    /// at another one. An open circuit stays open, as only a success closes it, but its probe does
    /// not wait. True if anything was forgotten.
    pub(crate) fn take_url(&mut self, url_changed_at: Option<DateTime<Utc>>, now_ms: i64) -> bool {
        let before = std::mem::replace(&mut self.url_changed_at, url_changed_at);
        if before == url_changed_at || !self.is_notable() {
            return false;
        }
        (self.unanswered, self.failed, self.probes_failed) = (0, 0, 0);
        match self.state {
            HealthState::Open => self.probe_at_ms = now_ms,
            HealthState::New | HealthState::Ok => {}
            // The webhook itself says whether it is disabled.
            HealthState::Careful | HealthState::Disabled => {
                let state = match self.last_success_ms {
                    Some(_) => HealthState::Ok,
                    None => HealthState::New,
                };
                self.enter(state, None, now_ms);
            }
        }
        true
    }

    /// Counts an attempt that ended at `now_ms`. `threshold` deliveries in a row that failed for
    /// good open the circuit.
    pub(crate) fn record(&mut self, end: AttemptEnd, threshold: u32, now_ms: i64) -> Option<HealthChange> {
        if self.state == HealthState::Disabled || end.url_changed_at != self.url_changed_at {
            return None;
        }
        if end.is_gone {
            return self.enter(HealthState::Disabled, Some(HealthReason::Gone), now_ms);
        }
        match end.ending {
            Ending::Own => return None,
            Ending::Success => {
                self.unanswered = 0;
                self.failed = 0;
                self.probes_failed = 0;
                self.last_success_ms = Some(now_ms);
                return self.enter(HealthState::Ok, None, now_ms);
            }
            Ending::Answered => self.unanswered = 0,
            Ending::Unanswered => self.unanswered = self.unanswered.saturating_add(1),
        }
        if end.is_final_failure {
            self.failed = self.failed.saturating_add(1);
        }
        if self.state == HealthState::Open {
            return self.failed_while_open(end.is_probe, now_ms);
        }
        if self.failed >= threshold {
            return self.open(HealthReason::Failures, now_ms);
        }
        if self.unanswered >= UNANSWERED_TO_OPEN {
            return self.open(HealthReason::Timeouts, now_ms);
        }
        if end.ending == Ending::Unanswered {
            return self.enter(HealthState::Careful, None, now_ms);
        }
        None
    }

    /// True if the webhook's owner has switched it on since Bellwether disabled it. A circuit that
    /// was open for too long may have disabled the webhook in Postgres (`app::upkeep`) without an
    /// attempt of this process.
    pub(crate) fn is_over(&self, active_since_ms: i64) -> bool {
        match self.state {
            HealthState::Disabled => active_since_ms > self.since_ms,
            HealthState::Open => active_since_ms.saturating_sub(self.since_ms) >= OPEN_TOO_LONG_MS,
            _ => false,
        }
    }

    /// Time of the next probe while the circuit is open, in milliseconds since the Unix epoch.
    pub(crate) fn next_probe_ms(&self) -> Option<i64> {
        (self.state == HealthState::Open).then_some(self.probe_at_ms)
    }

    /// True if the circuit is open and a probe may be sent.
    pub(crate) fn is_probe_due(&self, now_ms: i64) -> bool {
        self.state == HealthState::Open && self.probe_at_ms <= now_ms
    }

    fn open(&mut self, reason: HealthReason, now_ms: i64) -> Option<HealthChange> {
        let change = self.enter(HealthState::Open, Some(reason), now_ms);
        self.probes_failed = 0;
        self.probe_at_ms = now_ms.saturating_add(PROBE_PAUSES_MS[0]);
        change
    }

    /// Other requests of the endpoint may still end after it opened: only a probe moves the next
    /// one on.
    fn failed_while_open(&mut self, is_probe: bool, now_ms: i64) -> Option<HealthChange> {
        let url_ms = self.url_changed_at.map_or(i64::MIN, |at| at.timestamp_millis());
        if now_ms.saturating_sub(self.since_ms.max(url_ms)) >= OPEN_TOO_LONG_MS {
            return self.enter(HealthState::Disabled, Some(HealthReason::OpenTooLong), now_ms);
        }
        if is_probe {
            self.probes_failed = self.probes_failed.saturating_add(1);
            let pause = PROBE_PAUSES_MS[(self.probes_failed as usize).min(PROBE_PAUSES_MS.len() - 1)];
            self.probe_at_ms = now_ms.saturating_add(pause);
        }
        None
    }

    fn enter(
        &mut self,
        state: HealthState,
        reason: Option<HealthReason>,
        now_ms: i64,
    ) -> Option<HealthChange> {
        if self.state == state {
            return None;
        }
        let change = HealthChange {
            from: self.state,
            to: state,
            from_since_ms: self.since_ms,
        };
        if self.state == HealthState::Open {
            self.probe_at_ms = 0;
        }
        self.state = state;
        self.reason = reason;
        self.since_ms = now_ms;
        Some(change)
    }
}

#[cfg(test)]
mod tests;
