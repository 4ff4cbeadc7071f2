use super::*;
use crate::detect::tests::fixtures::*;
use crate::domain::event::{EventKind, EventResult};
use crate::domain::registry::Site;
use crate::domain::trigger::NameFilter;
use crate::telemetry::words::SuppressReason;
use std::sync::Arc;

fn spiking(threshold: u32) -> Site {
    site("a", [spike(threshold, 300)])
}

// Time

#[test]
fn a_late_event_is_judged_at_the_sites_own_clock_and_may_fire() {
    let mut fed = Fed::log([spiking(3)]);
    assert!(!fed.fires("a", "1", 1_000));
    assert!(!fed.fires("a", "2", 900));
    assert!(!fed.fires("a", "3", 699), "301 s before the latest");
    assert!(fed.fires("a", "4", 700), "300 s before the latest");
}

#[test]
fn an_event_of_a_busy_site_does_not_pass_through_its_visitors() {
    let mut fed = Fed::log([site("a", [drop(2, 43_200)])]);
    let mut has_latest = |visitor: i64| {
        fed.feed(&view("a", &visitor.to_string(), 1_000 + visitor));
        fed.engine.sites[0].has_latest()
    };
    assert!(has_latest(0), "few are listed one by one");
    for visitor in 1..100 {
        has_latest(visitor);
    }
    // Filling the list from the table would cost each event as much as there are visitors.
    assert!((100..200).all(|visitor| !has_latest(visitor)));
}

#[test]
fn one_site_in_the_future_harms_no_other() {
    let mut fed = Fed::new(SourceClock::Live, [spiking(2), site("b", [spike(2, 300)])]);
    let now = RECORD_MS / 1_000;
    // A clock that is a year ahead counts as now.
    assert!(!fed.fires("b", "1", now + 365 * 86_400));
    assert!(!fed.fires("a", "1", now - 200));
    assert!(fed.fires("a", "2", now - 100));
    assert!(fed.fires("b", "2", now));
}

#[test]
fn a_logs_silent_site_follows_the_partition_ten_seconds_behind() {
    let mut fed = Fed::log([spiking(2), site("b", [])]);
    fed.fires("a", "1", 1_000);
    fed.feed(&view("b", "1", 1_311));
    // The clock of `a` is at 1,301 by now: its first visitor has gone.
    assert!(!fed.fires("a", "2", 1_001));
    assert!(fed.fires("a", "3", 1_002));
}

#[test]
fn unregistered_sites_move_a_logs_clock_too() {
    let mut fed = Fed::log([spiking(2)]);
    fed.fires("a", "1", 1_000);
    fed.feed(&view("nobody", "1", 1_311));
    assert_eq!(fed.handled, EventResult::Unregistered);
    assert!(!fed.fires("a", "2", 1_001));
}

#[test]
fn a_live_silent_site_is_moved_only_when_caught_up() {
    let mut fed = Fed::new(SourceClock::Live, [spiking(2)]);
    let now = RECORD_MS / 1_000;
    fed.fires("a", "1", now);
    fed.fires("a", "2", now);
    assert_eq!(fed.engine.spikes(), 1);
    let later = |seconds: i64| RECORD_MS + (seconds + 10) * 1_000;
    fed.engine.tick(later(1_000), false);
    assert_eq!(fed.engine.stats().visitors, 2, "a backlog is not silence");
    fed.engine.tick(later(300), true);
    assert_eq!(fed.engine.stats().visitors, 2);
    fed.engine.tick(later(301), true);
    assert_eq!((fed.engine.stats().visitors, fed.engine.spikes()), (0, 1));
    fed.engine.tick(later(360), true);
    assert_eq!(fed.engine.spikes(), 1);
    fed.engine.tick(later(361), true);
    assert_eq!(fed.engine.spikes(), 0);
}

#[test]
fn what_falls_due_happens_before_the_record_that_moves_time() {
    let mut fed = Fed::log([spiking(2)]);
    fed.fires("a", "1", 1_000);
    assert!(fed.fires("a", "2", 1_000));
    fed.feed(&view("a", "3", 1_250));
    // Down to one at 1,301; armed again at 1,361, right before the record that fires.
    assert!(!fed.fires("a", "1", 1_300));
    let mut again = Fed::log([spiking(2)]);
    again.fires("a", "1", 1_000);
    again.fires("a", "2", 1_000);
    again.feed(&view("a", "3", 1_250));
    assert!(again.fires("a", "1", 1_361));
    let mut early = Fed::log([spiking(2)]);
    early.fires("a", "1", 1_000);
    early.fires("a", "2", 1_000);
    early.feed(&view("a", "3", 1_250));
    assert!(!early.fires("a", "1", 1_360));
}

