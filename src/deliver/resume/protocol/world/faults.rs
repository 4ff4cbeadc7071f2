//! Hand-overs and crashes, and what must hold at the end.

use super::{DEADLINE_MS, ModelStep, WorkSource, World, progress_at};
use crate::deliver::resume::{ClaimedAttempt, DeliveryProgress};
use crate::domain::attempt::AttemptResult;
use crate::domain::delivery::DeliveryStatus;

impl World {
    /// Lets `owner` give the partition away as planned: running attempts are written down and
    /// finish under another name.
    pub(in crate::deliver::resume::protocol) fn hand_over(&mut self, owner: u8) {
        for one in self.work.iter_mut().filter(|one| one.owner == owner) {
            let attempt = match one.source {
                WorkSource::Record(record) => self.kafka[record].attempt,
                WorkSource::Row { attempt, .. } => attempt,
            };
            match one.step {
                // Nothing was sent: the record is forgotten, and read again by the next owner.
                ModelStep::Ask | ModelStep::Park => {
                    one.owner = u8::MAX;
                    // A claimed row is given back.
                    if let (WorkSource::Row { claim, .. }, Some(row)) = (one.source, &mut self.row)
                        && row.claim.is_some_and(|held| held.number == claim.number)
                    {
                        row.claim = None;
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
                    self.updated_ms = self.now_ms;
                    one.owner = 100 + owner;
                }
                ModelStep::Publish(_) | ModelStep::Complete => one.owner = 100 + owner,
            }
        }
        self.work.retain(|one| one.owner != u8::MAX);
    }

    pub(in crate::deliver::resume::protocol) fn crash(&mut self, owner: u8) {
        self.work.retain(|one| one.owner != owner);
        self.end_claim();
    }

    /// Lets one owner work without further faults until nothing is left.
    pub(in crate::deliver::resume::protocol) fn finish(&mut self) {
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

    pub(in crate::deliver::resume::protocol) fn check(&self) {
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

    pub(in crate::deliver::resume::protocol) fn check_end(&self) {
        self.check();
        let progress = self.postgres.expect("nothing was lost");
        match progress.status {
            DeliveryStatus::Delivered => {}
            DeliveryStatus::Cancelled if self.is_overdue => {}
            DeliveryStatus::Failed => assert!(self.dead_letters > 0, "{self:?}"),
            other => panic!("it ends as {other}: {self:?}"),
        }
    }
}
