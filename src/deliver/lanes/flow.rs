//! A limit on requests that follows what throughput needs.
//!
//! After a `kill -9` everything is sent again that was sent and not yet recorded. So no more is in
//! flight than the measured time from start to record asks for. The limit grows by a part for as
//! long as that time stays near the shortest that was seen, and shrinks when it does not: then more
//! requests only wait for each other. Requests that are not answered soon do not count: they wait
//! for a slow endpoint, and fewer others would make nothing quicker. What is answered counts until
//! it is recorded.
//!
//! After a rest there is no such limit for a moment: a notification for a thousand webhooks is sent
//! as fast as it can be, and recorded while it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

/// Least limit: a database that has just become slow still gets a thousand records a second.
const LEAST: usize = 96;
/// Limit with which requests hardly wait for each other; the shortest time is measured with it.
const MEASURING_LIMIT: usize = 48;
/// Age from which on a request without an answer is not young.
const OLD: Duration = Duration::from_millis(250);
/// Young requests below which the deliverer rests.
const RESTING: usize = 16;
/// Rest after which a burst may begin: longer than the moments in which few requests are young
/// because a batch of outcomes was just written.
const REST: Duration = Duration::from_millis(250);
/// Time for which a burst is not limited.
const BURST: Duration = Duration::from_millis(100);
/// Time over which the limit is adapted.
const WINDOW: Duration = Duration::from_millis(100);
/// Records of a window without which nothing is learnt.
const FEWEST: u32 = 16;
/// Windows with waiting deliveries after which the shortest time is measured for the first, second
/// and third time, and between any two later ones: endpoints and machines change.
const MEASURING_AFTER: [u32; 4] = [3, 8, 40, 100];
/// Highest limit until the second measurement: a process that has just begun is slow.
const BEGINNING: usize = 2 * LEAST;
/// Windows of a measurement: the first one still has requests from before.
const MEASURING_WINDOWS: u32 = 2;
/// Part of the shortest time that may be added before the limit shrinks, and a constant: short
/// times vary more.
const TOLERANCE: f64 = 1.6;
const TOLERANCE_CONSTANT: Duration = Duration::from_millis(4);

/// Number of a request, by which its record is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestNumber(u64);