#[test]
fn a_jump_of_years_is_one_step() {
    let mut fed = Fed::log([spiking(2)]);
    fed.fires("a", "1", 1_000);
    assert!(fed.fires("a", "2", 1_000));
    assert!(!fed.fires("a", "1", 4_000_000_000));
    assert!(fed.fires("a", "2", 4_000_000_000));
}

#[test]
fn stale_events_are_counted_and_not_notified() {
    let mut triggers = spike(2, 300);
    triggers.goal_completion = Some(Default::default());
    triggers.custom_event = Some(Default::default());
    let mut fed = Fed::new(SourceClock::Live, [site("a", [triggers])]);
    fed.record_ms = RECORD_MS - 901_000;
    let stale_ms = fed.record_ms;
    let mut stale = Vec::new();
    for kind in [EventKind::Goal, EventKind::Custom] {
        let mut event = event("a", kind, stale_ms);
        event.name = Some("x".into());
        assert_eq!(fed.feed(&event), []);
        assert_eq!(fed.handled, EventResult::Stale);
        stale.extend(fed.engine.take_withheld().into_iter().map(|one| one.event));
    }
    let second = stale_ms / 1_000;
    assert!(!fed.fires("a", "1", second));
    assert_eq!(fed.engine.take_withheld(), []);
    assert!(!fed.fires("a", "2", second));
    stale.extend(fed.engine.take_withheld().into_iter().map(|one| one.event));
    assert_eq!(
        stale,
        [
            EventType::GoalCompletion,
            EventType::CustomEvent,
            EventType::VisitorSpike
        ]
    );
    assert_eq!(fed.engine.stats().visitors, 2);
    // It is notified later only if it still lasts then, and once.
    fed.record_ms = RECORD_MS;
    assert!(fed.fires("a", "3", second + 2));
    assert!(!fed.fires("a", "4", second + 2));
}

#[test]
fn what_an_impossible_record_time_withholds_is_counted() {
    let triggers = custom(NameFilter::All);
    let mut made_today = site("a", [triggers]);
    let mut webhook = (*made_today.webhooks[0]).clone();
    webhook.active_since_ms = RECORD_MS - 86_400_000;
    made_today.webhooks = vec![Arc::new(webhook)];
    let mut fed = Fed::new(SourceClock::Live, [made_today]);
    // In seconds; at the Unix epoch; in the year before Kafka appeared.
    for record_ms in [RECORD_MS / 1_000, 0, 1_293_839_999_999] {
        fed.record_ms = record_ms;
        let mut event = event("a", EventKind::Custom, RECORD_MS);
        event.name = Some("x".into());
        assert_eq!(fed.feed(&event), []);
        let withheld = fed.engine.take_withheld();
        let withheld: Vec<_> = withheld.iter().map(|one| (one.event, one.reason)).collect();
        assert_eq!(
            withheld,
            [(EventType::CustomEvent, SuppressReason::Stale)],
            "{record_ms}"
        );
    }
    // One of before the webhook is nothing that it misses.
    fed.record_ms = RECORD_MS - 86_400_001;
    let mut event = event("a", EventKind::Custom, fed.record_ms);
    event.name = Some("x".into());
    assert_eq!(fed.feed(&event), []);
    assert_eq!(fed.engine.take_withheld(), []);
}

#[test]
fn an_event_over_a_day_older_than_its_record_is_clock_skew() {
    let mut fed = Fed::new(SourceClock::Live, [spiking(1)]);
    assert!(fed.fires("a", "1", 1_000));
    assert_eq!(fed.engine.take_counters().clock_skew, [1]);
    assert_eq!(fed.engine.take_counters().clock_skew, [0], "it was taken");
}

#[test]
fn nothing_is_stale_in_a_log() {
    let mut fed = Fed::log([spiking(1)]);
    assert!(fed.fires("a", "1", 1));
    assert_eq!(fed.engine.take_withheld(), []);
}

// Counting (2)

#[test]
fn every_type_of_event_counts_its_visitor() {
    let mut fed = Fed::log([spiking(5)]);
    let kinds = [
        EventKind::Pageview,
        EventKind::Goal,
        EventKind::Custom,
        EventKind::Engagement,
        EventKind::Error,
    ];
    let mut fired = Vec::new();
    for (number, kind) in kinds.into_iter().enumerate() {
        let mut event = event("a", kind, 1_000_000);
        event.visitor_id = Some(format!("{number}").into());
        fired.extend(fed.feed(&event));
    }
    assert_eq!(fired.len(), 1);
}

