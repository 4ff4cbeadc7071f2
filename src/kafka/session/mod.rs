//! The session of a consumer thread in its group: what every consumer thread does, whatever it
//! reads.
//!
//! In come the events of the group, out go commits, gauges, log lines and the heartbeat.
//! Guaranteed: partitions that could not be taken are offered again; after a fatal client error the
//! next turn fails, which ends the thread. Not here: what a thread reads, and the state of the
//! partitions that it owns.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use prometheus::Counter;
use rdkafka::error::RDKafkaErrorCode;

use super::client::ClientEvents;
use super::commits::Commit;
use super::error_words::{chain_in_words, code_in_words};
use super::member::{GroupMember, MemberEvent};
use super::topic_partition::TopicPartition;
use crate::clock;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::words::Rebalance;
use crate::telemetry::{Health, Metrics};
use retained::RetainedStates;

/// Text beside a committed offset.
pub(crate) mod commit_metadata;
/// Gauges of a consumer thread.
mod gauges;
/// Handling of rebalances.
pub(crate) mod group_thread;
/// Distance from the end of a topic.
pub(crate) mod lag;
/// Records that were removed before they were read.
pub(crate) mod removed;
/// States of partitions that were given back.
pub(crate) mod retained;

const COMMIT_INTERVAL: Duration = Duration::from_millis(500);
/// Longest wait for the answer to a commit, after partitions were taken and before they are given
/// back: the whole group waits meanwhile.
const LAST_COMMIT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait of a thread, before it gives partitions back, until the brokers acknowledge what it
/// published for them.
pub(crate) const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(1);
/// Time without an assignment after which a member that gave its partitions back counts as not
/// joined. With a tick it stays below the five seconds within which an outage is to be seen.
const JOIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Time between two looks of a thread at its gauges and at what is late.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// Positions that a commit covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitScope {
    /// Positions that have moved since they were last committed.
    Moved,
    /// All positions: after a commit that failed, because its positions were already noted as
    /// committed; and in the deliver group when partitions are taken or given back.
    All,
}

/// The session of a consumer thread in its group. After a revocation it keeps a state `S` for each
/// partition `K`, in case the partition comes back.
pub(crate) struct Session<K, S> {
    member: GroupMember,
    /// Name of the thread in health checks and gauges.
    thread: String,
    /// Random name by which the thread recognises its own commits.
    nonce: String,
    pub(crate) retained: RetainedStates<K, S>,
    client_events: ClientEvents,
    health: Arc<Health>,
    heartbeat: Arc<AtomicI64>,
    busy_seconds: Counter,
    failed_assignments: Throttle,
    /// When partitions were last revoked, until the next record comes.
    revoked_at: Option<Instant>,
    /// When partitions were last revoked, until the group assigns any, or none.
    joining_since: Option<Instant>,
    last_commit: Instant,
    last_tick: Instant,
}

impl<K, S> fmt::Debug for Session<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("thread", &self.thread)
            .field("nonce", &self.nonce)
            .finish_non_exhaustive()
    }
}

impl<K: Eq + Hash, S> Session<K, S> {
    /// Begins the session of the calling thread.
    pub(crate) fn begin(member: GroupMember, thread: &str, health: Arc<Health>) -> Self {
        let client_events = member.client_events().clone();
        let (now, now_ms) = (clock::monotonic(), clock::now_ms());
        let session = Self {
            thread: thread.to_owned(),
            nonce: hex::encode(crate::chance::bytes::<8>()),
            retained: RetainedStates::default(),
            heartbeat: health.heartbeat(thread, now_ms),
            busy_seconds: client_events
                .metrics()
                .thread_busy
                .with_label_values(&[member.group()]),
            failed_assignments: Throttle::default(),
            revoked_at: None,
            joining_since: None,
            last_commit: now,
            last_tick: now,
            client_events,
            health,
            member,
        };
        // Shown from the beginning, so that a thread that never comes to its first tick is seen.
        session.show_last_poll(now_ms);
        session
    }

    pub(crate) fn member(&self) -> &GroupMember {
        &self.member
    }

