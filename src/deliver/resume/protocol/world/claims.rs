//! Claims of the row of `parked`: each ends by itself, or by who has made it.

use super::{CLAIM_MS, ModelClaim, ModelRow, ModelStep, ModelWork, WorkSource, World};
use crate::dispatch::record::NextAttempt;

impl World {
    /// Lets `owner` claim the row, if it is due and nobody has claimed it.
    pub(in crate::deliver::resume::protocol) fn claim_row(&mut self, owner: u8) {
        if self.work.iter().any(|one| one.owner == owner) {
            return;
        }
        let (now_ms, number) = (self.now_ms, self.claims + 1);
        if let Some(row) = &mut self.row
            && row.due_at_ms <= now_ms
            && row.claim.is_none_or(|claim| claim.until_ms <= now_ms)
        {
            let until_ms = now_ms + CLAIM_MS;
            let claim = ModelClaim { number, until_ms };
            let attempt = row.attempt;
            row.claim = Some(claim);
            self.claims = number;
            self.check_claims(attempt);
            let source = WorkSource::Row { attempt, claim };
            let step = ModelStep::Ask;
            self.work.push(ModelWork { owner, source, step });
        }
    }

    /// Checks that nobody else works on a claimed row's attempt, by a claim that has not ended.
    pub(super) fn check_claims(&self, attempt: u32) {
        let is_at_work = |work: &ModelWork| match (work.source, work.step) {
            (
                WorkSource::Row {
                    attempt: other,
                    claim,
                },
                ModelStep::Ask | ModelStep::Send,
            ) => other == attempt && claim.until_ms > self.now_ms,
            _ => false,
        };
        let others = self.work.iter().filter(|work| is_at_work(work));
        assert_eq!(others.count(), 0, "two owners have claimed the row: {self:?}");
    }

    /// The row's claim, if it is somebody else's than that of `source` and has not ended.
    pub(super) fn claim_of_others(&self, source: WorkSource) -> Option<ModelClaim> {
        let claim = self.row?.claim.filter(|claim| claim.until_ms > self.now_ms)?;
        match source {
            WorkSource::Row { claim: own, .. } if own.number == claim.number => None,
            _ => Some(claim),
        }
    }

    /// Gives the row back, if it is still claimed by `source`.
    pub(super) fn release(&mut self, source: WorkSource) {
        if let (WorkSource::Row { claim: own, .. }, Some(row)) = (source, &mut self.row)
            && row.claim.is_some_and(|claim| claim.number == own.number)
        {
            row.claim = None;
        }
    }

    /// Ends the claim of the row, as who follows an owner does that seems dead.
    pub(in crate::deliver::resume::protocol) fn end_claim(&mut self) {
        let until_ms = self.now_ms;
        if let Some(ModelRow {
            claim: Some(claim), ..
        }) = &mut self.row
        {
            claim.until_ms = until_ms;
        }
        for work in &mut self.work {
            if let WorkSource::Row { claim, .. } = &mut work.source {
                claim.until_ms = until_ms;
            }
        }
    }

    /// The row of the attempt that follows. The claim of somebody else stays.
    pub(super) fn moved_on(&self, following: NextAttempt, source: WorkSource) -> ModelRow {
        ModelRow {
            attempt: following.attempt,
            due_at_ms: following.due_at_ms,
            claim: self.claim_of_others(source),
        }
    }
}
