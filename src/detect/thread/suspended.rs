//! A guard for threads that were suspended: another member may own their partitions by then.
//!
//! The client learns of it only later, and has records that were fetched before. Of several
//! sources they come in another order than to the new owner, so that what is decided on them has
//! other ids. So nothing is read and nobody is moved on until the group has taken a commit.

use super::{Detector, READ_TIMEOUT};
use crate::clock;
use crate::kafka::session::CommitScope;

impl Detector {
    /// True if the thread may own its partitions no more. Then the group is asked, by a commit:
    /// that of a member which is none any more is refused, and its partitions are taken from it.
    pub(super) fn may_be_replaced(&mut self) -> bool {
        let now = clock::monotonic();
        if !self.turns.note(now, clock::now_ms()) {
            return false;
        }
        if !self.owned.iter().any(Option::is_some) {
            self.turns.is_unsure = false;
        } else if self.session.due_commit(now).is_some() {
            let commits = self.commits(CommitScope::All);
            self.session.commit_and_wait(&commits);
            self.turns.is_unsure = !self.session.is_commit_accepted();
        } else {
            std::thread::park_timeout(READ_TIMEOUT);
        }
        self.turns.is_unsure
    }

    /// Leaves the records of a batch that was read before the thread was suspended: they are read
    /// again once the group has been asked.
    pub(super) fn leave_records(&mut self) {
        tracing::warn!(
            thread = self.settings.name,
            "the thread was suspended for longer than its place in the group lasts without a doubt; it asks the group \
             before it goes on"
        );
        self.owned
            .iter_mut()
            .flatten()
            .for_each(|owned| owned.set_elsewhere());
    }
}
