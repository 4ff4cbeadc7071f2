//! Webhooks that wait for the events of a sample, and what keeps these from them.

use super::*;
use crate::cli::inspect::sample::ReaderGroup;
use crate::domain::health::HealthState;
use crate::domain::id::WebhookId;
use crate::domain::time::from_ms;
use crate::domain::trigger::{DropSettings, EpisodeTrigger, NameTrigger, SpikeSettings, Triggers};
use crate::record::known::{KnownHealth, KnownWebhook};
use crate::telemetry::words::ProcessRole;

/// A webhook of a minute ago that waits for any goal.
fn webhook(number: u128) -> KnownWebhook {
    KnownWebhook {
        id: WebhookId::from_uuid(uuid::Uuid::from_u128(number)),
        enabled: true,
        triggers: Triggers {
            goal_completion: Some(NameTrigger::default()),
            ..Triggers::default()
        },
        active_since: from_ms(NOW_MS - 60_000),
        paused_until: None,
        health: KnownHealth {
            state: HealthState::Ok,
            since: from_ms(NOW_MS - 60_000),
            consecutive_failures: 0,
            next_probe_at: None,
            waiting: 0,
        },
    }
}

fn goal(visitor: &str) -> serde_json::Value {
    json!({"site_id": "a", "type": "goal", "name": "Signup", "visitor_id": visitor})
}

/// The findings about records of the site `a` with these webhooks, which is read in time.
fn found_for(webhooks: Vec<KnownWebhook>, records: &[serde_json::Value]) -> Vec<SourceFinding> {
    let records = records.iter().map(|record| (NOW_MS, record.to_string()));
    let sites = site_with(webhooks);
    let (sample, records) = inspected_with(&sites, SourceClock::Live, &records.collect::<Vec<_>>());
    found_in(&sample, &records, &sites)
}

/// The findings about a sample of a keyed source.
fn found_in(sample: &Sample, records: &[InspectedRecord], sites: &IndexedSites) -> Vec<SourceFinding> {
    find(&Facts {
        topic: "events",
        is_source: true,
        is_keyed: true,
        brokers: "kafka:9092",
        partitions: 1,
        sample,
        records,
        sites: Ok(sites),
        now_ms: NOW_MS,
    })
}

fn codes(findings: &[SourceFinding], severity: Severity) -> Vec<&str> {
    let findings = findings.iter().filter(|one| one.severity == severity);
    findings.map(|one| one.code).collect()
}

#[test]
fn nothing_is_found_where_webhooks_are_due_and_well() {
    assert_eq!(found_for(vec![webhook(1)], &[goal("v")]), []);
}

#[test]
fn a_webhook_that_is_sent_nothing_is_a_problem_and_named() {
    let changed = |change: &dyn Fn(&mut KnownWebhook)| {
        let mut webhook = webhook(7);
        change(&mut webhook);
        webhook
    };
    let id = webhook(7).id.to_string();
    for (code, said, held) in [
        (
            "paused",
            "until 2026-02-24 22:01:00 UTC, 5 deliveries wait",
            changed(&|one| {
                one.paused_until = Some(from_ms(NOW_MS + 60_000));
                one.health.waiting = 5;
            }),
        ),
        (
            "circuit_open",
            "since 2026-02-24 21:59:00 UTC, next try at 2026-02-24 22:00:30 UTC, 1 delivery waits",
            changed(&|one| {
                one.health.state = HealthState::Open;
                one.health.next_probe_at = Some(from_ms(NOW_MS + 30_000));
                one.health.waiting = 1;
            }),
        ),
        (
            "endpoint_fails",
            "5 failures in a row",
            changed(&|one| one.health.consecutive_failures = 5),
        ),
        (
            "deliveries_wait",
            "5 deliveries wait",
            changed(&|one| one.health.waiting = 5),
        ),
        ("webhook_off", "(1 of these)", changed(&|one| one.enabled = false)),
    ] {
        // One beside it is well.
        let found = found_for(vec![webhook(1), held], &[goal("v")]);
        let [finding] = found.as_slice() else {
            panic!("{code}: {found:#?}");
        };
        assert_eq!((finding.code, finding.severity), (code, Severity::Problem));
        let text = &finding.text;
        assert!(
            text.contains(&id) && text.contains("of a") && text.contains(said),
            "{text}"
        );
    }
}

#[test]
fn a_pause_that_is_over_and_an_unneeded_webhook_keep_nothing() {
    let mut resumed = webhook(1);
    resumed.paused_until = Some(from_ms(NOW_MS - 1));
    let mut off = webhook(2);
    off.enabled = false;
    off.triggers = Triggers::default();
    assert_eq!(found_for(vec![resumed, off], &[goal("v")]), []);
}

#[test]
fn events_of_one_id_are_copies_unless_their_visitors_differ() {
    let event = |visitor: &str, at_ms: i64| {
        let mut event = goal(visitor);
        event["event_id"] = json!("same");
        event["timestamp"] = json!(at_ms);
        event
    };
    let same = [event("v", NOW_MS), event("v", NOW_MS), event("v", NOW_MS - 1)];
    let found = found_for(vec![webhook(1)], &same);
    assert_eq!(codes(&found, Severity::Note), ["copies"]);
    assert!(found[0].text.starts_with("1 of 3 events"), "{found:?}");
    let others = ["v", "w", "x"].map(|visitor| event(visitor, NOW_MS));
    let found = found_for(vec![webhook(1)], &others);
    assert_eq!(codes(&found, Severity::Problem), ["event_id_again"]);
    assert!(found[0].text.starts_with("2 of 3 events"), "{found:?}");
    let found = found_for(vec![webhook(1)], &[goal("v"), goal("v")]);
    assert_eq!(found, [], "without an id each is one");
}

