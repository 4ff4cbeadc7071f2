//! Handling of rebalances, the same for every consumer thread.
//!
//! Guaranteed: if taking an assignment fails, its partitions are forgotten and offered again; a
//! revocation is answered only after its partitions were given back; a thread that ends gives its
//! partitions back before it leaves the group.

use std::hash::Hash;

use super::Session;
use crate::kafka::member::MemberEvent;
use crate::kafka::topic_partition::TopicPartition;

/// A consumer thread that takes partitions from its group and gives them back.
pub(crate) trait GroupThread: Sized {
    /// Key of a partition's retained state.
    type Partition: Eq + Hash;
    /// State retained when a partition is given back.
    type State;
    /// The queue that all partitions are read from; `()` if the thread has none.
    type Queue;

    fn session(&mut self) -> &mut Session<Self::Partition, Self::State>;

    fn into_session(self) -> Session<Self::Partition, Self::State>;

    /// Begins to own these partitions.
    fn take_partitions(&mut self, list: &[TopicPartition], queue: &Self::Queue) -> anyhow::Result<()>;

    /// Undoes a [`Self::take_partitions`] that failed halfway. Empty if nothing is kept before it
    /// succeeds.
    fn forget_partitions(&mut self);

    /// Gives all partitions back. Commits what is complete first, unless the partitions are `lost`:
    /// another member may own them already.
    fn give_back_partitions(&mut self, lost: bool);

    /// Handles the group's assignments and revocations.
    fn handle_rebalances(&mut self, queue: &Self::Queue) -> anyhow::Result<()> {
        while let Some(event) = self.session().next_event() {
            match event {
                MemberEvent::Assigned(partitions) => {
                    if let Err(error) = self.take_partitions(&partitions, queue) {
                        self.forget_partitions();
                        self.session().retry_assignment(partitions, &error);
                    }
                }
                MemberEvent::Revoked { lost } => {
                    self.give_back_partitions(lost);
                    self.session().answer_revocation(lost)?;
                }
            }
        }
        Ok(())
    }

    /// Gives all partitions back, and leaves the group.
    fn leave_group(mut self, queue: Self::Queue) {
        self.session().end_heartbeat();
        self.give_back_partitions(false);
        // What reads from the member must be gone before the member is.
        drop(queue);
        self.into_session().leave();
    }
}
