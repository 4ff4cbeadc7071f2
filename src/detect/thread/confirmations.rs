//! Confirmations that the deliveries of episodes are published.

use super::outbox::Confirmed;
use super::{Detector, owned_mut};
use crate::clock;

impl Detector {
    pub(super) fn receive_confirmations(&mut self) {
        while let Ok(confirmed) = self.confirmed.try_recv() {
            self.confirm(&confirmed);
        }
    }

    fn confirm(&mut self, confirmed: &Confirmed) {
        let partition = confirmed.partition;
        let owned = owned_mut(&mut self.owned, partition);
        if let Some(owned) = owned.or_else(|| self.session.retained.get_mut(&partition)) {
            owned
                .engine
                .confirm(confirmed.site_id.as_str(), confirmed.notification);
        }
    }

    /// Waits until a partition's episodes are confirmed. A site has reached the most decisions that
    /// its state holds, because records are read faster than episodes can be confirmed.
    pub(super) fn wait_for_confirmations(&mut self, partition: i32) {
        while owned_mut(&mut self.owned, partition)
            .is_some_and(|owned| !owned.engine.unconfirmed().is_empty())
        {
            let left = self.confirm_until.saturating_duration_since(clock::monotonic());
            match self.confirmed.recv_timeout(left) {
                Ok(confirmed) => self.confirm(&confirmed),
                // Kafka is slow or unavailable, and the group must be served. Unconfirmed episodes
                // stay in the state, which grows.
                Err(_) => break,
            }
        }
    }
}
