//! Drops against a model that is slow and shares nothing with the engine: it lists every visitor,
//! and counts by looking at all of them at each instant at which anything may change.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::detect::notification::Decision;
use crate::detect::tests::fixtures::{Fed, RECORD_MS, drop_with, json, site, view, webhook};
use crate::domain::event::EventType;
use crate::domain::registry::Site;
use crate::domain::trigger::NoticeOptions;
use crate::domain::webhook::Subscription;

const OUT_OF_ORDER: i64 = 10;
const FIRST: i64 = 1_000_000;

/// Threshold and window of the triggers: two that are counted by the table of visitors, and two by
/// the latest visitors.
pub(super) const TRIGGERS: [(u32, i64); 4] = [(2, 300), (4, 900), (3, 4_000), (1, 5_000)];

/// A notification: its type, threshold, window, count and second.
pub(super) type Told = (EventType, u32, i64, u32, i64);

struct Firing {
    calm_since: Option<i64>,
    lowest: u32,
}

/// All visitors of a site, and what was told of it.
pub(super) struct Model {
    /// Second of each visitor's latest event.
    visitors: BTreeMap<String, i64>,
    /// Second of the first event.
    first: i64,
    now: i64,
    partition: i64,
    firing: BTreeMap<(u32, i64), Firing>,
    pub(super) told: Vec<Told>,
}

