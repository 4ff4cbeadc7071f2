//! Goals that get another name while something is counted under the one before.

use std::sync::Arc;

use super::fixtures::*;
use crate::detect::notification::Decision;
use crate::domain::event::{Event, EventKind};
use crate::domain::goal::GoalRule;
use crate::domain::registry::Site;
use crate::domain::trigger::{NoticePace, Triggers};

/// A site with one webhook, and a goal of each name: the n-th is completed by the event `n`.
fn named(names: &[&str], pace: NoticePace) -> Site {
    let mut site = site(
        "a",
        [Triggers {
            custom_event: None,
            ..paced(pace)
        }],
    );
    let goals = (1..).zip(names).map(|(number, name)| {
        let rule = GoalRule::Event {
            event: number.to_string(),
        };
        Arc::new(goal(number, name, rule))
    });
    site.goals = goals.collect();
    site
}

const FIVE: NoticePace = NoticePace::AtLeast {
    at_least: 5,
    within_seconds: 3_600,
};

fn complete(fed: &mut Fed, number: &str, times: u32) -> Vec<Decision> {
    let mut decided = Vec::new();
    for _ in 0..times {
        let id = fed.offset.to_string();
        decided.extend(fed.feed(&Event {
            name: Some(number.to_owned().into()),
            event_id: Some(id.into()),
            ..event("a", EventKind::Custom, 1_000_000)
        }));
    }
    decided
}

fn rename(fed: &mut Fed, site: &Site) {
    fed.configure([changed(site, |_| {})]);
}

#[test]
fn a_count_goes_on_under_the_new_name() {
    let mut fed = Fed::log([named(&["P"], FIVE)]);
    assert!(complete(&mut fed, "1", 3).is_empty());
    rename(&mut fed, &named(&["Renamed"], FIVE));
    assert!(complete(&mut fed, "1", 1).is_empty());
    let decided = complete(&mut fed, "1", 1);
    assert_eq!(decided.len(), 1);
    assert_eq!(json(&decided[0])["data"]["goal_name"], "Renamed");
    rename(&mut fed, &named(&["Again"], FIVE));
    assert!(complete(&mut fed, "1", 9).is_empty(), "the episode goes on");
}

#[test]
fn goals_that_swap_their_names_keep_their_counts() {
    let mut fed = Fed::log([named(&["P", "Q"], FIVE)]);
    assert!(complete(&mut fed, "1", 4).is_empty());
    rename(&mut fed, &named(&["Q", "P"], FIVE));
    assert!(
        complete(&mut fed, "2", 4).is_empty(),
        "these are of the other goal"
    );
    let decided = complete(&mut fed, "1", 1);
    assert_eq!(decided.len(), 1);
    assert_eq!(json(&decided[0])["data"]["goal_name"], "Q");
}

#[test]
fn a_rename_before_or_during_a_restart_notifies_nobody_again() {
    for is_known in [true, false] {
        let mut fed = Fed::log([named(&["P"], FIVE)]);
        assert_eq!(complete(&mut fed, "1", 5).len(), 1);
        let renamed = named(&["Renamed"], FIVE);
        if is_known {
            rename(&mut fed, &renamed);
            assert_eq!(fed.states().len(), 1, "a rename is written");
        }
        fed.engine.rewrite_states();
        let states = fed.states();
        assert_eq!(states.len(), 1);
        let mut restarted = Fed::log([renamed]);
        restarted.load(&states);
        // The events of before are read again, from the beginning, and so count for the window.
        let next = fed.offset;
        assert!(complete(&mut restarted, "1", u32::try_from(next).unwrap()).is_empty());
        assert!(complete(&mut restarted, "1", 3).is_empty(), "{is_known}");
    }
}

#[test]
fn a_count_to_every_kth_is_known_after_a_rename_while_stopped() {
    let mut fed = Fed::log([named(&["P"], NoticePace::Every(3))]);
    assert!(complete(&mut fed, "1", 2).is_empty());
    fed.engine.rewrite_state("a");
    let mut restarted = Fed::log([named(&["Renamed"], NoticePace::Every(3))]);
    restarted.load(&fed.states());
    restarted.offset = fed.offset;
    assert_eq!(complete(&mut restarted, "1", 1).len(), 1);
}
