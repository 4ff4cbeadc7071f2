//! Completed offsets, on their way back to the thread that read the records.

use std::fmt;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};

use crate::dispatch::offsets::Epoch;
use crate::kafka::topic_partition::TopicPartition;

/// A completed offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completed {
    pub(crate) at: TopicPartition,
    pub(crate) epoch: Epoch,
    pub(crate) offset: i64,
}

/// Channel back to the thread that reads the records.
#[derive(Clone)]
pub(crate) struct Completions {
    sender: Sender<Completed>,
    wake: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completions").finish_non_exhaustive()
    }
}

impl Completions {
    pub(crate) fn new(sender: Sender<Completed>) -> Self {
        Self {
            sender,
            wake: Arc::default(),
        }
    }

    /// Calls `wake` after each report.
    pub(crate) fn wake_with(&self, wake: impl Fn() + Send + Sync + 'static) {
        drop(self.wake.set(Box::new(wake)));
    }

    pub(super) fn report(&self, completed: Completed) {
        // Fails when the thread has left its group and needs no reports.
        if self.sender.send(completed).is_ok()
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }
}