impl Model {
    pub(super) fn new(first: i64) -> Self {
        Self {
            visitors: BTreeMap::new(),
            first,
            now: 0,
            partition: 0,
            firing: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    fn count(&self, window: i64) -> u32 {
        let latest = self.visitors.values();
        let current = latest.filter(|second| self.now - **second <= window);
        current.count() as u32
    }

    fn judge(&mut self, may_fire: bool) {
        for (threshold, window) in TRIGGERS {
            let count = self.count(window);
            let key = (threshold, window);
            let Some(firing) = self.firing.get_mut(&key) else {
                if may_fire && count < threshold && self.now > self.first + window {
                    let lowest = count;
                    let calm_since = None;
                    self.firing.insert(key, Firing { calm_since, lowest });
                    self.told
                        .push((EventType::VisitorDrop, threshold, window, count, self.now));
                }
                continue;
            };
            firing.lowest = firing.lowest.min(count);
            let level = threshold + threshold.div_ceil(5).max(1);
            if count < threshold {
                firing.calm_since = None;
                continue;
            }
            let since = *firing.calm_since.get_or_insert(self.now);
            if count >= level || self.now >= since + 3_600 {
                let lowest = firing.lowest;
                self.firing.remove(&key);
                self.told.push((
                    EventType::VisitorDropResolved,
                    threshold,
                    window,
                    lowest,
                    self.now,
                ));
            }
        }
    }

    fn move_to(&mut self, to: i64) {
        loop {
            let leaves = self
                .visitors
                .values()
                .chain([&self.first])
                .flat_map(|second| TRIGGERS.iter().map(move |(_, window)| second + window + 1));
            let calm = self
                .firing
                .values()
                .filter_map(|firing| Some(firing.calm_since? + 3_600));
            let next = leaves.chain(calm).filter(|at| *at > self.now && *at <= to).min();
            let Some(next) = next else { break };
            self.now = next;
            self.judge(true);
        }
        self.now = self.now.max(to);
    }

    /// Lets time pass without an event.
    pub(super) fn pass(&mut self, to: i64) {
        if !self.visitors.is_empty() {
            self.move_to(to);
        }
    }

    /// Counts an event; without it, time would have passed to `floor`.
    pub(super) fn visit(&mut self, visitor: &str, second: i64, floor: i64) {
        self.move_to(second.max(floor));
        let latest = self.visitors.entry(visitor.to_owned()).or_insert(second);
        *latest = (*latest).max(second);
        self.judge(false);
    }

    /// Counts an event of a log, in which those of other sites move time too.
    fn event(&mut self, is_own: bool, visitor: &str, second: i64) {
        self.partition = self.partition.max(second);
        let floor = self.partition - OUT_OF_ORDER;
        match is_own {
            true => self.visit(visitor, second, floor),
            false => self.pass(floor),
        }
    }
}

/// The facts that notifications of drops tell.
pub(super) fn told<'d>(decisions: impl IntoIterator<Item = &'d Decision>) -> Vec<Told> {
    let of = |decision: &Decision| {
        let body = json(decision);
        let data = &body["data"];
        let number = |field: &str| data[field].as_i64().expect("a number");
        let at = body["timestamp"].as_str().expect("a time");
        let at = chrono::DateTime::parse_from_rfc3339(at)
            .expect("a time")
            .timestamp();
        let count = match decision.event {
            EventType::VisitorDropResolved => number("peak"),
            _ => number("current_visitors"),
        };
        (
            decision.event,
            number("threshold") as u32,
            number("window_seconds"),
            count as u32,
            at,
        )
    };
    decisions.into_iter().map(of).collect()
}

fn stream() -> impl Strategy<Value = Vec<(bool, u64, i64, i64)>> {
    let gap = prop_oneof![6 => 0_i64..60, 3 => 60_i64..700, 1 => 1_000_i64..9_000];
    let late = prop_oneof![4 => Just(0_i64), 3 => 0_i64..30, 2 => 30_i64..1_200];
    let is_own = proptest::bool::weighted(0.7);
    // With few visitors, and with so many that the table holds all of the latest.
    let visitor = prop_oneof![0_u64..6, 0_u64..14];
    proptest::collection::vec((is_own, visitor, gap, late), 1..120)
}

#[test]
fn a_batch_that_begins_with_a_first_event_loses_no_drop() {
    let options = NoticeOptions {
        repeat_after_seconds: Some(600),
        notify_resolved: true,
        ..NoticeOptions::default()
    };
    let mut triggers = drop_with(2, 300, options);
    if let Some(drop) = &mut triggers.visitor_drop {
        drop.condition.require_history = false;
    }
    let own = [20, 200, 400, 1_500, 1_700];
    let mut events: Vec<(i64, &str, &str)> = own
        .into_iter()
        .flat_map(|second| ["v", "w", "x"].map(|visitor| (second, "a", visitor)))
        .collect();
    events.extend((0..3_000).step_by(7).map(|second| (second, "nobody", "c")));
    events.sort_unstable();
    // The webhook is younger than the log: no drop is due before the first event.
    let webhook = Subscription {
        active_since_ms: RECORD_MS,
        ..webhook(1, triggers)
    };
    let site = Site {
        webhooks: vec![Arc::new(webhook)],
        ..site("a", [])
    };
    for batch in [usize::MAX, 3] {
        let mut fed = Fed::log([site.clone()]);
        let mut found = Vec::new();
        for (number, (second, site_id, visitor)) in events.iter().enumerate() {
            found.extend(fed.feed(&view(site_id, visitor, FIRST + second)));
            if number % batch == 0 {
                found.extend(fed.tick(0));
            }
        }
        found.extend(fed.tick(0));
        let at = |one: &Told| (one.0, one.4 - FIRST);
        let found: Vec<(EventType, i64)> = told(&found).iter().map(at).collect();
        let expected = [
            (EventType::VisitorDrop, 701),
            (EventType::VisitorDrop, 1_301),
            (EventType::VisitorDropResolved, 1_500),
            (EventType::VisitorDrop, 2_001),
            (EventType::VisitorDrop, 2_601),
        ];
        assert_eq!(found, expected, "batches of {batch}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn drops_are_those_of_a_model_that_lists_every_visitor(
        events in stream(),
        tick_every in 1_usize..30,
    ) {
        let options = NoticeOptions { notify_resolved: true, ..NoticeOptions::default() };
        let triggers = TRIGGERS.map(|(threshold, window)| drop_with(threshold, window as u32, options));
        let mut fed = Fed::log([site("a", triggers)]);
        let mut model = Model::new(FIRST);
        let mut now = FIRST;
        let first = (true, 0, 0, 0);
        for (number, (is_own, visitor, gap, late)) in std::iter::once(first).chain(events).enumerate() {
            now += gap;
            let second = (now - late).max(FIRST);
            let name = format!("visitor {visitor}");
            let site_id = if is_own { "a" } else { "nobody" };
            let mut found = told(&fed.feed(&view(site_id, &name, second)));
            if number % tick_every == 0 {
                fed.engine.tick(0, number % 2 == 0);
            }
            model.event(is_own, &name, second);
            let mut expected = std::mem::take(&mut model.told);
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected, "event {}", number);
        }
    }
}
