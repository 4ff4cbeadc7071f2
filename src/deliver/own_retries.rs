//! The retries that this process has published and not yet read: nobody else can have worked on
//! them, so nobody has to be asked about them.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::intake::work::Assignment;
use crate::domain::id::DeliveryId;

/// Most retries remembered; those beyond are asked about.
const MOST: usize = 200_000;

/// Deliveries and the numbers of their next attempts.
#[derive(Debug, Default)]
pub(crate) struct OwnRetries(Mutex<HashSet<(DeliveryId, u32)>>);

impl OwnRetries {
    /// Notes a retry that is about to be published, unless its partition was given back: then
    /// another owner may read it.
    pub(crate) fn note(&self, delivery: DeliveryId, attempt: u32, assignment: &Assignment) {
        let mut retries = self.lock();
        // Asked under the lock, which `forget` takes after the assignment was revoked.
        if retries.len() < MOST && !assignment.is_revoked() {
            retries.insert((delivery, attempt));
        }
    }

    /// Removes a retry that was read. False if it was not noted, or was read before.
    pub(crate) fn take(&self, delivery: DeliveryId, attempt: u32) -> bool {
        self.lock().remove(&(delivery, attempt))
    }

    /// Forgets all: partitions were given back.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(DeliveryId, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::clock;

    #[test]
    fn a_retry_is_own_once_and_not_after_a_hand_over() {
        let retries = OwnRetries::default();
        let assignment = Assignment::new("owner".into(), Duration::from_secs(3), clock::monotonic(), 0);
        let id = DeliveryId::from_uuid(Uuid::from_u128(1));
        retries.note(id, 2, &assignment);
        assert!(!retries.take(id, 3));
        assert!(retries.take(id, 2));
        assert!(!retries.take(id, 2), "a copy of it may be anybody's");
        retries.note(id, 3, &assignment);
        assignment.revoke();
        retries.forget();
        retries.note(id, 4, &assignment);
        assert!(!retries.take(id, 3) && !retries.take(id, 4));
    }
}