#[test]
fn what_lies_beyond_the_bound_of_a_minute_is_said() {
    let found = found_for(vec![webhook(1)], &vec![goal("v"); 600]);
    assert_eq!(codes(&found, Severity::Problem), Vec::<&str>::new());
    let found = found_for(vec![webhook(1)], &vec![goal("v"); 607]);
    assert_eq!(codes(&found, Severity::Problem), ["summarised"]);
    assert!(found[0].text.contains("of a (7)"), "{found:?}");
}

#[test]
fn a_part_of_a_crowded_minute_may_be_summarised() {
    let dense = |count: i64, step_ms: i64| -> Vec<serde_json::Value> {
        let event = |number: i64| {
            let mut event = goal("v");
            event["timestamp"] = json!(NOW_MS - number * step_ms);
            event
        };
        (0..count).map(event).collect()
    };
    // The sample of these tests begins at 9, as if nothing before it was read.
    for (records, codes_wanted) in [
        (dense(100, 10), vec!["may_be_summarised"]),
        (dense(59, 10), vec![]),
        (dense(100, 110), vec![]),
    ] {
        let found = found_for(vec![webhook(1)], &records);
        assert_eq!(codes(&found, Severity::Note), codes_wanted);
    }
}

#[test]
fn events_from_before_their_webhook_are_counted() {
    let mut young = webhook(1);
    young.active_since = from_ms(NOW_MS + 1);
    let found = found_for(vec![young], &[goal("v"), pageview(json!(NOW_MS))]);
    assert_eq!(codes(&found, Severity::Note), ["too_early"]);
    assert!(found[0].text.starts_with("1 of 2 events"), "{found:?}");
}

#[test]
fn a_webhook_that_counts_says_when_it_is_notified() {
    let mut counting = webhook(1);
    let mut spike = EpisodeTrigger::from(SpikeSettings {
        threshold: 2,
        window_seconds: 60,
    });
    spike.options.min_interval_seconds = 86_400;
    counting.triggers = Triggers {
        visitor_spike: Some(spike),
        visitor_drop: Some(EpisodeTrigger::from(DropSettings {
            threshold: 5,
            window_seconds: 300,
            require_history: true,
        })),
        ..Triggers::default()
    };
    let found = found_for(vec![counting], &[goal("v")]);
    assert_eq!(codes(&found, Severity::Note), ["nothing_to_tell"]);
    for words in [
        "2 visitors within 60 s, once in 24 h at most",
        "fewer than 5 visitors within 300 s, from 2026-02-24 22:04:00 UTC on",
        "(1 different visitor seen)",
    ] {
        assert!(found[0].text.contains(words), "{words} in {found:?}");
    }
}

#[test]
fn stale_events_are_no_mismatch_with_their_webhooks() {
    let mut late = goal("v");
    late["timestamp"] = json!(NOW_MS - 3_600_000);
    let found = found_for(vec![webhook(1)], &[late]);
    assert_eq!(codes(&found, Severity::Problem), ["stale"]);
    assert_eq!(codes(&found, Severity::Note), Vec::<&str>::new());
}

#[test]
fn many_sites_without_a_match_take_few_lines() {
    let mut sites = Vec::new();
    let mut records = Vec::new();
    for number in 0..40_u128 {
        let id = format!("site-{number}");
        records.push((
            NOW_MS,
            json!({"site_id": id, "type": "pageview", "visitor_id": "v"}).to_string(),
        ));
        sites.push(KnownSite {
            site_id: id,
            aliases: vec![],
            goals: vec![],
            webhooks: vec![webhook(number)],
        });
    }
    let sites = IndexedSites::new(sites);
    let (sample, records) = inspected_with(&sites, SourceClock::Live, &records);
    let found = find(&Facts {
        topic: "events",
        is_source: false,
        is_keyed: false,
        brokers: "kafka:9092",
        partitions: 1,
        sample: &sample,
        records: &records,
        sites: Ok(&sites),
        now_ms: NOW_MS,
    });
    let idle = found.iter().filter(|one| one.code == "nothing_to_tell");
    assert_eq!(idle.count(), 6, "{found:#?}");
    assert!(
        found.iter().any(|one| one.text.contains("of 35 more sites")),
        "{found:#?}"
    );
}

#[test]
fn a_role_that_nobody_has_is_a_problem() {
    let sites = site_with(vec![webhook(1)]);
    let (mut sample, records) = inspected_with(&sites, SourceClock::Live, &[(NOW_MS, goal("v").to_string())]);
    let group = |members| ReaderGroup {
        members: Some(members),
        ..ReaderGroup::default()
    };
    for (members, expected) in [(1, vec![]), (0, vec!["no_deliverer"])] {
        sample.followers = vec![(ProcessRole::Deliver, group(members))];
        let found = found_in(&sample, &records, &sites);
        assert_eq!(codes(&found, Severity::Problem), expected);
    }
}
