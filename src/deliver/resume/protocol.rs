//! The delivery protocol as a model, run with crashes between any two steps, overlapping owners,
//! repeated records, planned hand-overs, and deliveries that wait in Postgres.

use proptest::prelude::*;

use super::*;
use crate::deliver::outcome::{EndedAttempt, Next, next};
use crate::dispatch::schedule::RetrySchedule;
use crate::dispatch::tier::Tiers;
use crate::domain::attempt::AttemptResult;
use crate::domain::health::ParkReason;

/// Longest time that a request takes, in milliseconds.
const DEADLINE_MS: i64 = 30_000;
/// Time for which a row is claimed.
const CLAIM_MS: i64 = DEADLINE_MS + 60_000;

/// A record in Kafka, on whatever topic.
#[derive(Debug, Clone, Copy)]
struct ModelRecord {
    attempt: u32,
    due_at_ms: i64,
    complete: bool,
}

/// A row of `parked`.
#[derive(Debug, Clone, Copy)]
struct ModelRow {
    attempt: u32,
    due_at_ms: i64,
    claimed_until_ms: Option<i64>,
}

/// Origin of an owner's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WorkSource {
    Record(usize),
    /// The row, which asked for this attempt when it was claimed.
    Row {
        attempt: u32,
    },
}

/// The step that an owner makes next for a record.
#[derive(Debug, Clone, Copy)]
enum ModelStep {
    Ask,
    Send,
    /// Park it unsent.
    Park,
    Write {
        result: AttemptResult,
    },
    Publish(NextRecord),
    Complete,
}

#[derive(Debug, Clone, Copy)]
struct ModelWork {
    owner: u8,
    source: WorkSource,
    step: ModelStep,
}

