//! The delivery protocol as a model, run with crashes between any two steps, overlapping owners,
//! repeated records, planned hand-overs, and deliveries that wait in Postgres.

use proptest::prelude::*;

use crate::domain::attempt::AttemptResult;
use world::World;

/// The model.
mod world;

fn answers() -> impl Strategy<Value = AttemptResult> {
    prop_oneof![
        6 => Just(AttemptResult::ServerError),
        2 => Just(AttemptResult::Success),
        1 => Just(AttemptResult::Gone),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn crashes_overlaps_and_repeats_lose_nothing_and_fork_no_chain(
        actions in proptest::collection::vec((0..22_u8, 0..2_u8, answers(), 0.0..1.0_f64, 0..8_usize), 0..120),
    ) {
        let mut world = World::new();
        for (kind, owner, answer, chance, pick) in actions {
            match kind {
                0..=2 => world.take(owner, pick),
                3..=10 => world.step(owner, answer, chance),
                11 => world.crash(owner),
                12 => {
                    // The producer repeats a record that was written and not acknowledged.
                    world.repeat(pick);
                }
                13 => world.hand_over(owner),
                // A former owner goes on with what it handed over.
                14 => world.step(100 + owner, answer, chance),
                15..=16 => world.claim_row(owner),
                // An owner seems dead and is not.
                17 => world.end_claim(),
                18 => world.wait_long(),
                19 => world.end_overdue(),
                _ => world.now_ms += 500 * (1 + pick as i64),
            }
            world.check();
        }
        world.finish();
        world.check_end();
    }

    #[test]
    fn planned_hand_overs_repeat_nothing(
        actions in proptest::collection::vec((0..12_u8, answers(), 0.0..1.0_f64, 0..8_usize), 0..150),
    ) {
        let mut world = World::new();
        let mut owner = 0;
        for (kind, answer, chance, pick) in actions {
            match kind {
                0 => world.take(owner, pick),
                1 => world.claim_row(owner),
                2..=7 => world.step(owner, answer, chance),
                8..=9 => (100..100 + owner).for_each(|former| world.step(former, answer, chance)),
                // Within the deadline: claims hold because requests end in time.
                10 => world.now_ms += 100,
                _ => {
                    world.hand_over(owner);
                    owner += 1;
                }
            }
        }
        // Everything in flight ends before its claim does.
        while let Some(one) = world.work.iter().map(|one| one.owner).max() {
            world.step(one, AttemptResult::ServerError, 0.5);
            // The last owner may be holding a record: time passes.
            world.now_ms += if one < 100 { 1_000 } else { 0 };
        }
        world.finish();
        world.check_end();
        let mut once = world.sent.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), world.sent.len(), "{:?}", world);
    }
}

#[test]
fn a_record_that_is_parked_late_ends_no_claim() {
    let mut world = World::new();
    let step = |world: &mut World, owner| world.step(owner, AttemptResult::ServerError, 0.9);
    world.repeat(0);
    for owner in 0..2 {
        world.take(owner, usize::from(owner));
        // It asks, and has to park its record.
        step(&mut world, owner);
    }
    // One parks, completes its record, and claims the row.
    step(&mut world, 1);
    step(&mut world, 1);
    world.now_ms += 3_000;
    world.claim_row(1);
    // The other one parks after that.
    step(&mut world, 0);
    step(&mut world, 0);
    world.now_ms += 3_000;
    world.claim_row(0);
    let owners: Vec<u8> = world.work.iter().map(|work| work.owner).collect();
    assert_eq!(owners, [1]);
    world.finish();
    world.check_end();
}

#[test]
fn what_is_late_is_parked_before_it_is_sent_or_is_not_sent() {
    let step = |world: &mut World| world.step(0, AttemptResult::ServerError, 0.5);
    let failed_once = || {
        let mut world = World::new();
        world.take(0, 0);
        // Ask, send, record, publish, complete.
        (0..5).for_each(|_| step(&mut world));
        assert_eq!(world.sent, [1]);
        // Nobody reads the retry for a minute less than an hour.
        (0..3).for_each(|_| world.wait_long());
        world
    };
    // Its owner comes first: a row keeps it from being taken for overdue.
    let mut world = failed_once();
    world.take(0, 0);
    (0..2).for_each(|_| step(&mut world));
    world.now_ms += 300_000;
    world.end_overdue();
    world.finish();
    world.check_end();
    assert!(world.sent.len() > 1 && !world.is_overdue, "{world:?}");
    // Somebody asks for it again first.
    let mut world = failed_once();
    world.now_ms += 300_000;
    world.end_overdue();
    world.finish();
    world.check_end();
    assert!(world.sent == [1] && world.is_overdue, "{world:?}");
}