    /// Random name that the thread's commits carry.
    pub(crate) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Begins a turn of the thread's loop: updates the heartbeat, and returns an error if a Kafka
    /// client of this process has failed for good.
    pub(crate) fn begin_turn(&self, now_ms: i64) -> anyhow::Result<()> {
        self.heartbeat.store(now_ms, Ordering::Relaxed);
        anyhow::ensure!(!self.client_events.has_fatal(), "a Kafka client failed for good");
        Ok(())
    }

    /// Updates the heartbeat, and answers the group while the thread is long at work on its
    /// partitions. Fails if the work is to be given up, because the assignment has changed or a
    /// client failed for good.
    pub(crate) fn keep_alive(&self, now_ms: i64) -> anyhow::Result<()> {
        self.begin_turn(now_ms)?;
        anyhow::ensure!(!self.member.serve(), "the assignment has changed");
        Ok(())
    }

    /// Counts the time since `start` as busy.
    pub(crate) fn add_busy_time(&self, start: Instant) {
        let busy = clock::monotonic().duration_since(start);
        self.busy_seconds.inc_by(busy.as_secs_f64());
    }

    /// Polls the client, which keeps the membership alive, and returns the group's next event, if
    /// there is one.
    pub(crate) fn next_event(&mut self) -> Option<MemberEvent> {
        let event = self.member.poll(Duration::ZERO);
        if matches!(event, Some(MemberEvent::Assigned(_))) {
            self.joining_since = None;
        }
        // Until it has partitions: the group takes nobody in without that right.
        if let Some(right) = self.member.take_refusal() {
            self.health.member_waits(&self.thread, right);
        }
        event
    }

    /// Reports that the thread has taken its partitions. `count` is the number of different
    /// partition numbers among them.
    pub(crate) fn report_assigned(&self, count: usize, took: Duration) {
        self.count_rebalance(Rebalance::Assigned);
        tracing::info!(
            group = self.member.group(),
            partitions = count,
            duration_ms = took.as_millis() as u64,
            "partitions assigned"
        );
        self.health.set_partitions(&self.thread, count);
        self.show_partitions(count);
    }

    /// Asks the member to offer these partitions once more after a pause, because they could not be
    /// taken, and reports why.
    pub(crate) fn retry_assignment(&mut self, partitions: Vec<TopicPartition>, error: &anyhow::Error) {
        let reason = chain_in_words(error, |_| None);
        if let Some(suppressed) = self.failed_assignments.admit(clock::monotonic()) {
            tracing::warn!(
                group = self.member.group(),
                error = reason,
                suppressed,
                "partitions could not be taken; trying again"
            );
        }
        self.health.member_waits(&self.thread, reason);
        self.member.retry_assignment(partitions);
    }

    /// Reports that the thread has given back all its partitions. `count` is the number of
    /// different partition numbers among them.
    pub(crate) fn report_given_back(&self, count: usize, lost: bool) {
        self.show_partitions(0);
        tracing::info!(
            group = self.member.group(),
            partitions = count,
            lost,
            "partitions given back"
        );
    }

    /// Answers a revocation, after the thread has let go of its partitions. A member that has lost
    /// them is no longer in the group; otherwise it soon is again, so `/readyz` says nothing yet.
    pub(crate) fn answer_revocation(&mut self, lost: bool) -> anyhow::Result<()> {
        self.count_rebalance(if lost { Rebalance::Lost } else { Rebalance::Revoked });
        let (now, group) = (clock::monotonic(), self.member.group());
        self.revoked_at = Some(now);
        self.joining_since.get_or_insert(now);
        if lost {
            let reason = format!(
                "its membership of the {group} group was lost; it reads nothing until it has joined again and \
                 taken its partitions"
            );
            self.health.member_waits(&self.thread, reason);
        }
        self.member
            .unassign()
            .with_context(|| format!("giving partitions of the {group} group back"))
    }

    /// Notes that records came. If they are the first after a revocation, records the pause in
    /// between.
    pub(crate) fn end_pause(&mut self) {
        if let Some(revoked_at) = self.revoked_at.take() {
            let pause = clock::monotonic().duration_since(revoked_at);
            self.metrics()
                .rebalance_pause
                .with_label_values(&[self.member.group()])
                .observe(pause.as_secs_f64());
        }
    }

