//! Taking partitions and giving them back.

use std::time::Duration;

use anyhow::Context as _;

use super::Router;
use crate::clock;
use crate::dispatch::offsets::Epoch;
use crate::domain::event::RoutedClock;
use crate::ingest::route::partition::{FirstStart, take};
use crate::kafka::batch_reader::BatchReader;
use crate::kafka::member::MemberEvent;
use crate::kafka::session::CommitScope;
use crate::kafka::topic_partition::TopicPartition;

/// Longest wait for acknowledgements before partitions are given back.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(1);

impl Router {
    pub(super) fn serve_group(&mut self, batch_reader: &BatchReader) -> anyhow::Result<()> {
        while let Some(event) = self.session.next_event() {
            match event {
                MemberEvent::Assigned(list) => {
                    if let Err(error) = self.take_partitions(&list, batch_reader) {
                        self.partitions.clear();
                        self.session.retry_assignment(list, &error);
                    }
                }
                MemberEvent::Revoked { lost } => {
                    self.give_up_partitions(lost);
                    self.session.answer_revocation(lost)?;
                }
            }
        }
        Ok(())
    }

    fn take_partitions(&mut self, list: &[TopicPartition], batch_reader: &BatchReader) -> anyhow::Result<()> {
        let begun = clock::monotonic();
        self.epoch += 1;
        let sources = &self.settings.sources;
        let back = self.settings.first_start_back;
        let first = |topic: usize| match sources[topic].clock {
            RoutedClock::Live => FirstStart::Back(back),
            RoutedClock::Log => FirstStart::AtBeginning,
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

    /// Commits what is acknowledged, and lets go of all partitions.
    pub(super) fn give_up_partitions(&mut self, lost: bool) {
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
