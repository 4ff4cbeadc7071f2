//! Drops of live sites against the model that lists every visitor: two sources, events that come
//! late, twice or with a wrong clock, and restarts at any point.

use proptest::prelude::*;

use super::drops::{Model, TRIGGERS, Told, told};
use super::fixtures::{drop_with, site};
use super::live::{FIRST, Life, OwnTime, Step, steps};
use crate::domain::event::{EventKind, EventType};
use crate::domain::registry::Site;
use crate::domain::trigger::NoticeOptions;

fn watched() -> Site {
    let options = NoticeOptions {
        notify_resolved: true,
        ..NoticeOptions::default()
    };
    let triggers = TRIGGERS.map(|(threshold, window)| drop_with(threshold, window as u32, options));
    site("a", triggers)
}

/// The notifications in order, without the lowest counts that ends of drops tell: those of the last
/// minute before a crash are not stored, and not counted again if an event came late.
fn without_lowest(told: impl IntoIterator<Item = Told>) -> Vec<Told> {
    let mut all: Vec<Told> = told.into_iter().collect();
    for one in &mut all {
        if one.0 == EventType::VisitorDropResolved {
            one.3 = 0;
        }
    }
    all.sort_unstable();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn drops_of_two_sources_are_the_models_whatever_restarts(steps in steps()) {
        let first = Step {
            gap: 0,
            ticks: false,
            source: 0,
            is_own: true,
            visitor: 0,
            kind: EventKind::Pageview,
            own_time: OwnTime::None,
            restart: None,
        };
        let mut life = Life::begin(watched());
        let mut model = Model::new(FIRST);
        let mut now = FIRST;
        for step in std::iter::once(&first).chain(&steps) {
            now += step.gap;
            if step.ticks {
                life.tick(now);
                model.pass(life.floor);
            }
            let written = life.take(step, now);
            if written.is_own {
                model.visit(&written.visitor, written.counts_at(), life.floor);
            }
            if let Some(commits_lost) = step.restart {
                life.restart(commits_lost, now);
                model.pass(life.floor);
            }
            let found = without_lowest(told(life.told.values()));
            let expected = without_lowest(model.told.iter().copied());
            prop_assert_eq!(found, expected, "record {} of {:?}", life.log.len(), &life.log);
        }
    }
}

#[test]
fn a_drop_falls_due_though_a_state_is_older_than_the_replay() {
    let visit = |source, visitor, own_time| Step {
        gap: 0,
        ticks: false,
        source,
        is_own: true,
        visitor,
        kind: EventKind::Pageview,
        own_time,
        restart: None,
    };
    let mut life = Life::begin(watched());
    for visitor in [0, 5, 2] {
        life.take(&visit(0, visitor, OwnTime::None), FIRST);
    }
    // The state is written with the drops of 300 and of 900 s. It knows nothing of the second
    // source.
    life.tick(FIRST + 911);
    let elsewhere = Step {
        is_own: false,
        ..visit(0, 0, OwnTime::None)
    };
    life.take(&elsewhere, FIRST + 911);
    life.take(&visit(1, 1, OwnTime::Before(275)), FIRST + 911);
    life.restart(1, FIRST + 937);
    life.tick(FIRST + 4_011);
    let at: Vec<(i64, i64)> = without_lowest(told(life.told.values()))
        .into_iter()
        .map(|told| (told.2, told.4 - FIRST))
        .collect();
    assert_eq!(at, [(300, 301), (4_000, 4_001), (900, 901)]);
}
