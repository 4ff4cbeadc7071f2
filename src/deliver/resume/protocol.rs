//! The delivery protocol as a model, run with crashes between any two steps, overlapping owners,
//! repeated records and planned hand-overs.

use proptest::prelude::*;

use super::*;
use crate::deliver::outcome::{EndedAttempt, Next, next};
use crate::dispatch::schedule::RetrySchedule;
use crate::dispatch::tier::Tiers;
use crate::domain::attempt::AttemptResult;

/// Longest time that a request takes, in milliseconds.
const DEADLINE_MS: i64 = 30_000;

/// A record in Kafka, on whatever topic.
#[derive(Debug, Clone, Copy)]
struct ModelRecord {
    attempt: u32,
    due_at_ms: i64,
    complete: bool,
}

/// The step that an owner makes next for a record.
#[derive(Debug, Clone, Copy)]
enum ModelStep {
    Ask,
    Send,
    Write { result: AttemptResult },
    Publish(NextRecord),
    Complete,
}

#[derive(Debug, Clone, Copy)]
struct ModelWork {
    owner: u8,
    record: usize,
    step: ModelStep,
}

/// One delivery in a world of Kafka, Postgres and processes.
#[derive(Debug)]
struct World {
    now_ms: i64,
    kafka: Vec<ModelRecord>,
    dead_letters: usize,
    postgres: Option<DeliveryProgress>,
    /// Attempts as the table has them.
    recorded: Vec<u32>,
    /// Attempts as the endpoint saw them.
    sent: Vec<u32>,
    work: Vec<ModelWork>,
    schedule: RetrySchedule,
    tiers: Tiers,
}

impl World {
    fn new() -> Self {
        let schedule = RetrySchedule::default();
        Self {
            now_ms: 0,
            kafka: vec![ModelRecord {
                attempt: 1,
                due_at_ms: 0,
                complete: false,
            }],
            dead_letters: 0,
            postgres: None,
            recorded: vec![],
            sent: vec![],
            work: vec![],
            tiers: schedule.tiers().collect(),
            schedule,
        }
    }

    /// Gives `owner` the `pick`-th record that is due and not complete, unless it works on one of
    /// this delivery.
    fn take(&mut self, owner: u8, pick: usize) {
        let ready: Vec<usize> = (0..self.kafka.len())
            .filter(|at| !self.kafka[*at].complete && self.kafka[*at].due_at_ms <= self.now_ms)
            .collect();
        if !ready.is_empty() && self.work.iter().all(|one| one.owner != owner) {
            self.work.push(ModelWork {
                owner,
                record: ready[pick % ready.len()],
                step: ModelStep::Ask,
            });
        }
    }

    /// Lets `owner` make one step. `answer` is the endpoint's answer, should it be asked, `chance`
    /// the owner's jitter.
    fn step(&mut self, owner: u8, answer: AttemptResult, chance: f64) {
        let Some(index) = self.work.iter().position(|one| one.owner == owner) else {
            return;
        };
        let ModelWork { record, step, .. } = self.work[index];
        let attempt = self.kafka[record].attempt;
        self.work[index].step = match step {
            ModelStep::Ask => {
                let decision = resume(attempt, false, self.postgres.as_ref(), self.now_ms);
                if matches!(decision, Resume::Send { .. }) {
                    assert!(self.recorded.iter().all(|one| *one < attempt), "{self:?}");
                }
                match decision {
                    Resume::Complete => ModelStep::Complete,
                    Resume::Republish(following) => ModelStep::Publish(following),
                    Resume::Hold { .. } => ModelStep::Ask,
                    Resume::Send { .. } => ModelStep::Send,
                }
            }
            ModelStep::Send => {
                self.sent.push(attempt);
                ModelStep::Write { result: answer }
            }
            ModelStep::Write { result } => self.write(attempt, result, chance),
            ModelStep::Publish(NextRecord::Retry(following)) => {
                self.publish(following.attempt, following.due_at_ms);
                ModelStep::Complete
            }
            ModelStep::Publish(NextRecord::DeadLetter { .. }) => {
                self.dead_letters += 1;
                ModelStep::Complete
            }
            ModelStep::Complete => {
                self.kafka[record].complete = true;
                self.work.remove(index);
                return;
            }
        };
    }

    fn publish(&mut self, attempt: u32, due_at_ms: i64) {
        self.kafka.push(ModelRecord {
            attempt,
            due_at_ms,
            complete: false,
        });
    }

