//! Turns of forms that change the same thing: each sees what the one before it has saved.
//!
//! They hold within a process. Two processes that save the same within a few milliseconds do not
//! see each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Things whose turns are remembered before those that nobody waits for are forgotten.
const MAX_IDLE: usize = 1_000;

/// Turns by the path of what is changed.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<AsyncMutex<()>>>>);

impl Turns {
    /// Waits for a turn at `path`, which ends with what is returned.
    pub(super) async fn take(&self, path: &str) -> OwnedMutexGuard<()> {
        self.entry(path).lock_owned().await
    }

    fn entry(&self, path: &str) -> Arc<AsyncMutex<()>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_IDLE {
            entries.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        Arc::clone(entries.entry(path.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_has_a_turn() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        assert!(turns.take("b").now_or_never().is_some());
        let mut second = Box::pin(turns.take("a"));
        assert!((&mut second).now_or_never().is_none());
        // What is waited for is not forgotten, however many others there are.
        for number in 0..2 * MAX_IDLE {
            drop(turns.take(&number.to_string()).await);
        }
        assert!(turns.take("a").now_or_never().is_none());
        drop(first);
        second.await;
    }
}
