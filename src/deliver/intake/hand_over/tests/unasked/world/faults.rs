//! Kills, suspensions, hand-overs, the passing of time, and the end.

use super::{DEADLINE_MS, ModelStep, Owner, World, progress};
use crate::deliver::resume::ClaimedAttempt;
use crate::domain::delivery::DeliveryStatus;

impl World {
    /// Kills the `pick`-th owner. Under the same name the next one has the partition at once.
    pub(in crate::deliver::intake::hand_over::tests::unasked) fn kill(&mut self, pick: usize) {
        if !self.owners.is_empty() {
            self.owners.remove(pick % self.owners.len());
        }
    }

    /// Stops the `pick`-th owner amid what it does, as SIGSTOP does.
    pub(in crate::deliver::intake::hand_over::tests::unasked) fn suspend(&mut self, pick: usize) {
        if let Some(owner) = self.owner(pick) {
            owner.is_suspended = true;
        }
    }

    /// Lets the `pick`-th owner go on. It has not polled meanwhile.
    pub(in crate::deliver::intake::hand_over::tests::unasked) fn resume(&mut self, pick: usize) {
        if let Some(owner) = self.owner(pick) {
            owner.is_suspended = false;
        }
    }

    fn owner(&mut self, pick: usize) -> Option<&mut Owner> {
        let count = self.owners.len().max(1);
        self.owners.get_mut(pick % count)
    }

    /// Lets the group's owner give the partition back: a request under way is claimed, and
    /// finishes.
    pub(in crate::deliver::intake::hand_over::tests::unasked) fn hand_over(&mut self) {
        let Some(owner) = self.group_owner().filter(|owner| !owner.is_suspended) else {
            return;
        };
        let is_sent = |step| matches!(step, ModelStep::Record | ModelStep::Complete);
        let is_under_way = owner.work.first().is_some_and(|work| is_sent(work.step));
        if is_under_way && !self.is_postgres_away {
            let until_ms = self.now_ms + DEADLINE_MS;
            let claim = Some(ClaimedAttempt { attempt: 1, until_ms });
            let known = self
                .postgres
                .get_or_insert(progress(DeliveryStatus::Pending, 0, None));
            known.claim = claim;
        }
        self.commit_and_wait(!is_under_way || !self.is_postgres_away);
        if let Some(owner) = self.group_owner() {
            owner.assignment.revoke();
            owner.work.retain(|work| is_sent(work.step));
        }
    }

    /// Lets time pass, in which whoever runs polls.
    pub(in crate::deliver::intake::hand_over::tests::unasked) fn pass(&mut self, ms: i64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms = until_ms.min(self.now_ms + 500);
            if !self.is_postgres_away {
                self.answered_ms = self.now_ms;
            }
            for index in 0..self.owners.len() {
                if !self.owners[index].is_suspended {
                    self.poll(index);
                }
            }
        }
    }

    /// Lets one owner work without further faults. Fails if the delivery is never sent.
    pub(in crate::deliver::intake::hand_over::tests::unasked) fn finish(&mut self) -> Result<(), String> {
        self.owners.clear();
        self.is_postgres_away = false;
        self.assign();
        for _ in 0..200 {
            self.pass(500);
            self.step(0)?;
        }
        match self.postgres {
            Some(known) if known.attempts == 1 => Ok(()),
            _ if self.log.is_empty() => Ok(()),
            _ => Err(format!("it was not sent: {self:?}")),
        }
    }
}
