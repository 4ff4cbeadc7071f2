//! A guard for threads that were suspended: another member may own their partitions by then.
//!
//! The client learns of it only later, and has records that were fetched before. Of several
//! sources they come in another order than to the new owner, so that what is decided on them has
//! other ids. So nothing is decided or published until the group has taken a commit.

use super::Detector;
use crate::clock;
use crate::kafka::session::CommitScope;

impl Detector {
    /// True if no other member can own the partitions. After a gap the group is asked, by a commit:
    /// that of a member which is none any more is refused, and its partitions are taken from it.
    pub(super) fn is_member(&mut self) -> bool {
        let was_unsure = self.turns.are_unsure();
        let now = clock::monotonic();
        if !self.turns.note(now, clock::now_ms()) {
            return true;
        }
        if !was_unsure {
            tracing::warn!(
                thread = self.settings.name,
                "the thread was suspended, or busy, for so long that another member may own its partitions; it asks \
                 the group before it goes on"
            );
        }
        let owns_any = self.owned.iter().any(Option::is_some);
        (!owns_any || self.is_commit_taken()) && self.turns.confirm(clock::monotonic(), clock::now_ms())
    }

    /// True if the group has taken a commit just now, and asks for no partition back.
    fn is_commit_taken(&mut self) -> bool {
        if self.session.due_commit(clock::monotonic()).is_none() {
            return false;
        }
        let commits = self.commits(CommitScope::All);
        self.session.is_any_commit_taken(&commits) && !self.session.member().serve()
    }

    /// Leaves records that were fetched before the thread was suspended: they are read again once
    /// the group has answered.
    pub(super) fn leave_records(&mut self) {
        let owned = self.owned.iter_mut().flatten();
        owned.for_each(|owned| owned.set_elsewhere());
    }
}
