//! Taking partitions and giving them back.
//!
//! In: the group's assignments and revocations. Guaranteed: no delivery of a revoked partition
//! begins after its requests under way were claimed; what the next owner must know is committed
//! before a partition is given back, if the group waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::Intake;
use super::hand_over::{HandOver, SuspectRecords, UnaskedSends};
use super::partition::{IntakePartition, ReadPosition};
use super::work::Assignment;
use crate::clock;
use crate::deliver::owned::DeadOwners;
use crate::dispatch::offsets::{Epoch, OffsetTracker};
use crate::dispatch::read_ahead::ReadAhead;
use crate::kafka::error_words::in_words;
use crate::kafka::member::GroupMember;
use crate::kafka::member::offsets::Committed;
use crate::kafka::session::commit_metadata::CommitMetadata;
use crate::kafka::session::group_thread::GroupThread;
use crate::kafka::session::{CommitScope, Session};
use crate::kafka::topic_partition::{TopicPartition, partition_numbers};

/// Longest time a broker may take to answer during a rebalance.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The same, once one has not answered.
const FURTHER_TIMEOUT: Duration = Duration::from_millis(300);
/// Longest wait for Postgres to take note of requests under way, unless the process ends: the whole
/// group waits meanwhile, and the thread counts as stuck after 45 s.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time a broker may take to say where a partition ends.
const END_TIMEOUT: Duration = Duration::from_secs(2);

impl GroupThread for Intake {
    type Partition = TopicPartition;
    type State = OffsetTracker;
    type Queue = ();

    fn session(&mut self) -> &mut Session<TopicPartition, OffsetTracker> {
        &mut self.session
    }

    fn into_session(self) -> Session<TopicPartition, OffsetTracker> {
        self.session
    }

    fn take_partitions(&mut self, list: &[TopicPartition], _: &()) -> anyhow::Result<()> {
        let begun = clock::monotonic();
        let member = self.session.member();
        let committed = member
            .committed(list, REQUEST_TIMEOUT)
            .context("reading the committed offsets of the deliver group")?;
        let starts = starts(member, list, &committed);
        let queues = member
            .assign(&starts)
            .context("taking partitions of the deliver group")?;
        // Asked for after the assignment: what comes after these ends is this owner's alone.
        let ends = self.ends_of_deliveries(list);
        self.assignment = Arc::new(Assignment::new(
            Arc::clone(self.assignment.nonce()),
            self.settings.max_gap,
            clock::monotonic(),
            clock::now_ms(),
        ));
        self.links.own_retries.forget();
        self.session.retained.drop_expired(clock::monotonic());
        let now_ms = clock::now_ms();
        let mut dead = DeadOwners::default();
        for (((at, start), committed), queue) in starts.into_iter().zip(committed).zip(queues) {
            let metadata = CommitMetadata::<HandOver>::parse(&committed.metadata);
            let is_own = metadata.nonce == self.session.nonce();
            let tracker = self.tracker(at, is_own, committed.offset);
            let left = committed.offset.map(|_| metadata.addition);
            if left.is_some_and(|left| left.is_of_dead(is_own)) {
                dead.add(at.partition, &metadata.nonce, self.assignment.nonce());
            }
            let suspect_before_ms = left.and_then(|left| left.suspect_before_ms(is_own, now_ms));
            let position = ReadPosition::new(start, now_ms);
            let unasked = self.settings.tier_of_topic[at.topic].is_none().then(|| {
                let former = left.filter(|left| left.is_of_dead(is_own));
                UnaskedSends::new(ends.get(&at).copied(), former)
            });
            let suspects = SuspectRecords::new(suspect_before_ms);
            let partition = IntakePartition::new(queue, tracker, position, suspects, unasked);
            self.partitions.insert(at, partition);
        }
        let count = partition_numbers(self.partitions.keys()).len();
        let took = clock::monotonic().duration_since(begun);
        self.session.report_assigned(count, took);
        // Committed before anything is sent: should this process die before its next commit, the
        // metadata shows the next owner that it was at work.
        let commits = self.commits(CommitScope::All, false);
        self.session.commit_and_wait(&commits);
        let numbers = partition_numbers(self.partitions.keys());
        let numbers: Vec<i32> = numbers.into_iter().collect();
        self.links.owned.add(&numbers, dead, &self.assignment);
        Ok(())
    }

    fn forget_partitions(&mut self) {}

