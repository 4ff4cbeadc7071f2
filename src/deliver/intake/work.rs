//! A delivery record on its way through the deliverer, and the report that it is complete.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use crate::dispatch::offsets::Epoch;
use crate::dispatch::record::{Coordinates, DeliveryRecord};
use crate::dispatch::tier::Tier;
use crate::kafka::topic_partition::TopicPartition;

/// A record that was read and is to be brought to an outcome.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) record: DeliveryRecord,
    pub(crate) token: OffsetToken,
    pub(crate) read_from: Coordinates,
    /// Kafka's time of the record, in milliseconds since the Unix epoch.
    pub(crate) record_ms: i64,
    /// Time at which the attempt is due, after clamping; the record's own time when it has no due
    /// time.
    pub(crate) due_at_ms: i64,
    /// Tier that the record was read from.
    pub(crate) tier: Option<Tier>,
    /// True if a predecessor that did not hand over may have sent it.
    pub(crate) suspect: bool,
}

/// Assignment under which records were read. Once it is revoked, no delivery of its records may
/// begin.
#[derive(Debug, Default)]
pub(crate) struct Assignment {
    revoked: AtomicBool,
}

impl Assignment {
    /// Ends the assignment: no delivery of its records begins any more.
    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }
}

/// Right to complete one offset, once.
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

    /// Assignment under which the record was read.
    pub(crate) fn assignment(&self) -> &Arc<Assignment> {
        &self.assignment
    }

    /// Reports that nothing remains to be done for the record. A token that is dropped instead
    /// leaves its offset open, and the next owner of the partition reads the record again.
    pub(crate) fn complete(self) {
        self.completions.report(Completed {
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

/// Channel back to the thread that reads the records.
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

    /// Lets each report wake the calling thread.
    pub(crate) fn wake_me(&self) {
        drop(self.thread.set(std::thread::current()));
    }

    fn report(&self, completed: Completed) {
        // Fails when the thread has left its group and needs no reports.
        if self.sender.send(completed).is_ok()
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}
