use super::*;

fn at(now: u32, level: Level) -> Evidence {
    Evidence {
        level,
        now,
        count: 0,
        may_fire: true,
        is_fresh: true,
    }
}

fn judge(state: &mut TriggerState, evidence: Evidence) -> Transition {
    state.judge(evidence, || Uuid::from_u128(u128::from(evidence.now)))
}

const CALM: Level = Level::Calm { seconds: 60 };

fn started_at(state: &TriggerState) -> Option<u32> {
    state.episode().map(|episode| episode.started_at)
}

fn decide(state: &mut TriggerState) {
    if let Some(episode) = state.episode_mut() {
        let at = episode.started_at;
        episode.notice = Notice::Decided { at_ms: 0, at };
    }
}

#[test]
fn fires_at_a_breach_and_once_an_episode() {
    let mut state = TriggerState::Armed;
    assert_eq!(judge(&mut state, at(1, Level::Between)), Transition::Same);
    assert_eq!(judge(&mut state, at(2, Level::Breach)), Transition::Fires);
    assert_eq!(started_at(&state), Some(2));
    decide(&mut state);
    assert_eq!(judge(&mut state, at(3, Level::Breach)), Transition::Same);
}

#[test]
fn an_occasion_that_may_not_fire_begins_no_episode() {
    let mut state = TriggerState::Armed;
    let evidence = Evidence {
        may_fire: false,
        ..at(1, Level::Breach)
    };
    assert_eq!(judge(&mut state, evidence), Transition::Same);
}

#[test]
fn arms_again_when_it_was_calm_for_long_enough() {
    let mut state = TriggerState::Armed;
    judge(&mut state, at(100, Level::Breach));
    decide(&mut state);
    assert_eq!(judge(&mut state, at(110, Level::Between)), Transition::Same);
    assert_eq!(judge(&mut state, at(120, CALM)), Transition::Changed);
    assert_eq!(state.arms_at(CALM, 120), Some(180));
    assert_eq!(judge(&mut state, at(179, CALM)), Transition::Same);
    assert!(
        matches!(judge(&mut state, at(180, CALM)), Transition::Arms(episode) if episode.started_at == 100)
    );
    assert_eq!(state, TriggerState::Armed);
}

#[test]
fn what_is_not_calm_starts_the_calm_anew() {
    let mut state = TriggerState::Armed;
    judge(&mut state, at(100, Level::Breach));
    decide(&mut state);
    judge(&mut state, at(120, CALM));
    assert_eq!(judge(&mut state, at(170, Level::Between)), Transition::Changed);
    judge(&mut state, at(175, CALM));
    assert_eq!(state.arms_at(CALM, 175), Some(235));
}

#[test]
fn what_may_not_have_been_seen_changes_nothing() {
    let mut state = TriggerState::Armed;
    assert_eq!(judge(&mut state, at(100, Level::Unknown)), Transition::Same);
    judge(&mut state, at(100, Level::Breach));
    judge(&mut state, at(120, CALM));
    let before = state;
    assert_eq!(judge(&mut state, at(900, Level::Unknown)), Transition::Same);
    assert_eq!(state, before);
}

#[test]
fn a_withheld_episode_is_notified_once_the_time_is_fresh() {
    let mut state = TriggerState::Armed;
    let stale = |now, level| Evidence {
        is_fresh: false,
        ..at(now, level)
    };
    assert_eq!(judge(&mut state, stale(100, Level::Breach)), Transition::Withheld);
    assert_eq!(judge(&mut state, stale(101, Level::Breach)), Transition::Same);
    assert_eq!(judge(&mut state, at(900, Level::Between)), Transition::Same);
    assert_eq!(judge(&mut state, at(901, Level::Breach)), Transition::Fires);
    decide(&mut state);
    assert_eq!(judge(&mut state, at(902, Level::Breach)), Transition::Same);
    assert_eq!(started_at(&state), Some(100));
}

#[test]
fn a_withheld_episode_that_ended_is_never_notified() {
    let mut state = TriggerState::Armed;
    let stale = Evidence {
        is_fresh: false,
        ..at(100, Level::Breach)
    };
    judge(&mut state, stale);
    judge(&mut state, at(200, CALM));
    assert!(
        matches!(judge(&mut state, at(260, CALM)), Transition::Arms(episode) if episode.notice == Notice::Withheld)
    );
    assert_eq!(judge(&mut state, at(261, Level::Between)), Transition::Same);
}
