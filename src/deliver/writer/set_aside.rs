//! Outcomes of which another session holds a row: they wait here, so that no others do.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::split::split_by_delivery;
use crate::deliver::rows::Outcome;
use crate::domain::id::DeliveryId;

/// Time from one try to the next.
const TRY_EVERY: Duration = Duration::from_millis(100);
/// Number of outcomes set aside from which on nothing more is received, so that memory has a bound.
const MOST: usize = 2_000;

/// Outcomes that wait for a row, in parts that are tried apart.
///
/// Each part is halved at every try: where Postgres does not say which row a part waits for, soon
/// only the outcome that waits is left.
#[derive(Debug, Default)]
pub(super) struct SetAside {
    parts: Vec<Vec<Outcome>>,
    ids: HashSet<DeliveryId>,
    since: Option<Instant>,
    next_try: Option<Instant>,
}

impl SetAside {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= MOST
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    /// The instant since which something has waited without a break.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// The instant of the next try, if anything waits.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.next_try
    }

    /// The outcome that has waited longest.
    pub(super) fn first(&self) -> Option<&Outcome> {
        self.parts.first().and_then(|part| part.first())
    }

    /// Sets a part aside.
    pub(super) fn add(&mut self, part: Vec<Outcome>, now: Instant) {
        if part.is_empty() {
            return;
        }
        self.ids.extend(part.iter().map(|outcome| outcome.row.facts.id));
        self.parts.push(part);
        self.since.get_or_insert(now);
        self.next_try.get_or_insert(now + TRY_EVERY);
    }

    /// Sets aside what follows outcomes that wait here: those of a delivery keep their order.
    /// Returns the others.
    pub(super) fn take_followers(&mut self, batch: Vec<Outcome>, now: Instant) -> Vec<Outcome> {
        if self.is_empty() {
            return batch;
        }
        let (followers, others) = batch
            .into_iter()
            .partition(|outcome| self.ids.contains(&outcome.row.facts.id));
        self.add(followers, now);
        others
    }

    /// Takes everything out when its time has come, each part in two halves.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Vec<Outcome>> {
        if self.next_try.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.next_try = None;
        self.ids.clear();
        let mut halves = Vec::with_capacity(self.parts.len() * 2);
        for part in std::mem::take(&mut self.parts) {
            for mut first in split_by_delivery(part) {
                let second = first.split_off(first.len().div_ceil(2));
                halves.extend([first, second]);
            }
        }
        halves.retain(|half| !half.is_empty());
        halves
    }

    /// Notes the end of a try: if nothing was set aside again, nothing waits any more.
    pub(super) fn tried(&mut self) {
        if self.is_empty() {
            self.since = None;
        }
    }
}

#[cfg(test)]
mod tests;