#[test]
fn a_site_that_is_not_registered_holds_nothing() {
    let mut fed = Fed::log([spiking(1)]);
    assert!(!fed.fires("b", "1", 1_000));
    assert_eq!(fed.handled, EventResult::Unregistered);
    assert_eq!(fed.engine.stats(), Stats::default());
}

#[test]
fn visitors_beyond_the_bound_are_counted_as_evictions() {
    let mut fed = Fed::log([spiking(4)]);
    fed.engine.config.limits.visitors_per_site = 3;
    for visitor in ["1", "2", "3", "4", "5", "1"] {
        assert!(!fed.fires("a", visitor, 1_000));
    }
    assert_eq!(fed.engine.stats().visitors, 3);
    assert_eq!(fed.engine.take_counters().evicted_visitors, 2);
}

#[test]
fn names_without_room_are_counted_apart_as_sources_and_pages() {
    let mut fed = Fed::log([spiking(1_000)]);
    fed.engine.config.limits.labels_per_site = 3;
    fed.engine.resources.labels.per_site = 3;
    // Each visitor has a page and a source of its own. The first three names make room once, at the
    // fourth, which is a source.
    for visitor in 0..8 {
        let mut event = view("a", "", 1_000);
        event.visitor_id = Some(visitor.to_string().into());
        event.path = Some(format!("/{visitor}").into());
        event.source = (visitor % 2 == 0).then(|| format!("from {visitor}").into());
        fed.feed(&event);
    }
    let counters = fed.engine.take_counters();
    assert_eq!((counters.evicted_sources, counters.evicted_pages), (5, 4));
}

#[test]
fn an_idle_site_holds_no_visitors_and_no_names() {
    let mut fed = Fed::log([spiking(1_000), site("b", [])]);
    for visitor in 0..500 {
        let visitor = visitor.to_string();
        let mut event = view("a", &visitor, 1_000);
        let path = format!("/page/{visitor}");
        event.path = Some(path.as_str().into());
        fed.feed(&event);
    }
    assert!(fed.engine.resources.labels.spent > 10_000);
    fed.feed(&view("b", "1", 2_000));
    fed.engine.tick(0, false);
    assert_eq!(fed.engine.stats().visitors, 1);
    assert!(fed.engine.resources.labels.spent < 200);
}

// Triggers (3)

#[test]
fn equal_settings_of_several_webhooks_are_one_trigger() {
    let mut fed = Fed::log([site("a", [spike(2, 300), spike(3, 300), spike(2, 300)])]);
    fed.feed(&view("a", "1", 1_000));
    let decided = fed.feed(&view("a", "2", 1_000));
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].webhooks, [hook_id(1), hook_id(3)]);
}

#[test]
fn a_trigger_acts_on_records_from_its_webhooks_creation_on() {
    let late = changed(
        &site("a", [spike(2, 300), spike(2, 300), spike(1, 300)]),
        |site| {
            let mut one = webhook(1, spike(2, 300));
            one.active_since_ms = RECORD_MS + 1;
            site.webhooks[0] = Arc::new(one.clone());
            one.id = hook_id(3);
            one.triggers = spike(1, 300);
            site.webhooks[2] = Arc::new(one);
        },
    );
    let mut fed = Fed::log([late]);
    fed.feed(&view("a", "1", 1_000));
    let decided = fed.feed(&view("a", "2", 1_000));
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].webhooks, [hook_id(2)]);
    fed.record_ms += 1;
    let decided = fed.feed(&view("a", "2", 1_000));
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].webhooks, [hook_id(3)]);
}

#[test]
fn a_webhook_that_bellwether_disabled_keeps_its_trigger() {
    let gone = changed(&spiking(1), |site| {
        let mut one = webhook(1, spike(1, 300));
        one.disabled = true;
        site.webhooks = vec![Arc::new(one)];
    });
    let mut fed = Fed::log([gone]);
    assert!(fed.fires("a", "1", 1_000));
}

#[test]
fn a_webhook_that_is_switched_off_asks_for_nothing() {
    let off = changed(&spiking(1), |site| {
        let mut one = webhook(1, spike(1, 300));
        one.enabled = false;
        site.webhooks = vec![Arc::new(one)];
    });
    let mut fed = Fed::log([off]);
    assert!(!fed.fires("a", "1", 1_000));
}

#[test]
fn a_threshold_edited_while_firing_does_not_fire_again() {
    let mut fed = Fed::log([spiking(3)]);
    for visitor in ["1", "2", "3"] {
        fed.fires("a", visitor, 1_000);
    }
    assert_eq!(fed.engine.spikes(), 1);
    let edited = changed(&spiking(2), |site| site.version = 2);
    fed.configure([edited]);
    assert_eq!(fed.states().len(), 1, "the episode changed hands");
    assert!(!fed.fires("a", "4", 1_001));
    let higher = changed(&spiking(100), |site| site.version = 3);
    fed.configure([higher]);
    // Calm by the new settings from now on.
    fed.feed(&view("a", "5", 1_061));
    assert_eq!(fed.engine.spikes(), 0);
}

