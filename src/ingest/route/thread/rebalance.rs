//! Taking partitions and giving them back.

use anyhow::Context as _;

use super::Router;
use crate::clock;
use crate::dispatch::offsets::Epoch;
use crate::domain::event::SourceClock;
use crate::ingest::route::partition::{FirstStart, take};
use crate::kafka::batch_reader::BatchReader;
use crate::kafka::session::group_thread::GroupThread;
use crate::kafka::session::{ACKNOWLEDGE_TIMEOUT, CommitScope, Session};
use crate::kafka::topic_partition::TopicPartition;

impl GroupThread for Router {
    type Partition = TopicPartition;
    type State = ();
    type Queue = BatchReader;

    fn session(&mut self) -> &mut Session<TopicPartition, ()> {
        &mut self.session
    }

    fn into_session(self) -> Session<TopicPartition, ()> {
        self.session
    }

    fn take_partitions(&mut self, list: &[TopicPartition], batch_reader: &BatchReader) -> anyhow::Result<()> {
        let begun = clock::monotonic();
        self.epoch += 1;
        let sources = &self.settings.sources;
        let back = self.settings.first_start_back;
        let first = |topic: usize| match sources[topic].clock {
            SourceClock::Live => FirstStart::Back(back),
            SourceClock::Log => FirstStart::AtBeginning,
        };
        let (member, metrics) = (self.session.member(), &self.links.metrics);
        let taken = take(member, list, Epoch(self.epoch), first, metrics)?;
        let starts: Vec<(TopicPartition, i64)> = taken.iter().map(|one| (one.at, one.start)).collect();
        member
            .assign_to_batch_reader(&starts, batch_reader)
            .context("taking partitions of the route group")?;
        self.partitions = taken.into_iter().map(|one| (one.at, one)).collect();
        // The beginnings that were chosen, so that the next owner does not choose other ones.
        let commits = self.commits(CommitScope::Moved);
        self.session.commit(&commits);
        let took = clock::monotonic().duration_since(begun);
        self.session.report_assigned(list.len(), took);
        Ok(())
    }

    fn forget_partitions(&mut self) {
        self.partitions.clear();
    }

    /// Commits what is acknowledged, and lets go of all partitions.
    fn give_back_partitions(&mut self, lost: bool) {
        let count = self.partitions.len();
        if count == 0 {
            return;
        }
        if !lost {
            self.wait_for_acknowledgements();
            let commits = self.commits(CommitScope::All);
            self.session.commit_and_wait(&commits);
        }
        self.flush_counts();
        self.partitions.clear();
        self.session.report_given_back(count, lost);
    }
}

impl Router {
    fn wait_for_acknowledgements(&mut self) {
        let deadline = clock::monotonic() + ACKNOWLEDGE_TIMEOUT;
        while self.partitions.values().any(|one| one.offsets.open_count() > 0) {
            let left = deadline.saturating_duration_since(clock::monotonic());
            match self.acknowledged.recv_timeout(left) {
                Ok(done) => self.complete(done),
                Err(_) => break,
            }
        }
    }
}
