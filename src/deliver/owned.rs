//! The partitions that this process owns, and under which assignment: whose parked rows it sends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::intake::work::Assignment;

/// The owned partitions, by number. Shared by the intake threads and the deliverer.
#[derive(Debug, Default)]
pub(crate) struct OwnedPartitions {
    state: Mutex<OwnedState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct OwnedState {
    by_number: HashMap<i32, Arc<Assignment>>,
    /// Partitions whose owner before died: its claims are not worth anything.
    orphaned: Vec<i32>,
    /// Grows with every assignment and every revocation.
    generation: u64,
}

impl OwnedPartitions {
    /// Notes that partitions were assigned; those `orphaned` had an owner that died.
    pub(crate) fn add(&self, numbers: &[i32], orphaned: &[i32], assignment: &Arc<Assignment>) {
        let mut state = self.lock();
        for number in numbers {
            state.by_number.insert(*number, Arc::clone(assignment));
        }
        state.orphaned.extend_from_slice(orphaned);
        state.generation += 1;
        drop(state);
        self.changed.notify_one();
    }

    /// Forgets the partitions of an assignment.
    pub(crate) fn remove(&self, assignment: &Arc<Assignment>) {
        let mut state = self.lock();
        state.by_number.retain(|_, owner| !Arc::ptr_eq(owner, assignment));
        state.generation += 1;
        drop(state);
        self.changed.notify_one();
    }

    /// Lists the partitions.
    pub(crate) fn numbers(&self) -> Vec<i32> {
        self.lock().by_number.keys().copied().collect()
    }

    /// Returns the assignment of a partition, if it is owned.
    pub(crate) fn assignment(&self, number: i32) -> Option<Arc<Assignment>> {
        self.lock().by_number.get(&number).cloned()
    }

    /// Returns, once, the partitions whose owner before died, so that their claims can be ended.
    pub(crate) fn take_orphaned(&self) -> Vec<i32> {
        std::mem::take(&mut self.lock().orphaned)
    }

    /// Returns a number that grows with every assignment and every revocation.
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Waits for the next assignment or revocation.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, OwnedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
