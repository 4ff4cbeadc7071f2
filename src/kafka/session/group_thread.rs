//! The part of a consumer thread that answers its group, the same for every thread.
//!
//! Guaranteed: partitions that could not all be taken are let go of and offered again; a revocation
//! is answered after its partitions were given back; a thread that ends gives its partitions back
//! before it leaves.

use std::hash::Hash;

use super::Session;
use crate::kafka::member::MemberEvent;
use crate::kafka::topic_partition::TopicPartition;

/// A consumer thread that takes partitions from its group and gives them back.
pub(crate) trait GroupThread: Sized {
    /// What the session keeps states by.
    type Partition: Eq + Hash;
    /// What the session keeps of a partition that was given back.
    type State;
    /// The queue that all partitions are read from, if there is one.
    type Queue;

    fn session(&mut self) -> &mut Session<Self::Partition, Self::State>;

    fn into_session(self) -> Session<Self::Partition, Self::State>;

    /// Begins to own these partitions.
    fn take_partitions(&mut self, list: &[TopicPartition], queue: &Self::Queue) -> anyhow::Result<()>;

    /// Forgets the partitions of an assignment that failed halfway.
    fn forget_partitions(&mut self);

    /// Commits what is complete unless the partitions are `lost` to others already, and lets go of
    /// all partitions.
    fn give_up_partitions(&mut self, lost: bool);

    /// Handles the events of the group.
    fn serve_group(&mut self, queue: &Self::Queue) -> anyhow::Result<()> {
        while let Some(event) = self.session().next_event() {
            match event {
                MemberEvent::Assigned(partitions) => {
                    if let Err(error) = self.take_partitions(&partitions, queue) {
                        self.forget_partitions();
                        self.session().retry_assignment(partitions, &error);
                    }
                }
                MemberEvent::Revoked { lost } => {
                    self.give_up_partitions(lost);
                    self.session().answer_revocation(lost)?;
                }
            }
        }
        Ok(())
    }

    /// Gives all partitions back, and leaves the group.
    fn leave_group(mut self, queue: Self::Queue) {
        self.session().end_heartbeat();
        self.give_up_partitions(false);
        // What reads from the member must be gone before the member is.
        drop(queue);
        self.into_session().leave();
    }
}
