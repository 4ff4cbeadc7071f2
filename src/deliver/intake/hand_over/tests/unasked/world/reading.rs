//! Records on their way to an owner, and what it may do with them.

use uuid::Uuid;

use super::{CLOCK_SLACK_MS, ModelStep, ModelWork, Omitted, Owner, World};
use crate::deliver::intake::hand_over::Suspicion;
use crate::deliver::recent_firsts::RecentFirsts;
use crate::domain::id::DeliveryId;

/// Longest time from the decision to a send without a question.
const FRESH_MS: i64 = 20_000;

impl World {
    /// Reads what is there, as `Intake::bring` does.
    pub(super) fn read(&mut self, index: usize) {
        let (now_ms, end, omitted) = (self.now_ms, self.end, self.omitted);
        let created_ms = self.created_ms.unwrap_or(0);
        let owner = &mut self.owners[index];
        let next = owner.next;
        for (offset, record_ms) in self.log.iter().filter(|(offset, _)| *offset >= next) {
            let suspicion = match owner.suspects.contain(*record_ms) {
                true => owner.unasked.suspicion(*offset),
                false => Suspicion::None,
            };
            let is_announced = |offset: i64| match omitted {
                Omitted::Announced => offset >= owner.end,
                _ => owner.unasked.contains(offset),
            };
            let must_be_noted = !is_announced(*offset);
            let may_be_unasked = match omitted {
                Omitted::BeyondEnd => is_announced(owner.end.max(*offset)),
                _ => !must_be_noted,
            };
            let is_first = owner.is_first(created_ms, now_ms, omitted);
            owner.work.push(ModelWork {
                offset: *offset,
                read_ms: now_ms,
                suspect: match suspicion {
                    Suspicion::None => false,
                    Suspicion::IfNoted => std::mem::take(&mut owner.is_noted),
                    Suspicion::Sent => true,
                },
                must_be_noted,
                needs_look_up: !(is_first && may_be_unasked),
                step: ModelStep::Begin,
            });
        }
        owner.next = end;
    }
}

impl Owner {
    /// True if nobody else can have had a copy, as `RecentFirsts` says. A condition is left out by
    /// a time that meets it, or by an empty memory.
    fn is_first(&mut self, created_ms: i64, now_ms: i64, omitted: Omitted) -> bool {
        let mut owned_ms = self.assignment.begun_ms();
        let mut created_ms = created_ms;
        match omitted {
            Omitted::DecidedAfter => owned_ms = 0,
            Omitted::Fresh if created_ms >= owned_ms + CLOCK_SLACK_MS => {
                created_ms = created_ms.max(now_ms - FRESH_MS);
            }
            Omitted::NoCopy => self.recent = RecentFirsts::default(),
            _ => {}
        }
        let id = DeliveryId::from_uuid(Uuid::nil());
        self.recent.is_first(id, created_ms, owned_ms, now_ms)
    }
}
