//! A delivery record on its way through the deliverer, and the word that it is complete.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use crate::dispatch::offsets::Epoch;
use crate::dispatch::record::{Coordinates, DeliveryRecord};
use crate::dispatch::schedule::Tier;
use crate::kafka::topic_partition::TopicPartition;

/// One record read, to be brought to an outcome.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) record: DeliveryRecord,
    pub(crate) token: OffsetToken,
    pub(crate) read_from: Coordinates,
    /// Kafka's time of the record.
    pub(crate) record_ms: i64,
    /// When the attempt is due, after clamping; the record's time when it says nothing.
    pub(crate) due_at_ms: i64,
    /// The tier it was read from.
    pub(crate) tier: Option<Tier>,
    /// A predecessor that did not hand over may have sent it.
    pub(crate) suspect: bool,
}

/// Whose partitions a record was read under. Revoked: nothing of it may begin any more.
#[derive(Debug, Default)]
pub(crate) struct Assignment {
    revoked: AtomicBool,
}

impl Assignment {
    /// From now on nothing of it begins.
    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
    }

    /// Whether it ended.
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }
}

/// The right to complete one offset, once.
#[derive(Debug)]
pub(crate) struct OffsetToken {
    at: TopicPartition,
    epoch: Epoch,
    offset: i64,
    assignment: Arc<Assignment>,
    completions: Completions,
}

impl OffsetToken {
    pub(crate) fn new(
        at: TopicPartition,
        epoch: Epoch,
        offset: i64,
        assignment: Arc<Assignment>,
        completions: Completions,
    ) -> Self {
        Self {
            at,
            epoch,
            offset,
            assignment,
            completions,
        }
    }

    /// The assignment it was read under.
    pub(crate) fn assignment(&self) -> &Arc<Assignment> {
        &self.assignment
    }

    /// Nothing remains to be done for the record. A token that is dropped instead leaves its offset open: the record is
    /// read again by whoever owns the partition next.
    pub(crate) fn complete(self) {
        self.completions.tell(Completed {
            at: self.at,
            epoch: self.epoch,
            offset: self.offset,
        });
    }
}

/// A completed offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completed {
    pub(crate) at: TopicPartition,
    pub(crate) epoch: Epoch,
    pub(crate) offset: i64,
}

/// The way back to the thread that read the record.
#[derive(Clone)]
pub(crate) struct Completions {
    sender: Sender<Completed>,
    thread: Arc<OnceLock<Thread>>,
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
            thread: Arc::default(),
        }
    }

    /// The calling thread is the one to wake.
    pub(crate) fn wake_me(&self) {
        drop(self.thread.set(std::thread::current()));
    }

    fn tell(&self, completed: Completed) {
        // After the thread has left its group nobody listens, and nobody needs to.
        if self.sender.send(completed).is_ok()
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}
