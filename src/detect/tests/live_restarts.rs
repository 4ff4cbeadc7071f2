//! Restarts of live sites at any point: what is told in the end, and under which ids, is what an
//! owner tells that never stopped.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixtures::{custom, drop_with, json, paced, site, spike_settings};
use super::live::{FIRST, Life, steps};
use crate::detect::notification::Decision;
use crate::domain::registry::Site;
use crate::domain::trigger::{
    EpisodeTrigger, ErrorSettings, ErrorTrigger, NameFilter, NoticeOptions, NoticePace, Triggers,
};

/// A site with triggers of every kind that needs no baseline.
fn watched() -> Site {
    let ends = NoticeOptions {
        notify_resolved: true,
        ..NoticeOptions::default()
    };
    let reminders = NoticeOptions {
        repeat_after_seconds: Some(600),
        ..ends
    };
    let seldom = NoticeOptions {
        min_interval_seconds: 3_000,
        ..ends
    };
    let spike = |threshold, window_seconds, options| Triggers {
        visitor_spike: Some(EpisodeTrigger {
            condition: spike_settings(threshold, window_seconds),
            options,
        }),
        ..Triggers::default()
    };
    let errors = Triggers {
        error_condition: Some(ErrorTrigger {
            conditions: vec![ErrorSettings::ErrorEvents {
                count: 2,
                event: None,
                window_seconds: 900,
            }],
            options: ends,
        }),
        ..Triggers::default()
    };
    let at_least = paced(NoticePace::AtLeast {
        at_least: 2,
        within_seconds: 600,
    });
    site(
        "a",
        [
            spike(2, 60, ends),
            spike(3, 300, reminders),
            spike(4, 900, seldom),
            drop_with(2, 300, reminders),
            drop_with(3, 4_000, seldom),
            errors,
            custom(NameFilter::All),
            paced(NoticePace::Every(3)),
            at_least,
        ],
    )
}

/// The type and time of each notification, by its id.
fn told(life: &Life) -> BTreeMap<String, String> {
    let of = |(id, decision): (&String, &Decision)| {
        let body = json(decision);
        (
            id.clone(),
            format!("{} {}", decision.event.as_str(), body["timestamp"]),
        )
    };
    life.told.iter().map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_told_of_a_live_site_is_the_same_whatever_restarts(steps in steps()) {
        let (mut restarted, mut steady) = (Life::begin(watched()), Life::begin(watched()));
        let mut now = FIRST;
        for step in &steps {
            now += step.gap;
            if step.ticks {
                restarted.tick(now);
                steady.tick(now);
            }
            for life in [&mut restarted, &mut steady] {
                life.take(step, now);
            }
            if let Some(commits_lost) = step.restart {
                restarted.restart(commits_lost, now);
                steady.tick(now);
            }
            prop_assert_eq!(told(&restarted), told(&steady), "record {} of {:?}", steady.log.len(), &steady.log);
        }
    }
}
