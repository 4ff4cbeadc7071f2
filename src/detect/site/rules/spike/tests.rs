use super::*;

fn spike(threshold: u32) -> Spike {
    Spike::armed(SpikeSettings {
        threshold,
        window_seconds: 300,
    })
}

fn at(now: u32, count: u32) -> Observation {
    Observation {
        now,
        count,
        record_ms: i64::from(now) * 1_000,
        fresh: true,
    }
}

fn judge(spike: &mut Spike, observation: Observation) -> Transition {
    spike.judge(observation, || Uuid::from_u128(u128::from(observation.now)))
}

#[test]
fn fires_at_the_threshold_and_once_an_episode() {
    let mut spike = spike(10);
    assert_eq!(judge(&mut spike, at(1, 9)), Transition::Same);
    assert!(matches!(judge(&mut spike, at(2, 10)), Transition::Fires(e) if e.started_at == 2));
    assert_eq!(judge(&mut spike, at(3, 11)), Transition::Same);
    assert_eq!(judge(&mut spike, at(4, 500)), Transition::Same);
}

#[test]
fn arms_again_a_minute_after_the_count_came_down() {
    let mut spike = spike(10);
    judge(&mut spike, at(100, 10));
    assert!(!spike.pass(110, 9), "9 is above the level");
    assert!(spike.pass(120, 8));
    assert_eq!(spike.due(), Some(180));
    assert!(!spike.pass(179, 0));
    assert!(spike.pass(180, 0));
    assert_eq!(spike.state, TriggerState::Armed);
}

#[test]
fn a_rise_above_the_level_starts_the_calm_anew() {
    let mut spike = spike(10);
    judge(&mut spike, at(100, 10));
    spike.pass(120, 8);
    assert_eq!(judge(&mut spike, at(130, 8)), Transition::Same);
    assert_eq!(judge(&mut spike, at(170, 9)), Transition::Changed);
    assert_eq!(spike.due(), None);
    spike.pass(175, 8);
    assert_eq!(spike.due(), Some(235));
}

#[test]
fn the_level_is_four_fifths_and_always_below_the_threshold() {
    for (threshold, level) in [
        (1, 0),
        (2, 1),
        (4, 3),
        (5, 4),
        (6, 4),
        (10, 8),
        (u32::MAX, 3_435_973_836),
    ] {
        assert_eq!(spike(threshold).settings.rearm_level(), level, "{threshold}");
    }
}

#[test]
fn a_stale_episode_is_notified_once_events_are_fresh() {
    let mut spike = spike(10);
    let stale = |now, count| Observation {
        fresh: false,
        ..at(now, count)
    };
    assert_eq!(judge(&mut spike, stale(100, 10)), Transition::Stale);
    assert_eq!(judge(&mut spike, stale(101, 11)), Transition::Same);
    // Above the re-arm level, but no breach.
    assert_eq!(judge(&mut spike, at(900, 9)), Transition::Same);
    let late = judge(&mut spike, at(901, 10));
    assert!(matches!(late, Transition::Fires(e) if e.started_at == 100 && e.decided_at_ms == Some(901_000)));
    assert_eq!(judge(&mut spike, at(902, 11)), Transition::Same);
}

#[test]
fn a_stale_episode_that_ended_is_never_notified() {
    let mut spike = spike(10);
    judge(
        &mut spike,
        Observation {
            fresh: false,
            ..at(100, 10)
        },
    );
    spike.pass(200, 0);
    spike.pass(260, 0);
    assert_eq!(spike.state, TriggerState::Armed);
}

#[test]
fn an_edited_threshold_is_judged_again_without_firing_again() {
    let mut old = spike(10);
    let Transition::Fires(episode) = judge(&mut old, at(100, 20)) else {
        panic!("it fires");
    };
    let settings = |threshold| SpikeSettings {
        threshold,
        window_seconds: 300,
    };
    // Still in breach.
    let mut lower = Spike::edited(settings(5), episode, 110, 20);
    assert_eq!(judge(&mut lower, at(111, 21)), Transition::Same);
    assert_eq!(lower.due(), None);
    // Calm by the new settings.
    let mut higher = Spike::edited(settings(100), episode, 110, 20);
    assert_eq!(higher.due(), Some(170));
    assert!(higher.pass(170, 20));
    assert!(matches!(judge(&mut higher, at(171, 100)), Transition::Fires(_)));
}