/// One delivery in a world of Kafka, Postgres and processes.
#[derive(Debug)]
struct World {
    now_ms: i64,
    kafka: Vec<ModelRecord>,
    dead_letters: usize,
    postgres: Option<DeliveryProgress>,
    row: Option<ModelRow>,
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
            row: None,
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
                source: WorkSource::Record(ready[pick % ready.len()]),
                step: ModelStep::Ask,
            });
        }
    }

    /// Lets `owner` claim the row, if it is due and nobody has claimed it.
    fn claim_row(&mut self, owner: u8) {
        if self.work.iter().any(|one| one.owner == owner) {
            return;
        }
        if let Some(row) = &mut self.row
            && row.due_at_ms <= self.now_ms
            && row
                .claimed_until_ms
                .is_none_or(|until_ms| until_ms <= self.now_ms)
        {
            row.claimed_until_ms = Some(self.now_ms + CLAIM_MS);
            let source = WorkSource::Row { attempt: row.attempt };
            let step = ModelStep::Ask;
            self.work.push(ModelWork { owner, source, step });
        }
    }

    /// Ends the claim of the row, as who follows an owner does that seems dead.
    fn end_claim(&mut self) {
        if let Some(row) = &mut self.row {
            row.claimed_until_ms = row.claimed_until_ms.map(|_| self.now_ms);
        }
    }

    fn attempt_of(&self, source: WorkSource) -> u32 {
        match source {
            WorkSource::Record(record) => self.kafka[record].attempt,
            WorkSource::Row { attempt } => attempt,
        }
    }

    /// Lets `owner` make one step. `answer` is the endpoint's answer, should it be asked, `chance`
    /// the owner's jitter.
    fn step(&mut self, owner: u8, answer: AttemptResult, chance: f64) {
        let Some(index) = self.work.iter().position(|one| one.owner == owner) else {
            return;
        };
        let ModelWork { source, step, .. } = self.work[index];
        let (attempt, is_row) = (self.attempt_of(source), matches!(source, WorkSource::Row { .. }));
        self.work[index].step = match step {
            ModelStep::Ask => {
                let decision = resume(attempt, is_row, self.postgres.as_ref(), self.now_ms);
                if matches!(decision, Resume::Send { .. }) {
                    assert!(self.recorded.iter().all(|one| *one < attempt), "{self:?}");
                }
                match decision {
                    Resume::Complete => ModelStep::Complete,
                    Resume::Republish(following) => ModelStep::Publish(following),
                    Resume::Hold { .. } => ModelStep::Ask,
                    // What may not be sent now is parked: a circuit is open, a queue is full.
                    Resume::Send { .. } if chance > 0.8 => ModelStep::Park,
                    Resume::Send { .. } => ModelStep::Send,
                }
            }
            ModelStep::Send => {
                self.sent.push(attempt);
                ModelStep::Write { result: answer }
            }
            ModelStep::Park => self.park(attempt, chance),
            ModelStep::Write { result } => self.write(attempt, is_row, result, chance),
            ModelStep::Publish(NextRecord::Retry(following)) => {
                self.publish(following.attempt, following.due_at_ms);
                ModelStep::Complete
            }
            ModelStep::Publish(NextRecord::DeadLetter { .. }) => {
                self.dead_letters += 1;
                ModelStep::Complete
            }
            ModelStep::Complete => {
                self.complete(source);
                self.work.remove(index);
                return;
            }
        };
    }

    /// Completes a record. A row of a delivery that has ended is removed.
    fn complete(&mut self, source: WorkSource) {
        match source {
            WorkSource::Record(record) => self.kafka[record].complete = true,
            WorkSource::Row { .. } if self.postgres.is_some_and(|known| known.status.is_finished()) => {
                self.row = None;
            }
            WorkSource::Row { .. } => {}
        }
    }

    /// Parks a delivery unsent, as the guarded statement does.
    fn park(&mut self, attempt: u32, chance: f64) -> ModelStep {
        let before = attempt - 1;
        let refused = self
            .postgres
            .is_some_and(|progress| progress.attempts > before || progress.status.is_finished());
        if refused {
            return ModelStep::Ask;
        }
        let due_at_ms = self.now_ms + (chance * 3_000.0) as i64;
        self.row = Some(ModelRow {
            attempt,
            due_at_ms,
            claimed_until_ms: None,
        });
        let claim = self.postgres.and_then(|progress| progress.claim);
        self.postgres = Some(DeliveryProgress {
            status: match before {
                0 => DeliveryStatus::Pending,
                _ => DeliveryStatus::Retrying,
            },
            next_retry_at_ms: Some(due_at_ms),
            is_parked: true,
            claim,
            ..progress_at(before)
        });
        ModelStep::Complete
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
    fn write(&mut self, attempt: u32, is_row: bool, result: AttemptResult, chance: f64) -> ModelStep {
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
            // Longer than any tier holds.
            retry_after: (chance > 0.7).then_some("60"),
            ended_at_ms: self.now_ms,
            is_probe: false,
            due_at_ms: self.now_ms,
            parked: is_row.then_some(ParkReason::Circuit),
        };
        let mut progress = DeliveryProgress {
            status: DeliveryStatus::Delivered,
            ..progress_at(attempt)
        };
        let mut row = None;
        // What another owner has parked meanwhile stays: its record is complete.
        let parked_by_another = self.row.filter(|_| !is_row);
        let step = match next(&ended, &self.schedule, &self.tiers, chance) {
            Next::Delivered => ModelStep::Complete,
            Next::Retry(following, _) => {
                // Jitter on top, though the default schedule has none: two owners would never agree
                // by accident.
                let due_at_ms = following.due_at_ms + (chance * 100.0) as i64;
                progress.status = DeliveryStatus::Retrying;
                progress.next_retry_at_ms = Some(due_at_ms);
                progress.step = following.step;
                if parked_by_another.is_some() {
                    progress.is_parked = true;
                    row = Some(ModelRow {
                        attempt: following.attempt,
                        due_at_ms,
                        claimed_until_ms: None,
                    });
                }
                ModelStep::Publish(NextRecord::Retry(NextAttempt {
                    due_at_ms,
                    ..following
                }))
            }
            Next::Park(following, _) => {
                progress.status = DeliveryStatus::Retrying;
                progress.next_retry_at_ms = Some(following.due_at_ms);
                progress.step = following.step;
                progress.is_parked = true;
                row = Some(ModelRow {
                    attempt: following.attempt,
                    due_at_ms: following.due_at_ms,
                    claimed_until_ms: None,
                });
                ModelStep::Complete
            }
            Next::Failed { reason } => {
                progress.status = DeliveryStatus::Failed;
                progress.failure_reason = Some(reason);
                // Kept, claimed, until the dead letter is published.
                row = self.row.map(|kept| ModelRow {
                    claimed_until_ms: is_row.then_some(self.now_ms + CLAIM_MS),
                    ..kept
                });
                ModelStep::Publish(NextRecord::DeadLetter { reason })
            }
        };
        self.postgres = Some(progress);
        self.row = row;
        self.recorded.push(attempt);
        step
    }

    /// Lets `owner` give the partition away as planned: running attempts are written down and
    /// finish under another name.
    fn hand_over(&mut self, owner: u8) {
        for one in self.work.iter_mut().filter(|one| one.owner == owner) {
            let attempt = match one.source {
                WorkSource::Record(record) => self.kafka[record].attempt,
                WorkSource::Row { attempt } => attempt,
            };
            match one.step {
                // Nothing was sent: the record is forgotten, and read again by the next owner.
                ModelStep::Ask | ModelStep::Park => {
                    one.owner = u8::MAX;
                    // A claimed row is given back.
                    if let (WorkSource::Row { .. }, Some(row)) = (one.source, &mut self.row) {
                        row.claimed_until_ms = None;
                    }
                }
                ModelStep::Send | ModelStep::Write { .. } => {
                    let claim = Some(ClaimedAttempt {
                        attempt,
                        until_ms: self.now_ms + DEADLINE_MS,
                    });
                    let progress = self.postgres.get_or_insert(DeliveryProgress {
                        status: DeliveryStatus::Pending,
                        claim,
                        ..progress_at(0)
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
        self.end_claim();
    }

    /// Lets one owner work without further faults until nothing is left.
    fn finish(&mut self) {
        self.work.clear();
        self.end_claim();
        for _ in 0..10_000 {
            if self.kafka.iter().all(|record| record.complete) && self.row.is_none() {
                return;
            }
            self.now_ms += 1_000;
            self.take(0, 0);
            self.claim_row(0);
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

/// State of a delivery after so many attempts.
fn progress_at(attempts: u32) -> DeliveryProgress {
    DeliveryProgress {
        status: DeliveryStatus::Retrying,
        attempts,
        next_retry_at_ms: None,
        step: attempts,
        is_parked: false,
        failure_reason: None,
        last_status: None,
        first_attempt_at_ms: None,
        claim: None,
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
        actions in proptest::collection::vec((0..20_u8, 0..2_u8, answers(), 0.0..1.0_f64, 0..8_usize), 0..120),
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
                15..=16 => world.claim_row(owner),
                // An owner seems dead and is not.
                17 => world.end_claim(),
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