#[test]
fn a_deleted_webhooks_state_goes_and_so_does_a_deleted_sites() {
    let mut fed = Fed::log([spiking(1)]);
    assert!(fed.fires("a", "1", 1_000));
    fed.configure([changed(&spiking(1), |site| site.webhooks.clear())]);
    assert_eq!(fed.engine.spikes(), 0);
    assert!(fed.states()[0].bytes.is_some());
    fed.configure([]);
    let states = fed.states();
    assert_eq!((states.len(), &states[0].bytes), (1, &None));
    assert_eq!(fed.engine.stats(), Stats::default());
    let checkpoint = fed.engine.checkpoint();
    assert_eq!(checkpoint.replay_from, checkpoint.next);
}

#[test]
fn sites_that_go_leave_the_others_in_place() {
    let all = || ["a", "b", "c"].map(|id| site(id, [spike(2, 300)]));
    let mut fed = Fed::log(all());
    for id in ["a", "b", "c"] {
        fed.fires(id, "1", 1_000);
    }
    fed.configure(all().into_iter().skip(1));
    assert!(fed.fires("c", "2", 1_000));
    assert!(fed.fires("b", "2", 1_000));
    assert!(!fed.fires("a", "2", 1_000));
}

#[test]
fn a_spikes_body_holds_what_led_to_it() {
    let mut named = site("a", [spike(7, 300)]);
    named.name = Some("Example".to_owned());
    let mut fed = Fed::log([named]);
    let mut decided = Vec::new();
    let seen = [
        ("/a", "News"),
        ("/a", "News"),
        ("/a", "News"),
        ("/b", "Mail"),
        ("/b", "Mail"),
        ("/u/jane@example.com", "Search"),
        ("/u/joe@example.com", "Search"),
    ];
    for (number, (path, source)) in seen.into_iter().enumerate() {
        let visitor = number.to_string();
        let mut event = view("a", &visitor, 1_772_020_800);
        event.path = Some(path.into());
        event.source = Some(source.into());
        decided.extend(fed.feed(&event));
    }
    assert_eq!(decided.len(), 1);
    let decision = &decided[0];
    assert_eq!(
        json(decision),
        serde_json::json!({
            "id": decision.id,
            "event": "visitor_spike",
            "site_id": "a",
            "site_name": "Example",
            "timestamp": "2026-02-25T12:00:00Z",
            "data": {
                "current_visitors": 7,
                "threshold": 7,
                "window_seconds": 300,
                "baseline": null,
                "top_sources": [{"source": "News", "visitors": 3}],
                "top_pages": [{"path": "/a", "visitors": 3}],
                "started_at": "2026-02-25T12:00:00Z",
            }
        })
    );
    assert_eq!(decision.id.millis(), RECORD_MS);
    assert_eq!(decision.created_at_ms, RECORD_MS);
    assert_eq!(decision.record, Some((0, 6)));
}

#[test]
fn top_lists_count_each_visitors_latest_redacted_page() {
    let mut fed = Fed::log([spiking(4)]);
    let mut decided = Vec::new();
    for (visitor, path) in [
        ("1", "/a"),
        ("1", "/u/x@example.com"),
        ("2", "/u/y@example.com"),
        ("3", "/u/z@example.com"),
        ("4", "/a"),
    ] {
        let mut event = view("a", visitor, 1_000);
        event.path = Some(path.into());
        decided.extend(fed.feed(&event));
    }
    assert_eq!(
        json(&decided[0])["data"]["top_pages"],
        serde_json::json!([{"path": "/u/:redacted", "visitors": 3}])
    );
}

#[test]
fn a_site_that_keeps_its_paths_names_no_page() {
    let quiet = |site: Site| Site {
        include_paths: false,
        ..site
    };
    let mut fed = Fed::log([quiet(spiking(3)), quiet(site("b", [custom(NameFilter::All)]))]);
    let mut decided = Vec::new();
    for visitor in ["1", "2", "3"] {
        decided.extend(fed.feed(&view("a", visitor, 1_000)));
    }
    let mut event = event("b", EventKind::Custom, 1_000);
    event.name = Some("Download".into());
    event.path = Some("/private".into());
    decided.extend(fed.feed(&event));
    assert_eq!(decided.len(), 2);
    assert_eq!(json(&decided[0])["data"]["top_pages"], serde_json::json!([]));
    assert_eq!(json(&decided[1])["data"].get("path"), None);
}
