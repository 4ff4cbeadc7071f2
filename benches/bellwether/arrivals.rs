//! Goals published on a schedule, and when each of them arrived somewhere.
//!
//! The loop is open: the schedule waits for nothing, and time is counted from the schedule. So a
//! stall of publisher, broker, service or receiver counts for every event that it delays.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::receiver::Receiver;
use super::{events, kafka};

/// Goals at a fixed rate, of one of these sites after another.
#[derive(Debug, Clone)]
pub struct Load {
    pub source: String,
    pub sites: Range<u64>,
    /// Events a second.
    pub rate: u64,
}

impl Load {
    /// Publishes the events of these numbers on schedule.
    pub fn publish(&self, numbers: Range<u64>, clock: Instant) -> Publishing {
        let load = self.clone();
        Publishing(std::thread::spawn(move || load.publish_all(numbers, clock)))
    }

    fn publish_all(&self, numbers: Range<u64>, clock: Instant) -> anyhow::Result<Schedule> {
        let producer = kafka::Producer::new(Duration::ZERO)?;
        let begun = clock.elapsed() + Duration::from_millis(50);
        for number in numbers.clone() {
            let due = begun + Duration::from_nanos((number - numbers.start) * 1_000_000_000 / self.rate);
            // Behind the schedule it does not sleep.
            std::thread::sleep(due.saturating_sub(clock.elapsed()));
            let site = self.sites.start + number % (self.sites.end - self.sites.start);
            producer.send_goal(&self.source, site, number)?;
        }
        producer.flush()?;
        Ok(Schedule {
            begun: u64::try_from(begun.as_nanos())?,
            first: numbers.start,
            rate: self.rate,
        })
    }
}

/// A publisher in a thread of its own.
pub struct Publishing(std::thread::JoinHandle<anyhow::Result<Schedule>>);

impl Publishing {
    /// Waits until all events are acknowledged.
    pub fn end(self) -> anyhow::Result<Schedule> {
        self.0
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the publisher panicked")))
    }
}

/// When each event should have been published.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Nanoseconds of the clock of the arrivals.
    begun: u64,
    first: u64,
    rate: u64,
}

/// When each numbered event arrived first.
#[derive(Debug, Clone)]
pub struct Arrivals {
    clock: Instant,
    /// Nanoseconds of the clock; 0 before the arrival.
    at: Arc<[AtomicU64]>,
}

impl Arrivals {
    /// Waits for the events 0 to `total` − 1.
    pub fn of(total: u64) -> Self {
        Self {
            clock: Instant::now(),
            at: (0..total).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Starts a receiver that notes every request.
    pub fn receiver(&self) -> anyhow::Result<Receiver> {
        let this = self.clone();
        Receiver::start(move |request| {
            this.note(events::number(request.body));
            true
        })
    }

    pub const fn clock(&self) -> Instant {
        self.clock
    }

    /// Notes that this event arrived now. The first arrival counts, also when a request is repeated.
    pub fn note(&self, number: Option<u64>) {
        let slot = number.and_then(|number| self.at.get(usize::try_from(number).ok()?));
        if let Some(slot) = slot {
            let now = u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let _ = slot.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// True when all these events have arrived.
    pub fn have_all(&self, numbers: Range<u64>) -> bool {
        let has = |number: u64| {
            usize::try_from(number)
                .ok()
                .and_then(|number| self.at.get(number))
                .is_some_and(|slot| slot.load(Ordering::Relaxed) > 0)
        };
        // The last ones are the likeliest to be missing.
        numbers.rev().all(has)
    }

    /// Milliseconds from schedule to arrival.
    pub fn latencies(&self, schedule: Schedule, numbers: Range<u64>) -> anyhow::Result<Vec<f64>> {
        let latency = |number: u64| {
            let due = schedule.begun + (number - schedule.first) * 1_000_000_000 / schedule.rate;
            let slot = self.at.get(usize::try_from(number)?).context("a number")?;
            let arrival = slot.load(Ordering::Relaxed);
            anyhow::ensure!(arrival > 0, "event {number} never arrived");
            Ok((arrival as f64 - due as f64) / 1e6)
        };
        numbers.map(latency).collect()
    }
}
