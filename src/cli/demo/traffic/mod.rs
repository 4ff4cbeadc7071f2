//! Visits of the made-up sites: by chance, at a rate that follows the hour of the day, and in
//! surges.
//!
//! Pure: the same seed gives the same events, in whatever steps they are asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use serde_json::json;

use super::sites::{DemoSite, SITES, Success};

const HOUR_MS: f64 = 3_600_000.0;
/// Time between two pages of a visit, on average.
const READING_MS: f64 = 40_000.0;
/// Orders and the like in a second of real time, over the busiest hour.
const SUCCESSES_A_SECOND: f64 = 0.1;
/// At most this share of visits ends so.
const MAX_SUCCESS_SHARE: f64 = 0.05;
/// The window of current visitors, in seconds.
const WINDOW_SECONDS: f64 = 300.0;

/// Times in seconds of real time, so that one waits equally long at any speed.
mod pace {
    /// Time from the start to the first surge, and from one to the next; each time another site's.
    pub(super) const FIRST_SURGE: f64 = 8.0;
    pub(super) const BETWEEN_SURGES: f64 = 35.0;
    /// Time for which a surge grows, for which it holds, and after which two thirds of it have
    /// gone.
    pub(super) const GROWS: f64 = 1.0;
    pub(super) const HOLDS: f64 = 5.0;
    pub(super) const GOES: f64 = 2.0;
    /// Time from the start to the outage of the first site, which nobody reaches meanwhile, and how
    /// long it lasts.
    pub(super) const OUTAGE: f64 = 20.0;
    pub(super) const OUTAGE_LASTS: f64 = 12.0;
    /// Each site has a success for certain by then, one after the other.
    pub(super) const CERTAIN_SUCCESS: f64 = 3.0;
}

/// An event to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    /// Place of its site in [`SITES`].
    pub(super) site: usize,
    /// Milliseconds since the Unix epoch, by the sites' clock.
    pub(super) at_ms: i64,
    pub(super) visitor: u64,
    /// The native event.
    pub(super) json: String,
}

/// The visitors of all sites.
#[derive(Debug)]
pub(super) struct Traffic {
    sites: Vec<SiteTraffic>,
}

#[derive(Debug)]
struct SiteTraffic {
    place: usize,
    site: &'static DemoSite,
    rng: StdRng,
    start_ms: i64,
    /// Seconds of the sites' time in one of real time.
    speed: f64,
    /// The next visit that might begin, if the rate then is high enough.
    next_ms: f64,
    certain_success_ms: Option<f64>,
    /// Events of the visits under way that are still to come.
    planned: BinaryHeap<Reverse<Planned>>,
    serial: u64,
}

/// Ordered by time, then in the order planned.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Planned {
    at_ms: i64,
    serial: u64,
    visitor: u64,
    json: String,
}

impl Traffic {
    /// Traffic that begins at `start_ms` and runs `speed` times faster than life.
    pub(super) fn new(seed: u64, start_ms: i64, speed: f64) -> Self {
        let sites = SITES
            .iter()
            .enumerate()
            .map(|(place, site)| SiteTraffic::new(seed, place, site, start_ms, speed))
            .collect();
        Self { sites }
    }

    /// Every event up to `to_ms`, in the order of their times.
    pub(super) fn advance(&mut self, to_ms: i64) -> Vec<Published> {
        let mut events: Vec<Published> = self
            .sites
            .iter_mut()
            .flat_map(|site| site.advance(to_ms))
            .collect();
        events.sort_by_key(|event| event.at_ms);
        events
    }
}

