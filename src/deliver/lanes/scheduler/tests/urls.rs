use super::*;

/// Settings after the URL was changed at `changed_ms`.
fn edited(changed_ms: i64) -> EndpointSettings {
    EndpointSettings {
        url_changed_at: Some(from_ms(changed_ms)),
        ..settings(0, 1)
    }
}

#[test]
fn an_open_circuit_is_probed_at_once_after_an_edit() {
    let mut stepped = Stepped::new(LaneLimits::new(512));
    stepped.set_up(0, settings(0, 0));
    let jobs: Vec<u32> = (0..10).map(|_| stepped.arrive(0, QueueKind::First)).collect();
    for job in &jobs[..8] {
        stepped.end(*job, end(Ending::Unanswered));
    }
    // It is careful by now: one after the other.
    for job in &jobs[8..] {
        stepped.end(*job, end(Ending::Unanswered));
    }
    let parked = stepped.arrive(0, QueueKind::First);
    assert!(!stepped.started(parked));
    assert_eq!(stepped.scheduler.room_for_parked(id(0), 0, stepped.now), 0);
    stepped.set_up(0, edited(stepped.now.wall_ms));
    assert_eq!(stepped.scheduler.room_for_parked(id(0), 0, stepped.now), 1);
    let probe = stepped.arrive(0, QueueKind::Parked);
    assert_eq!(stepped.in_flight, [(id(0), probe, true)]);
    let success = AttemptEnd {
        url_changed_at: edited(stepped.now.wall_ms).url_changed_at,
        ..end(Ending::Success)
    };
    let closed = stepped.end(probe, success).expect("a change");
    assert_eq!((closed.from, closed.to), (HealthState::Open, HealthState::Ok));
}

#[test]
fn what_ends_at_an_old_url_makes_room_and_says_nothing() {
    let mut stepped = Stepped::new(LaneLimits::new(512));
    stepped.set_up(0, settings(0, 0));
    let old: Vec<u32> = (0..8).map(|_| stepped.arrive(0, QueueKind::First)).collect();
    let waits = stepped.arrive(0, QueueKind::First);
    stepped.set_up(0, edited(stepped.now.wall_ms));
    stepped.run();
    assert!(!stepped.started(waits), "no more than max_concurrency");
    for job in old {
        let gone = AttemptEnd {
            is_gone: true,
            is_final_failure: true,
            ..end(Ending::Answered)
        };
        assert_eq!(stepped.end(job, gone), None);
        assert!(stepped.started(waits));
    }
    let health = stepped.scheduler.health(id(0)).expect("known");
    assert!(!health.is_notable(), "{health:?}");
    assert_eq!(stepped.refused, [0_u32; 0]);
}

#[test]
fn stored_health_of_an_old_url_is_no_health_of_the_new_one() {
    let mut stored = EndpointHealth::new(0);
    for _ in 0..9 {
        stored.record(end(Ending::Unanswered), 3, 1);
    }
    let mut stepped = Stepped::new(LaneLimits::new(512));
    for (settings, is_notable) in [(settings(0, 0), true), (edited(5), false)] {
        let mut scheduler = Scheduler::<u32>::new(LaneLimits::new(512));
        scheduler.set_up(id(0), settings.clone(), stored, stepped.now);
        assert_eq!(
            scheduler.health(id(0)).map(EndpointHealth::is_notable),
            Some(is_notable)
        );
        stepped.set_up(0, settings);
        stepped.scheduler.set_health(id(0), stored, stepped.now);
        let health = stepped.scheduler.health(id(0));
        assert_eq!(health.map(EndpointHealth::is_notable), Some(is_notable));
    }
}
