//! Commits of an owned partition, and its lag.

use super::OwnedPartition;
use crate::detect::engine::recovery::Checkpoint;
use crate::detect::thread::position::ReplayPoint;
use crate::kafka::commits::Commit;
use crate::kafka::session::CommitScope;
use crate::kafka::session::commit_metadata::CommitMetadata;
use crate::kafka::session::lag::ConsumerLag;

impl OwnedPartition {
    /// Commits that are possible now.
    pub(crate) fn commits(&mut self, nonce: &str, scope: CommitScope) -> Vec<Commit> {
        match self.open_batches.take_acknowledged() {
            Some(checkpoint) => self.set_commits(&checkpoint, nonce),
            None if scope == CommitScope::All => {}
            None => return Vec::new(),
        }
        let sources = self.sources.iter().enumerate();
        sources
            .filter_map(|(topic, source)| Some(source.as_ref()?.commit_at(self.at(topic))))
            .collect()
    }

    /// Commits of the beginnings that were chosen for a group that has never committed. They are
    /// written before anything is read, so that the next owner does not choose other ones.
    pub(crate) fn first_commits(&mut self, nonce: &str) -> Vec<Commit> {
        let state_end = Some(self.state_log.end());
        let mut commits = Vec::new();
        for topic in 0..self.sources.len() {
            let at = self.at(topic);
            let complete_from = self.engine.completeness().to_commit(topic);
            if let Some(source) = &mut self.sources[topic]
                && std::mem::take(&mut source.position.is_first)
            {
                let replay_point = ReplayPoint {
                    offset: Some(source.position.start),
                    clock_ms: None,
                    live_floor: None,
                    complete_from,
                    state_end,
                };
                let metadata = CommitMetadata::new(nonce, replay_point);
                source.set_commit(source.position.committed, &metadata);
                commits.push(source.commit_at(at));
            }
        }
        commits
    }

    fn set_commits(&mut self, checkpoint: &Checkpoint, nonce: &str) {
        let state_end = Some(self.state_log.end());
        for (topic, source) in self.sources.iter_mut().enumerate() {
            let Some(source) = source else { continue };
            let before = &source.position;
            // While windows are rebuilt the engine is behind the commit; neither offset may go
            // back.
            let (offset, replay_offset) = match checkpoint.next[topic] {
                Some(next) if next >= before.committed => (next, checkpoint.replay_from[topic]),
                _ => (before.committed, before.metadata.addition.offset),
            };
            let replay_point = ReplayPoint {
                offset: replay_offset,
                clock_ms: checkpoint.clock_ms,
                live_floor: checkpoint.live_floor,
                complete_from: checkpoint.complete_from[topic],
                state_end,
            };
            source.set_commit(offset, &CommitMetadata::new(nonce, replay_point));
        }
    }

    /// True if all published records are acknowledged.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.open_batches.all_acknowledged() && self.batch_end.is_none() && self.batch.is_zero()
    }

    /// Number of batches that are not acknowledged yet.
    pub(crate) fn open_batch_count(&self) -> usize {
        self.open_batches.len()
    }

    /// Lag of a source behind its end.
    pub(crate) fn lag(&self, source: usize, now_ms: i64) -> ConsumerLag {
        let state = self.sources.get(source).and_then(Option::as_ref);
        state.map_or_else(ConsumerLag::default, |state| {
            state.lag(source, self.completeness(), now_ms)
        })
    }
}
