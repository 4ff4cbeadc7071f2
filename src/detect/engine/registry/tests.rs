use std::fs;

use super::*;
use crate::clock;
use crate::detect::tests::fixtures::*;
use crate::domain::goal::GoalRule;
use crate::domain::trigger::{NameFilter, Triggers};

/// A site whose five webhooks have a spike, a drop and five goals.
fn watched(id: &str) -> Site {
    let all = || Triggers {
        visitor_spike: Some(spike_settings(500, 300).into()),
        goal_completion: Some(NameFilter::All.into()),
        ..drop(10, 300)
    };
    let mut site = site(id, (0..5).map(|_| all()));
    let goals = (1..=5).map(|number| {
        let path = format!("/thanks/{number}*");
        Arc::new(goal(number, &format!("goal {number}"), GoalRule::Page { path }))
    });
    site.goals = goals.collect();
    site
}

/// Memory of this process in RAM, in bytes.
fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kib.unwrap_or(0) * 1_024
}

#[test]
#[ignore = "measures; meant for a release build"]
#[allow(clippy::print_stdout, reason = "it says what it measured")]
fn an_edit_costs_the_detector_less_than_a_millisecond() {
    const SITES: usize = 20_000;
    let sites: Vec<Site> = (0..SITES).map(|number| watched(&number.to_string())).collect();
    let mut registry = (*registry(sites)).clone();
    // As after the first read of Postgres.
    registry.note_change("7".parse().expect("a site id"));
    let before = memory();
    let mut fed = Fed::log([]);
    fed.engine = Engine::new(config(SourceClock::Log), Arc::new(registry.clone()));
    for number in 0..SITES {
        fed.feed(&view(&number.to_string(), "1", 1_000));
    }
    fed.engine.tick(0, true);
    println!("{} bytes a site", (memory() - before) / SITES);
    let mut edits = Vec::new();
    for threshold in 100..200 {
        let id: SiteId = "7".parse().expect("a site id");
        let mut changed = watched("7");
        changed.version = registry.note_change(id.clone());
        let mut webhook = (*changed.webhooks[0]).clone();
        webhook.triggers.visitor_spike = Some(spike_settings(threshold, 300).into());
        changed.webhooks[0] = Arc::new(webhook);
        registry.sites.insert_mut(id, Arc::new(changed));
        let next = Arc::new(registry.clone());
        let begun = clock::monotonic();
        fed.engine.set_registry(next);
        edits.push(clock::monotonic().duration_since(begun));
    }
    edits.sort_unstable();
    println!("an edit: median {:?}, slowest {:?}", edits[50], edits[99]);
    assert!(edits[50].as_micros() < 1_000, "{:?}", edits[50]);
}
