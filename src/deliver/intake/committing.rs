//! Commits of an intake thread: what is complete, and what a next owner must know.

use super::Intake;
use super::hand_over::UnaskedSends;
use crate::clock;
use crate::kafka::commits::Commit;
use crate::kafka::session::CommitScope;
use crate::kafka::session::commit_metadata::CommitMetadata;

/// Wait of a record for the deliverer from which on sending does not keep up with reading.
const BEHIND_MS: i64 = 1_000;

impl Intake {
    pub(super) fn commit(&mut self) {
        if let Some(scope) = self.session.due_commit(clock::monotonic()) {
            let commits = self.commits(scope, false);
            self.session.commit(&commits);
        }
        if self.has_announced && self.session.are_commits_answered() {
            self.has_announced = false;
            let unasked = self.partitions.values_mut();
            unasked
                .filter_map(|partition| partition.unasked.as_mut())
                .for_each(UnaskedSends::acknowledge);
        }
    }

    /// Lists what is to be committed. `is_claimed`: the partitions are given back, and their
    /// requests under way were claimed.
    pub(super) fn commits(&mut self, scope: CommitScope, is_claimed: bool) -> Vec<Commit> {
        let now_ms = clock::now_ms();
        let oldest = self.outbox.front();
        let is_behind = oldest.is_some_and(|oldest| now_ms - oldest.due_at_ms > BEHIND_MS);
        let mut commits = Vec::new();
        for (at, partition) in &mut self.partitions {
            let next = partition.position.next;
            let is_short = |unasked: &UnaskedSends| !is_behind && unasked.is_short(next);
            let is_wanted = scope == CommitScope::All
                || partition.tracker.to_commit().is_some()
                || partition.unasked.as_ref().is_some_and(is_short);
            if !is_wanted {
                continue;
            }
            if let Some(unasked) = &mut partition.unasked {
                unasked.extend(next, is_behind);
                self.has_announced = true;
            }
            let offset = partition.low_water();
            partition.tracker.committed(offset);
            let metadata = CommitMetadata::new(self.session.nonce(), partition.state(is_claimed));
            commits.push(Commit {
                at: *at,
                offset,
                metadata: metadata.to_string(),
            });
        }
        commits
    }
}
