use std::collections::BTreeMap;
use std::sync::Arc;

use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::Engine;
use crate::detect::engine::record::RecordFacts;
use crate::detect::site::state_record::StateRecord;
use crate::detect::tests::fixtures::*;
use crate::domain::event::SourceClock;
use crate::domain::registry::{Registry, Site};
use crate::domain::trigger::Triggers;

const START: i64 = RECORD_MS / 1_000;

/// A site that fires with two visitors, registered so many seconds after the start.
fn registered(second: i64) -> Site {
    registered_with(second, spike(2, 300))
}

fn registered_with(second: i64, triggers: Triggers) -> Site {
    let mut site = site("a", [triggers]);
    let mut own = (*site.webhooks[0]).clone();
    own.active_since_ms = RECORD_MS;
    site.webhooks[0] = Arc::new(own);
    site.registered_ms = (START + second) * 1_000;
    site
}

/// The registry after a change of its only site.
fn next(before: &Registry, mut site: Site) -> Arc<Registry> {
    let mut next = before.clone();
    site.version = next.note_change(site.id.clone());
    next.sites.insert_mut(site.id.clone(), Arc::new(site));
    Arc::new(next)
}

fn first_of(site: Site) -> Arc<Registry> {
    next(&registry([]), site)
}

/// The content of the state topic after these records.
fn kept(records: impl IntoIterator<Item = StateRecord>) -> BTreeMap<String, Vec<u8>> {
    let mut kept = BTreeMap::new();
    for record in records {
        match record.bytes.clone() {
            Some(bytes) => _ = kept.insert(record.key(), bytes),
            None => _ = kept.remove(&record.key()),
        }
    }
    kept
}

/// A live site whose spike fires at its registration, and the state that is stored of it.
fn fired(registry: &Arc<Registry>) -> (Fed, Vec<StateRecord>) {
    let mut fed = Fed::new(SourceClock::Live, []);
    fed.engine = Engine::new(config(SourceClock::Live), Arc::clone(registry));
    fed.feed(&view("a", "1", START));
    let record = RecordFacts {
        source: 0,
        offset: 1,
        record_ms: RECORD_MS,
        replaying: false,
    };
    fed.engine
        .handle(&view("a", "2", START), &record, RECORD_MS, &mut Vec::new());
    fed.offset = 2;
    let states = fed.states();
    assert_eq!(fed.engine.spikes(), 1);
    (fed, states)
}

/// Reads the records of the earlier site again, which are below the commit.
fn read_again(fed: &mut Fed) {
    for (offset, visitor) in [(0, "1"), (1, "2")] {
        let record = RecordFacts {
            source: 0,
            offset,
            record_ms: RECORD_MS,
            replaying: true,
        };
        fed.engine
            .handle(&view("a", visitor, START), &record, RECORD_MS, &mut Vec::new());
    }
    fed.offset = 2;
}

#[test]
fn a_site_that_is_registered_again_begins_anew() {
    let before = first_of(registered(0));
    let (mut fed, mut states) = fired(&before);
    // Deleted and registered again between two looks at the configuration.
    fed.engine.set_registry(next(&before, registered(5)));
    assert_eq!(fed.engine.spikes(), 0, "its episode is the earlier site's");
    assert!(
        fed.engine.hand_over(false).episodes.is_empty(),
        "and so are the rows"
    );
    assert!(!fed.fires("a", "3", START + 6), "the others came before");
    assert!(fed.fires("a", "4", START + 6));
    fed.engine.rewrite_states();
    states.extend(fed.states());
    let kept = kept(states);
    let text = String::from_utf8_lossy(&kept["a"]);
    assert!(
        text.contains(&format!("\"registered\":{}", (START + 5) * 1_000)),
        "{text}"
    );
}

#[test]
fn the_state_of_an_earlier_site_is_buried() {
    let before = first_of(registered(0));
    let (_, states) = fired(&before);
    // Registered again while nobody read; its state came to the topic once already.
    let after = next(&before, registered(5));
    let mut again = Fed::new(SourceClock::Live, []);
    again.engine = Engine::new(config(SourceClock::Live), Arc::clone(&after));
    again.engine.completeness_mut().begin(0, 2, 0, CompleteFrom::Ever);
    again.load(&states);
    assert_eq!(again.engine.spikes(), 0);
    let buried = kept(states.clone().into_iter().chain(again.states()));
    let text = String::from_utf8_lossy(&buried["a"]);
    assert!(text.contains("beginning") && !text.contains("episode"), "{text}");
    read_again(&mut again);
    assert!(!again.fires("a", "3", START + 6));
    assert!(again.fires("a", "4", START + 6));
    // A late write of the earlier site's owner lies behind the present state.
    again.engine.rewrite_states();
    let mut all = again.states();
    all.extend(states);
    let mut last = Fed::new(SourceClock::Live, []);
    last.engine = Engine::new(config(SourceClock::Live), after);
    last.load(&all);
    assert_eq!(last.engine.spikes(), 1);
    all.extend(last.states());
    assert_eq!(kept(all).len(), 1);
}

#[test]
fn a_silent_site_registered_again_unseen_begins_anew() {
    // A drop that needs no history has its site known before any event of it is read.
    let mut triggers = drop(1, 300);
    triggers.visitor_spike = spike(2, 300).visitor_spike;
    if let Some(drop) = &mut triggers.visitor_drop {
        drop.condition.require_history = false;
    }
    let before = first_of(registered_with(0, triggers.clone()));
    let (_, states) = fired(&before);
    let mut again = Fed::new(SourceClock::Live, []);
    let after = next(&before, registered_with(5, triggers));
    let mut config = config(SourceClock::Live);
    (config.partition_count, config.partition) = (1, 0);
    again.engine = Engine::new(config, after);
    assert_eq!(again.engine.stats().sites, 1, "before it is loaded");
    again.engine.completeness_mut().begin(0, 2, 0, CompleteFrom::Ever);
    again.load(&states);
    read_again(&mut again);
    assert!(!again.fires("a", "3", START + 6));
    assert!(again.fires("a", "4", START + 6));
}

#[test]
fn a_state_of_a_site_that_is_not_known_yet_waits() {
    let before = first_of(registered(0));
    let after = next(&before, registered(5));
    let (_, states) = fired(&after);
    let mut behind = Fed::new(SourceClock::Live, []);
    behind.engine = Engine::new(config(SourceClock::Live), before);
    behind.load(&states);
    assert_eq!(behind.engine.spikes(), 0);
    behind.engine.set_registry(after);
    assert_eq!(behind.engine.spikes(), 1);
}