impl SiteTraffic {
    fn new(seed: u64, place: usize, site: &'static DemoSite, start_ms: i64, speed: f64) -> Self {
        // Each site has chance of its own, so that what happens on one does not depend on the
        // others.
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(SITES.len() as u64).wrapping_add(place as u64));
        let order = (place + 1) as f64;
        Self {
            place,
            site,
            rng,
            start_ms,
            speed,
            next_ms: start_ms as f64,
            certain_success_ms: Some(start_ms as f64 + order * pace::CERTAIN_SUCCESS * 1_000.0 * speed),
            planned: BinaryHeap::new(),
            serial: 0,
        }
    }

    fn advance(&mut self, to_ms: i64) -> Vec<Published> {
        // Visits come at the highest rate there is, and chance keeps as many as the rate of their
        // moment allows.
        let highest = self.site.busiest + self.surge_height();
        // Whole milliseconds are what counts, so the last one is taken whole.
        while self.next_ms < (to_ms + 1) as f64 {
            let at_ms = self.next_ms;
            let usual = match self.is_out(at_ms) {
                true => 0.0,
                false => self.site.rate(at_ms.rem_euclid(24.0 * HOUR_MS) / HOUR_MS),
            };
            let surge = self.surge_height() * self.surge_share(at_ms);
            let drawn = self.rng.random::<f64>() * highest;
            if drawn < usual {
                self.plan_visit(at_ms);
            } else if drawn < usual + surge {
                self.plan_glance(at_ms);
            }
            self.next_ms += self.exponential(1_000.0 / highest);
        }
        let mut events = Vec::new();
        while self
            .planned
            .peek()
            .is_some_and(|Reverse(first)| first.at_ms <= to_ms)
        {
            if let Some(Reverse(one)) = self.planned.pop() {
                events.push(Published {
                    site: self.place,
                    at_ms: one.at_ms,
                    visitor: one.visitor,
                    json: one.json,
                });
            }
        }
        events
    }

    /// True during the outage of the first site: it lasts until the last visitors have left the
    /// window, so that a drop is seen soon after the start.
    fn is_out(&self, at_ms: f64) -> bool {
        let since = (at_ms - self.start_ms as f64) / 1_000.0 / self.speed - pace::OUTAGE;
        let lasts = pace::OUTAGE_LASTS.max(2.0 * WINDOW_SECONDS / self.speed);
        self.place == 0 && (0.0..lasts).contains(&since)
    }

    /// Extra visits a second at the height of a surge: what it takes to pass the threshold well
    /// within its holding.
    fn surge_height(&self) -> f64 {
        let seconds = (pace::HOLDS * self.speed).min(WINDOW_SECONDS);
        1.7 * f64::from(self.site.threshold) / seconds
    }

    /// The part of its height that a surge has, from 0 to 1.
    fn surge_share(&self, at_ms: f64) -> f64 {
        let since_start = (at_ms - self.start_ms as f64) / 1_000.0 / self.speed;
        let round = SITES.len() as f64 * pace::BETWEEN_SURGES;
        // The second site is first, the others take their turns after it.
        let turn = (self.place + SITES.len() - 1) % SITES.len();
        let since = since_start - pace::FIRST_SURGE - turn as f64 * pace::BETWEEN_SURGES;
        if since < 0.0 {
            return 0.0;
        }
        let since = since.rem_euclid(round);
        if since < pace::GROWS {
            since / pace::GROWS
        } else {
            (-(since - pace::GROWS - pace::HOLDS).max(0.0) / pace::GOES).exp()
        }
    }

    /// A visit as on any day: some pages, and now and then a success.
    fn plan_visit(&mut self, at_ms: f64) {
        let visitor = self.rng.next_u64();
        let site = self.site;
        let source = self.pick(site.sources);
        let mut at_ms = at_ms;
        let pages = 1 + self.exponential(1.5).min(6.0) as usize;
        for page in 0..pages {
            let path = self.pick(site.pages);
            self.plan(at_ms, visitor, pageview(path, (page == 0).then_some(source)));
            at_ms += 2_000.0 + self.exponential(READING_MS);
        }
        let share = SUCCESSES_A_SECOND / (site.busiest * self.speed);
        let mut succeeds = self.rng.random::<f64>() < share.min(MAX_SUCCESS_SHARE);
        if let Some(by_ms) = self.certain_success_ms
            && at_ms >= by_ms
        {
            self.certain_success_ms = None;
            succeeds = true;
        }
        if succeeds {
            let json = self.success();
            self.plan(at_ms, visitor, json);
        }
    }

    /// A visit of someone who followed the link of a surge: one page, and gone.
    fn plan_glance(&mut self, at_ms: f64) {
        let visitor = self.rng.next_u64();
        let (source, path) = self.site.surge;
        self.plan(at_ms, visitor, pageview(path, Some(source)));
    }

    fn success(&mut self) -> serde_json::Value {
        match self.site.success {
            Success::Order => {
                let cents: u32 = self.rng.random_range(900..19_900);
                let amount = format!("{}.{:02}", cents / 100, cents % 100);
                json!({"type": "goal", "name": "Order", "path": "/cart/done", "revenue": {"amount": amount, "currency": "EUR"}})
            }
            Success::Custom(name) => {
                let path = self.pick(self.site.pages);
                json!({"type": "custom", "name": name, "path": path})
            }
            Success::Page(path) => pageview(path, None),
        }
    }

    fn plan(&mut self, at_ms: f64, visitor: u64, mut event: serde_json::Value) {
        let at_ms = at_ms as i64;
        event["site_id"] = self.site.id.into();
        event["visitor_id"] = format!("{visitor:016x}").into();
        event["timestamp"] = at_ms.into();
        self.serial += 1;
        self.planned.push(Reverse(Planned {
            at_ms,
            serial: self.serial,
            visitor,
            json: event.to_string(),
        }));
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        // 1 − u is never 0.
        -mean * (1.0 - self.rng.random::<f64>()).ln()
    }

    /// One of a list, each half as likely as the one before.
    fn pick(&mut self, list: &[&'static str]) -> &'static str {
        let halvings = self.rng.next_u64().trailing_ones() as usize;
        list.get(halvings % list.len().max(1))
            .copied()
            .unwrap_or_default()
    }
}

fn pageview(path: &str, source: Option<&str>) -> serde_json::Value {
    let mut event = json!({"type": "pageview", "path": path});
    if let Some(source) = source.filter(|source| !source.is_empty()) {
        event["source"] = source.into();
    }
    event
}

#[cfg(test)]
mod tests;
