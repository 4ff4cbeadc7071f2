//! The engine against a model that is slow and shares nothing with it: it lists every event, walks
//! time second by second, and counts by looking at every visitor.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use crate::detect::tests::fixtures::{Fed, json, site, spike, view};

const OUT_OF_ORDER: i64 = 10;

/// Threshold and window of each site's triggers.
const SITES: [(&str, &[(u32, u32)]); 2] = [
    ("a", &[(2, 300), (3, 60), (5, 300), (1, 120)]),
    ("b", &[(4, 200)]),
];

#[derive(Default)]
struct Model {
    events: HashMap<&'static str, Vec<(u64, i64)>>,
    clocks: HashMap<&'static str, i64>,
    partition: i64,
    /// Firing triggers by site, threshold and window, each with the second since which it is calm.
    firing: BTreeMap<(&'static str, u32, u32), Option<i64>>,
}

impl Model {
    fn count(&self, site: &str, window: u32, now: i64) -> u32 {
        let mut latest = HashMap::<u64, i64>::new();
        for (visitor, second) in &self.events[site] {
            let known = latest.entry(*visitor).or_insert(*second);
            *known = (*known).max(*second);
        }
        let current = latest
            .values()
            .filter(|second| now - **second <= i64::from(window));
        current.count() as u32
    }

    /// Returns the triggers that the event fires, as threshold, window, count and second.
    fn event(&mut self, site: &'static str, visitor: u64, second: i64) -> Vec<(u32, u32, u32, i64)> {
        let (_, triggers) = SITES.into_iter().find(|(id, _)| *id == site).expect("a site");
        self.partition = self.partition.max(second);
        self.events.entry(site).or_default();
        let before = self.clocks.get(site).copied().unwrap_or(0);
        let now = before.max(second).max(self.partition - OUT_OF_ORDER);
        self.clocks.insert(site, now);
        if self.firing.keys().any(|(of, _, _)| *of == site) {
            for instant in before + 1..=now {
                for (threshold, window) in triggers {
                    let key = (site, *threshold, *window);
                    let Some(calm_since) = self.firing.get(&key).copied() else {
                        continue;
                    };
                    let level = (threshold * 4 / 5).min(threshold - 1);
                    match calm_since {
                        Some(since) if instant == since + 60 => {
                            self.firing.remove(&key);
                        }
                        None if self.count(site, *window, instant) <= level => {
                            self.firing.insert(key, Some(instant));
                        }
                        _ => {}
                    }
                }
            }
        }
        self.events.entry(site).or_default().push((visitor, second));
        let mut fired = Vec::new();
        for (threshold, window) in triggers {
            let key = (site, *threshold, *window);
            let count = self.count(site, *window, now);
            let level = (threshold * 4 / 5).min(threshold - 1);
            match self.firing.get(&key) {
                None if count >= *threshold => {
                    self.firing.insert(key, None);
                    fired.push((*threshold, *window, count, now));
                }
                Some(Some(_)) if count > level => {
                    self.firing.insert(key, None);
                }
                _ => {}
            }
        }
        fired.sort_unstable();
        fired
    }
}

fn stream() -> impl Strategy<Value = Vec<(usize, u64, i64)>> {
    // The step of the stream's time, and the lateness of the event.
    let gap = prop_oneof![6 => 0_i64..12, 3 => 20_i64..90, 1 => 100_i64..900];
    let late = prop_oneof![4 => Just(0_i64), 3 => 0_i64..30, 2 => 30_i64..320, 1 => Just(300)];
    let event = (0_usize..2, 0_u64..8, gap, late);
    proptest::collection::vec(event, 1..160).prop_map(|events| {
        let mut now = 1_000;
        let at = |(site, visitor, gap, late)| {
            now += gap;
            (site, visitor, now - late)
        };
        events.into_iter().map(at).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn spikes_are_those_of_a_model_that_walks_every_second(
        events in stream(),
        tick_every in 1_usize..40,
    ) {
        let mut fed = Fed::log(SITES.map(|(id, triggers)| {
            site(id, triggers.iter().map(|(threshold, window)| spike(*threshold, *window)))
        }));
        let mut model = Model::default();
        for (number, (place, visitor, second)) in events.into_iter().enumerate() {
            let (site_id, _) = SITES[place];
            let name = format!("visitor {visitor}");
            let mut fired: Vec<(u32, u32, u32, i64)> = fed
                .feed(&view(site_id, &name, second))
                .iter()
                .map(|decision| {
                    let body = json(decision);
                    let number = |field: &str| body["data"][field].as_u64().expect("a number") as u32;
                    let at = body["timestamp"].as_str().expect("a time");
                    let at = chrono::DateTime::parse_from_rfc3339(at).expect("a time").timestamp();
                    (number("threshold"), number("window_seconds"), number("current_visitors"), at)
                })
                .collect();
            fired.sort_unstable();
            prop_assert_eq!(fired, model.event(site_id, visitor, second), "event {}", number);
            // The instant at which silent sites are moved on changes nothing.
            if number % tick_every == 0 {
                fed.engine.tick(0, number % 2 == 0);
            }
        }
    }
}
