//! The partitions that this process owns, and under which assignment: whose parked rows it sends.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::intake::work::Assignment;

/// Owners that died, without a word to the next one.
#[derive(Debug, Default)]
pub(crate) struct DeadOwners {
    /// Their partitions. Their claims are not worth anything.
    pub(crate) partitions: BTreeSet<i32>,
    /// Their nonces, each with the nonce of the thread that follows.
    pub(crate) nonces: BTreeSet<(String, String)>,
}

impl DeadOwners {
    /// Notes the owner of a partition that died, and the thread that follows it.
    pub(crate) fn add(&mut self, partition: i32, dead: &str, next: &str) {
        self.partitions.insert(partition);
        self.nonces.insert((dead.to_owned(), next.to_owned()));
    }

    fn extend(&mut self, more: Self) {
        self.partitions.extend(more.partitions);
        self.nonces.extend(more.nonces);
    }
}

/// The owned partitions, by number. Shared by the intake threads and the deliverer.
#[derive(Debug, Default)]
pub(crate) struct OwnedPartitions {
    state: Mutex<OwnedState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct OwnedState {
    by_number: HashMap<i32, Arc<Assignment>>,
    dead: DeadOwners,
    /// Grows with every assignment and every revocation.
    generation: u64,
}

impl OwnedPartitions {
    /// Notes that partitions were assigned, some of which had owners that died.
    pub(crate) fn add(&self, numbers: &[i32], dead: DeadOwners, assignment: &Arc<Assignment>) {
        let mut state = self.lock();
        for number in numbers {
            state.by_number.insert(*number, Arc::clone(assignment));
        }
        state.dead.extend(dead);
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

    /// Returns, once, the owners before that died.
    pub(crate) fn take_dead(&self) -> DeadOwners {
        std::mem::take(&mut self.lock().dead)
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