    /// True once a second, when the thread's gauges are due. Drops the states that nobody has taken
    /// back, and reports a member that has been joining for long.
    pub(crate) fn due_tick(&mut self, now: Instant) -> bool {
        let is_due = now.duration_since(self.last_tick) >= TICK_INTERVAL;
        if is_due {
            self.last_tick = now;
            self.retained.drop_expired(now);
            self.report_long_joining(now);
        }
        is_due
    }

    /// Reports that reading failed, of one partition if it is known of which.
    pub(crate) fn report_read_error(&self, code: RDKafkaErrorCode, at: Option<TopicPartition>) {
        self.client_events.note(Some(code));
        if let Some(suppressed) = self.client_events.admit(Some(code)) {
            let topic = at.map(|at| &**self.member.topic(at.topic));
            tracing::warn!(
                group = self.member.group(),
                topic,
                partition = at.map(|at| at.partition),
                error = match topic {
                    Some(topic) => self.client_events.why_not_read(topic, code),
                    None => code_in_words(code),
                },
                suppressed,
                "reading failed; it is tried again"
            );
        }
    }

    /// Which positions to commit now; `None` if the last commit is less than `COMMIT_INTERVAL` ago.
    pub(crate) fn due_commit(&mut self, now: Instant) -> Option<CommitScope> {
        if !self.is_commit_due(now) {
            return None;
        }
        self.last_commit = now;
        Some(self.commit_scope())
    }

    /// True if it is time to commit.
    pub(crate) fn is_commit_due(&self, now: Instant) -> bool {
        now.duration_since(self.last_commit) >= COMMIT_INTERVAL
    }

    /// True if all commits were answered, and none has failed since the last due one.
    pub(crate) fn are_commits_answered(&self) -> bool {
        self.member.are_commits_answered()
    }

    /// Positions that the next commit must cover. Clears the note of a failed commit.
    pub(crate) fn commit_scope(&self) -> CommitScope {
        if self.member.take_failed_commit() {
            CommitScope::All
        } else {
            CommitScope::Moved
        }
    }

    /// Commits without waiting for the answer.
    pub(crate) fn commit(&self, commits: &[Commit]) {
        self.member.commit(commits);
    }

    /// Commits and waits for the answer, for a second at most.
    pub(crate) fn commit_and_wait(&self, commits: &[Commit]) {
        self.member.commit_and_wait(commits, LAST_COMMIT_TIMEOUT);
    }

    /// Commits and waits likewise. Returns true if the group has taken a commit, and so still holds
    /// this thread for a member.
    pub(crate) fn is_any_commit_taken(&self, commits: &[Commit]) -> bool {
        self.member.is_any_commit_taken(commits, LAST_COMMIT_TIMEOUT)
    }

    /// Removes the thread from the liveness check, because its loop has ended.
    pub(crate) fn end_heartbeat(&self) {
        self.health.heartbeat_ends(&self.thread);
    }

    /// Leaves the group. The queues that read from the member must be gone.
    pub(crate) fn leave(self) {
        self.health.member_left(&self.thread);
        self.metrics().thread_gauges.remove(&self.thread);
        self.member.leave();
    }

    fn report_long_joining(&self, now: Instant) {
        let is_long = |since| now.saturating_duration_since(since) >= JOIN_TIMEOUT;
        if self.joining_since.is_some_and(is_long) {
            let reason = format!(
                "it gave its partitions back and was assigned none since: the coordinator of the {} group does not \
                 answer, or waits for another member",
                self.member.group()
            );
            self.health.member_waits(&self.thread, reason);
        }
    }

    fn metrics(&self) -> &Metrics {
        self.client_events.metrics()
    }

    fn count_rebalance(&self, event: Rebalance) {
        self.metrics()
            .rebalances
            .with_label_values(&[self.member.group(), event.as_str()])
            .inc();
    }
}

#[cfg(test)]
mod tests;
