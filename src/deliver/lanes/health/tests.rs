use super::*;
use crate::domain::time::from_ms;

fn attempt(ending: Ending) -> AttemptEnd {
    AttemptEnd {
        ending,
        is_gone: false,
        is_final_failure: false,
        is_probe: false,
        url_changed_at: None,
    }
}

fn probe(ending: Ending) -> AttemptEnd {
    AttemptEnd {
        is_probe: true,
        ..attempt(ending)
    }
}

#[test]
fn ten_attempts_without_an_answer_open_the_circuit() {
    let mut health = EndpointHealth::new(0);
    for number in 1..=9 {
        health.record(attempt(Ending::Unanswered), 3, number);
        assert_eq!(health.state, HealthState::Careful);
    }
    let opened = health
        .record(attempt(Ending::Unanswered), 3, 10)
        .expect("a change");
    assert_eq!(
        (opened.from, opened.to),
        (HealthState::Careful, HealthState::Open)
    );
    assert_eq!(health.reason, Some(HealthReason::Timeouts));
    assert_eq!(health.probe_at_ms, 30_010);
}

#[test]
fn any_status_ends_a_row_of_attempts_without_an_answer() {
    let mut health = EndpointHealth::new(0);
    for _ in 0..3 {
        for _ in 0..9 {
            health.record(attempt(Ending::Unanswered), 3, 1);
        }
        health.record(attempt(Ending::Answered), 3, 1);
        assert_eq!(health.state, HealthState::Careful, "only a success ends it");
    }
    health.record(attempt(Ending::Success), 3, 2);
    assert_eq!((health.state, health.since_ms), (HealthState::Ok, 2));
}

#[test]
fn deliveries_in_a_row_that_failed_for_good_open_the_circuit() {
    let mut health = EndpointHealth::new(0);
    let last = AttemptEnd {
        is_final_failure: true,
        ..attempt(Ending::Answered)
    };
    for ends in [&[last, last][..], &[attempt(Ending::Success)], &[last, last]] {
        for end in ends {
            let change = health.record(*end, 3, 1);
            assert_ne!(change.map(|change| change.to), Some(HealthState::Open));
        }
    }
    assert_eq!(
        health.record(last, 3, 1).map(|change| change.to),
        Some(HealthState::Open)
    );
    assert_eq!(health.reason, Some(HealthReason::Failures));
}

#[test]
fn faults_of_our_own_say_nothing_of_the_endpoint() {
    let mut health = EndpointHealth::new(0);
    let own = AttemptEnd {
        is_final_failure: true,
        ..attempt(Ending::Own)
    };
    for _ in 0..100 {
        assert_eq!(health.record(own, 1, 5), None);
    }
    assert_eq!(health, EndpointHealth::new(0));
}

#[test]
fn probes_come_after_30_s_and_1_2_4_8_15_15_minutes() {
    let mut health = EndpointHealth::new(0);
    health.record(
        AttemptEnd {
            is_final_failure: true,
            ..attempt(Ending::Answered)
        },
        1,
        0,
    );
    let mut pauses = vec![health.probe_at_ms];
    for _ in 0..6 {
        let now = health.probe_at_ms;
        assert!(health.is_probe_due(now) && !health.is_probe_due(now - 1));
        // Requests that were in flight when it opened move nothing.
        health.record(attempt(Ending::Unanswered), 1, now);
        health.record(probe(Ending::Unanswered), 1, now + 7);
        pauses.push(health.probe_at_ms - now - 7);
    }
    assert_eq!(pauses.map_seconds(), [30, 60, 120, 240, 480, 900, 900]);
}

#[test]
fn five_days_open_disable_it() {
    let mut health = EndpointHealth::new(0);
    health.open(HealthReason::Timeouts, 1_000);
    let day = 24 * 3_600 * 1_000;
    assert_eq!(health.record(probe(Ending::Answered), 3, 5 * day), None);
    let change = health
        .record(probe(Ending::Answered), 3, 5 * day + 1_000)
        .expect("a change");
    assert_eq!(change.to, HealthState::Disabled);
    assert_eq!(health.reason, Some(HealthReason::OpenTooLong));
    assert_eq!(
        health.record(attempt(Ending::Success), 3, 6 * day),
        None,
        "only its owner switches it on"
    );
}

