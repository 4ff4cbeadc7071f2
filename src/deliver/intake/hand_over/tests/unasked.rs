//! First attempts that are sent without asking, as a model: one delivery and copies of its record,
//! owners that are killed, suspended or hand over, a detector's clock that is wrong, and an absent
//! Postgres. Each condition of the rule is left out once, and the model finds what it prevents.

use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use world::World;

/// The model.
mod world;

/// Condition that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Omitted {
    Nothing,
    /// Its record lies beyond the partition's end as seen at the assignment. It alone matters for a
    /// clock that is further ahead than the slack.
    BeyondEnd,
    /// Its notification was decided after that.
    DecidedAfter,
    /// It was decided at most 20 s ago.
    Fresh,
    /// No copy of it was read here.
    NoCopy,
    /// Postgres has just answered.
    Answered,
    /// The range that its record lies in was announced, and the commit answered.
    Announced,
    /// A record outside the range is noted before it is sent.
    Noted,
    /// The owner has polled lately, so that nobody else can own the partition.
    Polled,
}

/// A send by which two requests are not flagged, or unasked of what was sent before.
const REPEATED: &str = "an unflagged repeat";
/// A send of which the outcome cannot be recorded.
const AWAY: &str = "sent unasked while Postgres is away";

/// A kind of action, and a number that says more.
type ModelAction = (u8, usize);

fn actions() -> impl Strategy<Value = (i64, Vec<ModelAction>)> {
    // A clock further ahead than the slack is among them.
    let skew_ms = prop_oneof![3 => Just(0_i64), 1 => -3_000..4_000_i64];
    (skew_ms, proptest::collection::vec((0..20_u8, 0..8_usize), 0..60))
}

fn run(omitted: Omitted, skew_ms: i64, actions: &[ModelAction], start: Instant) -> Result<(), String> {
    let mut world = World::new(omitted, skew_ms, start);
    world.assign();
    world.pass(2_500);
    for &(kind, pick) in actions {
        match kind {
            0..=1 => world.publish(),
            2 => world.publish_others(40 * pick as i64),
            3..=8 => world.step(pick)?,
            9 => world.kill(pick),
            10 => world.suspend(pick),
            11 => world.resume(pick),
            12..=13 => world.assign(),
            14 => world.hand_over(),
            15 => world.commit(),
            16 => world.is_postgres_away = pick < 2,
            _ => world.pass([5, 20, 500, 1_000, 2_500, 7_000, 20_000, 45_000][pick]),
        }
    }
    world.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_is_sent_unasked_is_sent_by_nobody_else((skew_ms, actions) in actions()) {
        let result = run(Omitted::Nothing, skew_ms, &actions, crate::clock::monotonic());
        prop_assert_eq!(result, Ok(()));
    }
}

#[test]
fn without_any_one_condition_the_model_fails() {
    let start = crate::clock::monotonic();
    for omitted in [
        Omitted::BeyondEnd,
        Omitted::DecidedAfter,
        Omitted::Fresh,
        Omitted::NoCopy,
        Omitted::Answered,
        Omitted::Announced,
        Omitted::Noted,
        Omitted::Polled,
    ] {
        let config = Config {
            cases: 100_000,
            max_shrink_iters: 0,
            failure_persistence: None,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, deterministic());
        let result = runner.run(&actions(), |(skew_ms, actions)| {
            run(omitted, skew_ms, &actions, start).map_err(TestCaseError::fail)
        });
        let failure = result
            .expect_err(&format!("{omitted:?} prevents nothing"))
            .to_string();
        let found = match omitted {
            Omitted::Answered => AWAY,
            _ => REPEATED,
        };
        assert!(failure.contains(found), "{omitted:?}: {failure}");
    }
}

/// Chance that is the same in each run.
fn deterministic() -> proptest::test_runner::TestRng {
    proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha)
}
