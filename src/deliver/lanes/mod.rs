//! Chooses the next delivery to send: a queue, limits and health for each endpoint, shares for
//! sites, hosts and the process.
//!
//! In: deliveries that may be sent, outcomes, settings, the time. Out: deliveries to start, and
//! deliveries to park with the reason and the time at which to look again. Guaranteed: while the
//! process has room and the site less than seven eighths of it, an endpoint that is well and has
//! nothing in flight starts at once, whatever others do; nothing waits here longer than
//! `LaneLimits::longest_wait`. Not here: waiting itself, Postgres, HTTP.

/// The ladder an endpoint climbs down when it fails.
pub(crate) mod health;
/// A limit on young requests that follows what throughput needs.
pub(crate) mod flow;
/// A token bucket.
mod rate;
/// Requests in flight of a site or a host, and the endpoints that wait for one of them to end.
mod share;
/// The queue and limits of one endpoint.
mod endpoint;
/// Endpoints that are not sent to at all for now.
mod held_back;
/// Answers of the scheduler.
pub(crate) mod action;
/// Arrivals, outcomes, health and time in; starts and parked deliveries out.
pub(crate) mod scheduler;

pub(crate) use endpoint::{EndpointSettings, QueueKind};

use std::time::Duration;

/// Bounds of what one process has in flight and in its queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneLimits {
    /// Requests of the process.
    pub(crate) in_flight: u32,
    /// Requests of one site, beyond the first of each endpoint that is well.
    pub(crate) per_site: u32,
    /// Requests to one host, beyond the first of each endpoint that is well.
    pub(crate) per_host: u32,
    /// Deliveries that one endpoint may have in its queue.
    pub(crate) queue_per_endpoint: usize,
    /// Deliveries in all queues together. Beyond it only endpoints with an empty queue may add one.
    pub(crate) queued: usize,
    /// Time after which a waiting delivery is parked.
    pub(crate) longest_wait: Duration,
}

impl LaneLimits {
    /// Limits of a process that sends `in_flight` requests at a time.
    pub(crate) fn new(in_flight: u32) -> Self {
        Self {
            in_flight,
            per_site: 32.min((in_flight / 2).max(1)),
            per_host: 64,
            queue_per_endpoint: 256,
            queued: 8_192,
            longest_wait: Duration::from_secs(5),
        }
    }

    /// Requests of all careful endpoints together.
    pub(crate) fn careful(&self) -> u32 {
        (self.in_flight / 2).max(1)
    }

    /// Requests of one site, the first of each endpoint included: one site cannot fill the process.
    /// It is well above [`Self::careful`], so that a site's endpoints that fail leave room to those
    /// that are well.
    pub(crate) fn per_site_at_most(&self) -> u32 {
        self.in_flight.saturating_sub((self.in_flight / 8).max(1)).max(1)
    }
}
