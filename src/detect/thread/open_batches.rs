//! Batches whose records are not all acknowledged, and the position up to which all are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Number of records of a batch that are not acknowledged. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unacknowledged(Arc<AtomicUsize>);

impl Unacknowledged {
    /// Adds a record.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes a record that is acknowledged.
    pub(super) fn remove(&self) {
        // A thread that sees zero also sees what was written before.
        self.0.fetch_sub(1, Ordering::Release);
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// Positions `P` that may be committed once all records before them are acknowledged.
#[derive(Debug)]
pub(crate) struct OpenBatches<P> {
    batches: VecDeque<(P, Unacknowledged)>,
    acknowledged: Option<P>,
}

impl<P> Default for OpenBatches<P> {
    fn default() -> Self {
        Self {
            batches: VecDeque::new(),
            acknowledged: None,
        }
    }
}

impl<P> OpenBatches<P> {
    /// Adds a batch that ended at `position`.
    pub(crate) fn push(&mut self, position: P, records: Unacknowledged) {
        if records.is_zero() && self.batches.is_empty() {
            self.acknowledged = Some(position);
        } else {
            self.batches.push_back((position, records));
        }
    }

    /// Latest position before which all records are acknowledged, once for each position.
    pub(crate) fn take_acknowledged(&mut self) -> Option<P> {
        while self.batches.front().is_some_and(|(_, records)| records.is_zero()) {
            self.acknowledged = self.batches.pop_front().map(|(position, _)| position);
        }
        self.acknowledged.take()
    }

    pub(crate) fn all_acknowledged(&self) -> bool {
        self.batches.iter().all(|(_, records)| records.is_zero())
    }

    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_acknowledged_only_after_all_before_it() {
        let mut batches = OpenBatches::default();
        let (first, second) = (Unacknowledged::default(), Unacknowledged::default());
        first.add();
        second.add();
        batches.push(10, first.clone());
        batches.push(20, second.clone());
        batches.push(30, Unacknowledged::default());
        second.remove();
        assert_eq!(batches.take_acknowledged(), None);
        first.remove();
        assert_eq!(batches.take_acknowledged(), Some(30));
        assert_eq!(batches.take_acknowledged(), None);
    }
}