    /// Writes an outcome as the guarded statement does: an attempt once, and nothing over a later
    /// attempt or an end.
    fn write(&mut self, attempt: u32, result: AttemptResult, chance: f64) -> ModelStep {
        let refused = self
            .postgres
            .is_some_and(|progress| progress.attempts >= attempt || progress.status.is_finished());
        if refused {
            return ModelStep::Ask;
        }
        let ended = EndedAttempt {
            attempt,
            step: attempt - 1,
            result,
            retry_after: None,
            date: None,
            ended_at_ms: self.now_ms,
            is_probe: false,
            due_at_ms: self.now_ms,
            parked: None,
        };
        let mut progress = DeliveryProgress {
            status: DeliveryStatus::Delivered,
            attempts: attempt,
            next_retry_at_ms: None,
            step: 1,
            is_parked: false,
            failure_reason: None,
            last_status: None,
            first_attempt_at_ms: None,
            claim: None,
        };
        let step = match next(&ended, &self.schedule, &self.tiers, chance) {
            Next::Delivered => ModelStep::Complete,
            Next::Retry(following, _) => {
                // Jitter on top, though the default schedule has none: two owners would never agree
                // by accident.
                let due_at_ms = following.due_at_ms + (chance * 100.0) as i64;
                progress.status = DeliveryStatus::Retrying;
                progress.next_retry_at_ms = Some(due_at_ms);
                progress.step = following.step;
                ModelStep::Publish(NextRecord::Retry(NextAttempt {
                    due_at_ms,
                    ..following
                }))
            }
            Next::Park(..) => unreachable!("the default schedule parks nothing"),
            Next::Failed { reason } => {
                progress.status = DeliveryStatus::Failed;
                progress.failure_reason = Some(reason);
                ModelStep::Publish(NextRecord::DeadLetter { reason })
            }
        };
        self.postgres = Some(progress);
        self.recorded.push(attempt);
        step
    }

    /// Lets `owner` give the partition away as planned: running attempts are written down and
    /// finish under another name.
    fn hand_over(&mut self, owner: u8) {
        for one in self.work.iter_mut().filter(|one| one.owner == owner) {
            let attempt = self.kafka[one.record].attempt;
            match one.step {
                // Nothing was sent: the record is forgotten, and read again by the next owner.
                ModelStep::Ask => one.owner = u8::MAX,
                ModelStep::Send | ModelStep::Write { .. } => {
                    let claim = Some(ClaimedAttempt {
                        attempt,
                        until_ms: self.now_ms + DEADLINE_MS,
                    });
                    let progress = self.postgres.get_or_insert(DeliveryProgress {
                        status: DeliveryStatus::Pending,
                        attempts: 0,
                        next_retry_at_ms: None,
                        step: 1,
                        is_parked: false,
                        failure_reason: None,
                        last_status: None,
                        first_attempt_at_ms: None,
                        claim,
                    });
                    progress.claim = claim;
                    one.owner = 100 + owner;
                }
                ModelStep::Publish(_) | ModelStep::Complete => one.owner = 100 + owner,
            }
        }
        self.work.retain(|one| one.owner != u8::MAX);
    }

    fn crash(&mut self, owner: u8) {
        self.work.retain(|one| one.owner != owner);
    }

    /// Lets one owner work without further faults until nothing is left.
    fn finish(&mut self) {
        self.work.clear();
        for _ in 0..10_000 {
            if self.kafka.iter().all(|record| record.complete) {
                return;
            }
            self.now_ms += 1_000;
            self.take(0, 0);
            self.step(0, AttemptResult::ServerError, 0.3);
        }
        panic!("it never ends: {self:?}");
    }

    fn check(&self) {
        for attempt in 1..=10 {
            let mut due: Vec<i64> = self
                .kafka
                .iter()
                .filter(|record| record.attempt == attempt)
                .map(|record| record.due_at_ms)
                .collect();
            due.dedup();
            assert!(due.len() <= 1, "the chain forked at attempt {attempt}: {self:?}");
            let times = self.recorded.iter().filter(|one| **one == attempt).count();
            assert!(
                times <= 1,
                "attempt {attempt} is recorded {times} times: {self:?}"
            );
        }
        assert!(self.recorded.len() <= 4, "{self:?}");
    }

    fn check_end(&self) {
        self.check();
        let progress = self.postgres.expect("nothing was lost");
        match progress.status {
            DeliveryStatus::Delivered => {}
            DeliveryStatus::Failed => assert!(self.dead_letters > 0, "{self:?}"),
            other => panic!("it ends as {other}: {self:?}"),
        }
    }
}

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
        actions in proptest::collection::vec((0..16_u8, 0..2_u8, answers(), 0.0..1.0_f64, 0..8_usize), 0..120),
    ) {
        let mut world = World::new();
        for (kind, owner, answer, chance, pick) in actions {
            match kind {
                0..=2 => world.take(owner, pick),
                3..=10 => world.step(owner, answer, chance),
                11 => world.crash(owner),
                12 => {
                    // The producer repeats a record that was written and not acknowledged.
                    let record = world.kafka[pick % world.kafka.len()];
                    world.kafka.push(ModelRecord { complete: false, ..record });
                }
                13 => world.hand_over(owner),
                // A former owner goes on with what it handed over.
                14 => world.step(100 + owner, answer, chance),
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
                0..=1 => world.take(owner, pick),
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