impl RequestNumber {
    /// Returns it as Postgres keeps it.
    pub(crate) fn number(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

/// The limit, and the requests that are not recorded.
#[derive(Debug)]
pub(crate) struct FlowLimit {
    most: usize,
    limit: f64,
    young: BTreeMap<RequestNumber, Instant>,
    /// Requests that wait for a slow endpoint.
    old: HashSet<RequestNumber>,
    /// Requests that are answered and not recorded, with their begin if they were young then.
    answered: HashMap<RequestNumber, Option<Instant>>,
    next: u64,
    window_ends: Instant,
    /// When a request last began beside too many young ones for a rest.
    busy_at: Option<Instant>,
    /// When the limit holds again after a rest.
    burst_ends: Instant,
    /// Sum and count of the times in this window.
    times: (Duration, u32),
    was_reached: bool,
    /// The shortest mean time of a window.
    shortest: Duration,
    /// Windows until the shortest time is measured, and how often it was, up to three.
    windows: u32,
    measured: usize,
    /// Windows left of measuring it.
    measuring: u32,
    limit_before: f64,
}

impl FlowLimit {
    /// Makes a limit of at most `most` requests.
    pub(crate) fn new(most: usize, now: Instant) -> Self {
        Self {
            most,
            limit: LEAST.min(most) as f64,
            young: BTreeMap::new(),
            old: HashSet::new(),
            answered: HashMap::new(),
            next: 0,
            window_ends: now + WINDOW,
            busy_at: None,
            burst_ends: now,
            times: (Duration::ZERO, 0),
            was_reached: false,
            shortest: Duration::MAX,
            windows: MEASURING_AFTER[0],
            measured: 0,
            measuring: 0,
            limit_before: LEAST.min(most) as f64,
        }
    }

    /// Counts a request that starts.
    pub(crate) fn started(&mut self, now: Instant) -> RequestNumber {
        let number = RequestNumber(self.next);
        self.next += 1;
        self.young.insert(number, now);
        if self.counted() >= RESTING {
            self.busy_at = Some(now);
        }
        number
    }

    /// Counts a request that has ended. That may be told after it is recorded.
    pub(crate) fn answered(&mut self, number: RequestNumber) {
        let young_since = self.young.remove(&number);
        if young_since.is_some() || self.old.remove(&number) {
            self.answered.insert(number, young_since);
        }
    }

    /// Forgets a request whose record waits for a row that another session holds.
    pub(crate) fn set_aside(&mut self, number: RequestNumber) {
        self.young.remove(&number);
        self.old.remove(&number);
        self.answered.remove(&number);
    }

    /// Counts a request that is recorded, or was not made.
    pub(crate) fn recorded(&mut self, number: RequestNumber, now: Instant) {
        let answered = self.answered.remove(&number).flatten();
        if let Some(start) = answered.or_else(|| self.young.remove(&number)) {
            self.times.0 += now.saturating_duration_since(start);
            self.times.1 += 1;
        }
        self.old.remove(&number);
    }

    /// Requests that may start now.
    pub(crate) fn room(&mut self, now: Instant) -> usize {
        while let Some(oldest) = self.young.first_entry()
            && now.saturating_duration_since(*oldest.get()) > OLD
        {
            self.old.insert(*oldest.key());
            oldest.remove();
        }
        if now >= self.window_ends {
            self.adapt();
            self.window_ends = now + WINDOW;
        }
        let limit = match self.is_burst(now) {
            true => self.most,
            false => self.limit as usize,
        };
        let room = limit.saturating_sub(self.counted());
        self.was_reached |= room == 0;
        room
    }

    fn counted(&self) -> usize {
        self.young.len() + self.answered.len()
    }

    /// True in the first moment after a rest. While the shortest time is measured, requests are not
    /// to wait for each other.
    fn is_burst(&mut self, now: Instant) -> bool {
        if self.counted() >= RESTING {
            self.busy_at = Some(now);
        } else if self
            .busy_at
            .is_none_or(|at| now.saturating_duration_since(at) >= REST)
        {
            self.burst_ends = now + BURST;
        }
        self.measuring == 0 && now < self.burst_ends
    }

    /// When there is room again at the latest, if there is none now.
    pub(crate) fn next_room(&self) -> Option<Instant> {
        let is_full = self.counted() >= self.limit as usize;
        let oldest = self.young.first_key_value();
        let old_at = oldest.map(|(_, start)| *start + OLD + Duration::from_millis(1));
        is_full.then(|| old_at.unwrap_or(self.window_ends))
    }

    fn adapt(&mut self) {
        let (sum, count) = std::mem::take(&mut self.times);
        let was_reached = std::mem::take(&mut self.was_reached);
        if count < FEWEST {
            return;
        }
        let mean = sum / count;
        if self.measuring > 0 {
            self.measuring -= 1;
            if self.measuring == 0 {
                self.shortest = mean;
                self.limit = self.limit_before;
            }
            return;
        }
        self.shortest = self.shortest.min(mean);
        let allowed = self.shortest.mul_f64(TOLERANCE) + TOLERANCE_CONSTANT;
        if mean > allowed {
            self.limit *= (allowed.as_secs_f64() / mean.as_secs_f64()).max(0.8);
        } else if was_reached {
            self.limit += (self.limit / 8.0).max(2.0);
        }
        let least = LEAST.min(self.most) as f64;
        let most = match self.measured {
            0..2 => self.most.min(BEGINNING),
            _ => self.most,
        };
        self.limit = self.limit.clamp(least, most as f64);
        self.windows -= u32::from(was_reached);
        if self.windows == 0 {
            self.measured = (self.measured + 1).min(MEASURING_AFTER.len() - 1);
            self.windows = MEASURING_AFTER[self.measured];
            self.measuring = MEASURING_WINDOWS;
            self.limit_before = std::mem::replace(&mut self.limit, MEASURING_LIMIT.min(self.most) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// Runs a machine that serves `width` requests at a time, each in `service`, for so many
    /// milliseconds. Returns the limit and the requests a second at the end.
    fn run(width: usize, service: Duration, ms: u64) -> (usize, usize) {
        let (flow, rate, _) = run_varying(width, |_| service, ms);
        (flow.limit as usize, rate)
    }

    /// Does the same with a time of service that depends on the time since the start. Returns the
    /// greatest number of requests that were under way after the burst, too.
    fn run_varying(
        width: usize,
        service: impl Fn(Duration) -> Duration,
        ms: u64,
    ) -> (FlowLimit, usize, usize) {
        let start = clock::monotonic();
        let mut flow = FlowLimit::new(512, start);
        let mut most = 0;
        let mut waiting: Vec<RequestNumber> = Vec::new();
        let mut serving: Vec<(Instant, RequestNumber)> = Vec::new();
        let mut done = 0;
        for step in 0..ms * 10 {
            let now = start + Duration::from_micros(step * 100);
            serving.retain(|(end, number)| {
                let is_done = *end <= now;
                if is_done {
                    flow.recorded(*number, now);
                    done += usize::from(step > ms * 5);
                }
                !is_done
            });
            for _ in 0..flow.room(now) {
                waiting.push(flow.started(now));
            }
            while serving.len() < width && !waiting.is_empty() {
                serving.push((now + service(now - start), waiting.remove(0)));
            }
            if step > 5_000 {
                most = most.max(waiting.len() + serving.len());
            }
        }
        (flow, done * 2_000 / ms as usize, most)
    }

    #[test]
    fn no_more_is_in_flight_than_throughput_needs() {
        // 9,000 a second at most: beyond 45 in flight the others only wait.
        let (limit, rate) = run(45, Duration::from_millis(5), 10_000);
        assert!(limit <= 130, "{limit}");
        assert!(rate >= 8_900, "{rate}");
    }

    #[test]
    fn a_slow_beginning_does_not_fill_the_process() {
        // Connections are made, caches are cold, a compiler runs beside.
        let service = |since: Duration| match since.as_millis() {
            0..800 => Duration::from_millis(40),
            800..1_600 => Duration::from_millis(20),
            _ => Duration::from_millis(10),
        };
        let (_, rate, most) = run_varying(45, service, 6_000);
        assert!(most <= 200, "{most}");
        assert!(rate >= 4_400, "{rate}");
    }

    #[test]
    fn a_burst_after_a_rest_has_no_other_limit() {
        let start = clock::monotonic();
        let mut flow = FlowLimit::new(512, start);
        let at = |ms: u64| start + Duration::from_millis(ms);
        let burst: Vec<_> = (0..flow.room(start)).map(|_| flow.started(start)).collect();
        assert_eq!(burst.len(), 512);
        for number in &burst[..400] {
            flow.recorded(*number, at(50));
        }
        assert_eq!(flow.room(at(60)), 400, "the burst goes on");
        assert_eq!(flow.room(at(110)), 0, "112 are young");
        for number in &burst[400..] {
            flow.recorded(*number, at(120));
        }
        assert_eq!(flow.room(at(120)), LEAST, "no rest yet");
        assert_eq!(flow.room(at(360)), 512, "a rest");
    }

    #[test]
    fn a_drain_that_is_recorded_in_batches_is_no_rest() {
        let start = clock::monotonic();
        let mut flow = FlowLimit::new(512, start);
        let mut most = 0;
        for batch in 0..500 {
            let now = start + Duration::from_millis(batch * 8);
            let numbers: Vec<_> = (0..flow.room(now)).map(|_| flow.started(now)).collect();
            if batch > 13 {
                most = most.max(numbers.len());
            }
            let recorded = now + Duration::from_millis(7);
            for number in numbers {
                flow.recorded(number, recorded);
            }
        }
        assert!(most < 200, "{most}");
    }

    #[test]
    fn far_endpoints_get_all_that_they_need() {
        let (limit, rate) = run(10_000, Duration::from_millis(100), 5_000);
        assert_eq!(limit, 512);
        assert!(rate >= 4_900, "{rate}");
    }

    #[test]
    fn what_is_answered_counts_until_it_is_recorded() {
        let start = clock::monotonic();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut flow = FlowLimit::new(512, start);
        let requests: Vec<_> = (0..512).map(|_| flow.started(start)).collect();
        // Half of them are old when their answers come; one is recorded before its answer is told.
        for number in &requests[..256] {
            flow.answered(*number);
        }
        flow.recorded(requests[511], at(290));
        assert!(flow.room(at(300)) == 0, "256 are answered");
        for number in &requests[256..] {
            flow.answered(*number);
        }
        assert_eq!(flow.counted(), 511);
        assert_eq!(flow.next_room(), Some(at(400)), "none is young");
        for number in &requests[..500] {
            flow.recorded(*number, at(320));
        }
        assert_eq!((flow.counted(), flow.room(at(330))), (11, LEAST - 11));
        // Somebody else holds the rows of the others; the answer of one is told after that.
        for number in &requests[500..511] {
            flow.set_aside(*number);
            flow.answered(*number);
        }
        assert_eq!(flow.counted(), 0);
        assert!(flow.old.is_empty() && flow.young.is_empty());
    }

    #[test]
    fn what_is_not_answered_soon_keeps_nobody_waiting() {
        let start = clock::monotonic();
        let mut flow = FlowLimit::new(512, start);
        for _ in 0..flow.room(start) {
            flow.started(start);
        }
        assert_eq!(flow.room(start), 0);
        let room_at = flow.next_room().expect("none now");
        assert!(flow.room(room_at) >= LEAST, "they hang and do not count");
        assert_eq!(flow.next_room(), None);
    }
}