    /// Claims the requests under way, commits what is complete, and forgets what is not begun.
    /// Never waits for a request; for Postgres only if something was sent that is not recorded.
    fn give_back_partitions(&mut self, lost: bool) {
        let count = partition_numbers(self.partitions.keys()).len();
        self.assignment.revoke();
        self.links.owned.remove(&self.assignment);
        self.links.own_retries.forget();
        if lost {
            self.links.in_flight.give_back_lost(&self.links.runtime);
        } else if !self.partitions.is_empty() {
            let timeout = match self.links.stop.is_cancelled() {
                true => Duration::MAX,
                false => CLAIM_TIMEOUT,
            };
            let (in_flight, end) = (&self.links.in_flight, &self.links.give_up);
            let is_claimed = in_flight.claim(&self.links.runtime, timeout, end);
            self.receive_completions();
            let commits = self.commits(CommitScope::All, is_claimed);
            self.session.commit_and_wait(&commits);
        }
        self.links.in_flight.forget_returning();
        self.outbox.clear();
        self.read_ahead = ReadAhead::new();
        let now = clock::monotonic();
        for (at, partition) in self.partitions.drain() {
            self.session.retained.insert(at, partition.tracker, now);
        }
        // The next owner shows them.
        self.show_held_records();
        self.session.report_given_back(count, lost);
    }
}

impl Intake {
    /// Asks the group, after a poll that came too late, if the partitions are still owned. Until
    /// then nothing is sent that the next owner would not know of.
    pub(super) fn confirm_assignment(&mut self) {
        let now = clock::monotonic();
        if self.partitions.is_empty() || !self.assignment.is_broken() || !self.session.is_commit_due(now) {
            return;
        }
        let commits = self.commits(CommitScope::All, false);
        self.session.commit_and_wait(&commits);
        if self.session.are_commits_answered() {
            self.assignment.confirm();
        }
    }

    /// Reads where the partitions of `deliveries` end. Of one whose end is not known, everything is
    /// looked up.
    fn ends_of_deliveries(&self, list: &[TopicPartition]) -> HashMap<TopicPartition, i64> {
        let of_deliveries = |at: &&TopicPartition| self.settings.tier_of_topic[at.topic].is_none();
        let member = self.session.member();
        let mut ends = HashMap::new();
        for at in list.iter().filter(of_deliveries) {
            match member.watermarks(*at, END_TIMEOUT) {
                Ok((_, end)) => {
                    ends.insert(*at, end);
                }
                Err(error) => {
                    // The others would not answer any sooner, and the group waits.
                    tracing::warn!(
                        topic = &**member.topic(at.topic),
                        partition = at.partition,
                        error = in_words(&error),
                        "the end of a partition is not known; what is read is looked up"
                    );
                    break;
                }
            }
        }
        ends
    }

    /// Tracker of a partition that is assigned. If nobody else has owned the partition since this
    /// thread gave it back, open offsets are still open and complete ones stay complete.
    fn tracker(&mut self, at: TopicPartition, is_own: bool, committed: Option<i64>) -> OffsetTracker {
        let retained = self.session.retained.remove(&at).filter(|_| is_own);
        self.epochs += 1;
        retained.unwrap_or_else(|| OffsetTracker::new(Epoch(self.epochs), committed))
    }
}

/// Lists where to begin to read: at the committed offsets, and else at the beginning.
///
/// A partition whose beginning is not known, because it has no leader, is waited for by nobody: it
/// is read from offset 0, or from where it begins by then.
fn starts(
    member: &GroupMember,
    list: &[TopicPartition],
    committed: &[Committed],
) -> Vec<(TopicPartition, i64)> {
    let mut timeout = REQUEST_TIMEOUT;
    let mut beginning = |at: TopicPartition| match member.watermarks(at, timeout) {
        Ok((low, _)) => low,
        Err(error) => {
            // The others would not answer any sooner, and the group waits.
            timeout = FURTHER_TIMEOUT;
            tracing::warn!(
                topic = &**member.topic(at.topic),
                partition = at.partition,
                error = in_words(&error),
                "the beginning of a partition is not known; it is read from its first record on"
            );
            0
        }
    };
    list.iter()
        .zip(committed)
        .map(|(at, committed)| (*at, committed.offset.unwrap_or_else(|| beginning(*at))))
        .collect()
}

#[cfg(test)]
mod tests;
