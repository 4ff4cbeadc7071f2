//! A log is judged by its own clock: how much of it is read between two ticks changes nothing.

use std::sync::Arc;

use proptest::prelude::*;

use super::fixtures::*;
use crate::detect::notification::Decision;
use crate::domain::registry::Site;

const START: i64 = RECORD_MS / 1_000 - 86_400;
const VISITORS: [&str; 4] = ["1", "2", "3", "4"];

/// A site with a drop that may not need a history.
fn with_drop(id: &str, threshold: u32, require_history: bool) -> Site {
    let mut site = site(id, [drop(threshold, 120)]);
    let mut own = (*site.webhooks[0]).clone();
    // Younger than the log: no drop is due before the first event.
    own.active_since_ms = RECORD_MS;
    own.triggers
        .visitor_drop
        .as_mut()
        .expect("its drop")
        .condition
        .require_history = require_history;
    site.webhooks[0] = Arc::new(own);
    site
}

/// Reads a log, with a tick after every event of which `ticks` says so and one at its end, and
/// returns what is told.
fn told(sites: &[Site], events: &[(usize, usize, i64)], ticks: impl Fn(usize) -> bool) -> Vec<String> {
    let mut fed = Fed::log(sites.to_vec());
    let mut decided: Vec<Decision> = Vec::new();
    let mut second = START;
    for (number, (site, visitor, gap)) in events.iter().enumerate() {
        second += gap;
        let id = sites[*site].id.to_string();
        decided.extend(fed.feed(&view(&id, VISITORS[*visitor], second)));
        for one in &decided {
            fed.engine.confirm(one.site_id.as_str(), one.id);
        }
        if ticks(number) {
            decided.extend(fed.tick(RECORD_MS));
        }
    }
    decided.extend(fed.tick(RECORD_MS));
    let mut told: Vec<String> = decided.iter().map(|one| json(one).to_string()).collect();
    told.sort();
    told
}

#[test]
fn a_drop_without_history_is_told_of_a_log_read_at_once() {
    let sites = [with_drop("a", 2, false)];
    // One visitor alone for five seconds, and enough of them before the log's end.
    let events = [(0, 0, 0), (0, 1, 5), (0, 2, 1), (0, 3, 1)];
    let at_once = told(&sites, &events, |_| false);
    assert_eq!(at_once.len(), 1, "{at_once:?}");
    assert_eq!(told(&sites, &events, |_| true), at_once);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn when_a_log_is_looked_at_changes_nothing(
        events in proptest::collection::vec(
            (0..2_usize, 0..VISITORS.len(), prop_oneof![4 => 0..20_i64, 1 => 0..400_i64]), 1..60),
        ticks in proptest::collection::vec(any::<bool>(), 60),
        thresholds in (1..4_u32, 1..4_u32),
        history in any::<bool>(),
    ) {
        let sites = [with_drop("a", thresholds.0, false), with_drop("b", thresholds.1, history)];
        // The last event takes the log's clock beyond everything that is due.
        let mut events = events;
        events.push((0, 0, 900));
        let at_once = told(&sites, &events, |_| false);
        prop_assert_eq!(told(&sites, &events, |_| true), at_once.clone());
        prop_assert_eq!(told(&sites, &events, |number| ticks[number % ticks.len()]), at_once);
    }
}
