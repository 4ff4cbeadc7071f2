//! States of partitions that were given back, kept for a while: most come back within seconds.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Time for which the state of a revoked partition is kept.
const RETENTION: Duration = Duration::from_secs(60);

/// States by partition `K`.
#[derive(Debug)]
pub(crate) struct RetainedStates<K, S>(HashMap<K, RetainedState<S>>);

#[derive(Debug)]
struct RetainedState<S> {
    state: S,
    until: Instant,
}

impl<K: Eq + Hash, S> RetainedStates<K, S> {
    /// Keeps the state of a partition that is given back at `now`.
    pub(crate) fn insert(&mut self, partition: K, state: S, now: Instant) {
        let until = now + RETENTION;
        self.0.insert(partition, RetainedState { state, until });
    }

    /// State of a partition, removed from here.
    pub(crate) fn remove(&mut self, partition: &K) -> Option<S> {
        self.0.remove(partition).map(|entry| entry.state)
    }

    /// State of a partition, left where it is.
    pub(crate) fn get_mut(&mut self, partition: &K) -> Option<&mut S> {
        self.0.get_mut(partition).map(|entry| &mut entry.state)
    }

    /// Drops the states whose time is over at `now`.
    pub(crate) fn drop_expired(&mut self, now: Instant) {
        self.0.retain(|_, entry| entry.until > now);
    }
}

impl<K, S> Default for RetainedStates<K, S> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_state_is_kept_for_a_minute() {
        let now = clock::monotonic();
        let mut states = RetainedStates::default();
        states.insert(7, "engine", now);
        states.drop_expired(now + Duration::from_millis(59_999));
        assert_eq!(states.get_mut(&7), Some(&mut "engine"));
        states.drop_expired(now + RETENTION);
        assert_eq!(states.remove(&7), None);
    }
}
