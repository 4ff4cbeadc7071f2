//! One delivery in a world of Kafka, Postgres and processes, and the steps of its owners.

use crate::deliver::outcome::{EndedAttempt, Next, next};
use crate::deliver::resume::{DeliveryProgress, NextRecord, Resume, resume};
use crate::dispatch::record::NextAttempt;
use crate::dispatch::schedule::RetrySchedule;
use crate::dispatch::tier::Tiers;
use crate::domain::attempt::AttemptResult;
use crate::domain::delivery::{DeliveryStatus, FailureReason};

/// Claims of the row.
mod claims;
/// Hand-overs, crashes, and the end.
mod faults;
/// Retries that nobody reads for an hour.
mod overdue;

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
    claim: Option<ModelClaim>,
}

/// A claim of the row. In Postgres its end names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ModelClaim {
    number: u32,
    until_ms: i64,
}

/// Origin of an owner's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WorkSource {
    Record(usize),
    /// The row, which asked for this attempt when it was claimed.
    Row {
        attempt: u32,
        claim: ModelClaim,
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
pub(super) struct ModelWork {
    pub(super) owner: u8,
    source: WorkSource,
    step: ModelStep,
}

/// State, row and next step after an outcome is written.
type Written = (DeliveryProgress, Option<ModelRow>, ModelStep);

/// One delivery in a world of Kafka, Postgres and processes.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now_ms: i64,
    kafka: Vec<ModelRecord>,
    dead_letters: usize,
    postgres: Option<DeliveryProgress>,
    /// When Postgres was last written to.
    updated_ms: i64,
    /// It was taken for overdue, and is sent in another delivery.
    pub(super) is_overdue: bool,
    row: Option<ModelRow>,
    /// Claims that were made.
    claims: u32,
    /// Attempts as the table has them.
    recorded: Vec<u32>,
    /// Attempts as the endpoint saw them.
    pub(super) sent: Vec<u32>,
    pub(super) work: Vec<ModelWork>,
    schedule: RetrySchedule,
    tiers: Tiers,
}

impl World {
    pub(super) fn new() -> Self {
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
            updated_ms: 0,
            is_overdue: false,
            row: None,
            claims: 0,
            recorded: vec![],
            sent: vec![],
            work: vec![],
            tiers: schedule.tiers().collect(),
            schedule,
        }
    }

    /// Gives `owner` the `pick`-th record that is due and not complete, unless it works on one of
    /// this delivery.
    pub(super) fn take(&mut self, owner: u8, pick: usize) {
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

    fn attempt_of(&self, source: WorkSource) -> u32 {
        match source {
            WorkSource::Record(record) => self.kafka[record].attempt,
            WorkSource::Row { attempt, .. } => attempt,
        }
    }

    /// Lets `owner` make one step. `answer` is the endpoint's answer, should it be asked, `chance`
    /// the owner's jitter.
    pub(super) fn step(&mut self, owner: u8, answer: AttemptResult, chance: f64) {
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
                    // So that nobody takes it for overdue meanwhile.
                    Resume::Send { .. } if !is_row && self.is_late() => ModelStep::Park,
                    Resume::Send { .. } => ModelStep::Send,
                }
            }
            ModelStep::Send => {
                assert!(!self.is_overdue, "it is sent in two deliveries: {self:?}");
                self.sent.push(attempt);
                ModelStep::Write { result: answer }
            }
            ModelStep::Park => self.park(attempt, source, chance),
            ModelStep::Write { result } => self.write(attempt, source, result, chance),
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
            // It is for a later attempt by now.
            WorkSource::Row { .. } => self.release(source),
        }
    }

    /// Parks a delivery unsent, as the guarded statement does.
    fn park(&mut self, attempt: u32, source: WorkSource, chance: f64) -> ModelStep {
        let before = attempt - 1;
        let refused = self
            .postgres
            .is_some_and(|progress| progress.attempts > before || progress.status.is_finished());
        if refused {
            return ModelStep::Ask;
        }
        let due_at_ms = self.now_ms + (chance * 3_000.0) as i64;
        let claim = self.claim_of_others(source);
        if claim.is_none() || self.row.is_none_or(|row| row.attempt < attempt) {
            self.row = Some(ModelRow {
                attempt,
                due_at_ms,
                claim,
            });
        }
        let claim = self.postgres.and_then(|progress| progress.claim);
        self.updated_ms = self.now_ms;
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

    /// Publishes the `pick`-th record once more.
    pub(super) fn repeat(&mut self, pick: usize) {
        let record = self.kafka[pick % self.kafka.len()];
        self.publish(record.attempt, record.due_at_ms);
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
    fn write(&mut self, attempt: u32, source: WorkSource, result: AttemptResult, chance: f64) -> ModelStep {
        let is_row = matches!(source, WorkSource::Row { .. });
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
            is_row,
            is_of_old_url: false,
        };
        let (progress, row, step) = match next(&ended, &self.schedule, &self.tiers, chance) {
            Next::Delivered => {
                let status = DeliveryStatus::Delivered;
                let progress = DeliveryProgress {
                    status,
                    ..progress_at(attempt)
                };
                (progress, None, ModelStep::Complete)
            }
            Next::Retry(following, _) => {
                // Jitter on top, though the default schedule has none: two owners would never agree
                // by accident.
                let due_at_ms = following.due_at_ms + (chance * 100.0) as i64;
                self.retried(
                    attempt,
                    source,
                    NextAttempt {
                        due_at_ms,
                        ..following
                    },
                )
            }
            Next::Park(following, _) => (
                waiting(attempt, following, true),
                Some(self.moved_on(following, source)),
                ModelStep::Complete,
            ),
            Next::Failed { reason } => self.failed(attempt, source, reason),
        };
        self.postgres = Some(progress);
        self.updated_ms = self.now_ms;
        self.row = row;
        self.recorded.push(attempt);
        step
    }

    /// A row that another owner has parked meanwhile stays: its record is complete.
    fn retried(&self, attempt: u32, source: WorkSource, following: NextAttempt) -> Written {
        let is_parked = self.row.is_some() && matches!(source, WorkSource::Record(_));
        (
            waiting(attempt, following, is_parked),
            is_parked.then(|| self.moved_on(following, source)),
            ModelStep::Publish(NextRecord::Retry(following)),
        )
    }

    /// The row is kept, claimed, until the dead letter is published.
    fn failed(&self, attempt: u32, source: WorkSource, reason: FailureReason) -> Written {
        let progress = DeliveryProgress {
            status: DeliveryStatus::Failed,
            failure_reason: Some(reason),
            ..progress_at(attempt)
        };
        let row = self.row.map(|kept| ModelRow {
            claim: self.claim_of_others(source).or(match source {
                WorkSource::Row { claim, .. } => Some(ModelClaim {
                    until_ms: self.now_ms + CLAIM_MS,
                    ..claim
                }),
                WorkSource::Record(_) => None,
            }),
            ..kept
        });
        (
            progress,
            row,
            ModelStep::Publish(NextRecord::DeadLetter { reason }),
        )
    }
}

/// State of a delivery after so many attempts.
const fn progress_at(attempts: u32) -> DeliveryProgress {
    DeliveryProgress::after(DeliveryStatus::Retrying, attempts)
}

/// State of a delivery whose next attempt waits.
fn waiting(attempt: u32, following: NextAttempt, is_parked: bool) -> DeliveryProgress {
    DeliveryProgress {
        next_retry_at_ms: Some(following.due_at_ms),
        step: following.step,
        is_parked,
        ..progress_at(attempt)
    }
}