/// An attempt at the URL that was set at `set_ms`.
fn at_url(set_ms: i64, ending: Ending) -> AttemptEnd {
    AttemptEnd {
        url_changed_at: Some(from_ms(set_ms)),
        ..probe(ending)
    }
}

#[test]
fn what_another_url_answered_moves_nothing() {
    let mut open = EndpointHealth::new(0);
    open.open(HealthReason::Failures, 1);
    for mut health in [EndpointHealth::new(0), open] {
        health.take_url(Some(from_ms(2)), 2);
        let before = health;
        for end in [
            attempt(Ending::Unanswered),
            at_url(1, Ending::Success),
            at_url(3, Ending::Answered),
        ] {
            for _ in 0..20 {
                let last = AttemptEnd {
                    is_final_failure: end.ending != Ending::Success,
                    is_gone: end.ending == Ending::Answered,
                    ..end
                };
                assert_eq!(health.record(last, 1, 4), None);
            }
        }
        assert_eq!(health, before);
    }
}

#[test]
fn a_new_url_begins_anew() {
    let mut careful = EndpointHealth::new(0);
    for number in 1..=9 {
        careful.record(attempt(Ending::Unanswered), 3, number);
    }
    let mut failed = EndpointHealth::new(0);
    let mut gone = EndpointHealth::new(0);
    let last = AttemptEnd {
        is_final_failure: true,
        ..attempt(Ending::Answered)
    };
    failed.record(attempt(Ending::Success), 3, 1);
    failed.record(last, 3, 2);
    gone.record(
        AttemptEnd {
            is_gone: true,
            ..last
        },
        3,
        1,
    );
    for (mut health, state) in [
        (careful, HealthState::New),
        (failed, HealthState::Ok),
        (gone, HealthState::New),
    ] {
        assert!(!health.take_url(None, 20), "it has not changed");
        assert!(health.is_notable());
        assert!(health.take_url(Some(from_ms(15)), 20));
        assert!(!health.is_notable() && health.state == state, "{health:?}");
        assert!(!health.take_url(Some(from_ms(15)), 30));
        // Nine more do not open it.
        for _ in 0..9 {
            health.record(at_url(15, Ending::Unanswered), 3, 40);
        }
        assert_eq!(health.state, HealthState::Careful);
    }
}

#[test]
fn a_new_url_of_an_open_circuit_is_probed_at_once() {
    let mut health = EndpointHealth::new(0);
    health.open(HealthReason::Failures, 1_000);
    for now_ms in [31_000, 91_000, 211_000] {
        health.record(probe(Ending::Answered), 3, now_ms);
    }
    assert!(!health.is_probe_due(220_000));
    assert!(health.take_url(Some(from_ms(219_000)), 220_000));
    assert!(health.is_probe_due(220_000), "{health:?}");
    assert_eq!((health.state, health.since_ms), (HealthState::Open, 1_000));
    health.record(at_url(219_000, Ending::Answered), 3, 220_000);
    assert_eq!(
        health.next_probe_ms(),
        Some(280_000),
        "and from the first pause on"
    );
    let day = 24 * 3_600 * 1_000;
    let still = health.record(at_url(219_000, Ending::Answered), 3, 5 * day + 218_000);
    assert_eq!(still, None, "five days count from the edit");
    let off = health.record(at_url(219_000, Ending::Answered), 3, 5 * day + 219_000);
    assert_eq!(off.map(|change| change.to), Some(HealthState::Disabled));
}

#[test]
fn a_success_in_flight_closes_the_circuit_too() {
    let mut health = EndpointHealth::new(0);
    health.open(HealthReason::Failures, 10);
    let change = health.record(attempt(Ending::Success), 3, 20).expect("a change");
    assert_eq!((change.to, change.from_since_ms), (HealthState::Ok, 10));
}

trait Seconds {
    fn map_seconds(self) -> Vec<i64>;
}

impl Seconds for Vec<i64> {
    fn map_seconds(self) -> Vec<i64> {
        self.into_iter().map(|ms| ms / 1_000).collect()
    }
}
