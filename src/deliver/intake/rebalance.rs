//! Taking partitions and giving them back.
//!
//! In: what the group assigned or took away. Guaranteed: nothing of a revoked partition begins after its attempts under way were
//! claimed, and what the next owner must know is committed before it goes, if the group waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;

use super::{COMMIT_TIMEOUT, Intake, KEEP, Note, Partition, Position, Retained, TIMEOUT};
use crate::clock;
use crate::dispatch::offsets::{Epoch, OffsetTracker};
use crate::dispatch::read_ahead::ReadAhead;
use crate::kafka::topic_partition::{TopicPartition, partition_numbers};

impl Intake {
    pub(super) fn assigned(&mut self, list: &[TopicPartition]) -> anyhow::Result<()> {
        let committed = self
            .member
            .committed(list, TIMEOUT)
            .context("reading the committed offsets of the deliver group")?;
        let mut starts = Vec::with_capacity(list.len());
        for (at, committed) in list.iter().zip(&committed) {
            let start = match committed.offset {
                Some(offset) => offset,
                None => {
                    self.member
                        .watermarks(*at, TIMEOUT)
                        .context("reading the beginning of a partition")?
                        .0
                }
            };
            starts.push((*at, start));
        }
        let queues = self
            .member
            .assign(&starts)
            .context("taking partitions of the deliver group")?;
        self.assignment = Arc::default();
        let now = clock::monotonic();
        let now_ms = clock::now_ms();
        self.kept.retain(|_, kept| kept.until > now);
        for (((at, start), committed), mut queue) in starts.into_iter().zip(committed).zip(queues) {
            let note = Note::parse(&committed.metadata);
            let ours = note.nonce == self.nonce;
            // Nobody else had the partition since: what is open is still open, what is complete stays complete.
            let kept = self.kept.remove(&at).filter(|_| ours).map(|kept| kept.tracker);
            self.epochs += 1;
            let tracker = kept.unwrap_or_else(|| OffsetTracker::new(Epoch(self.epochs), committed.offset));
            let suspect = committed.offset.is_some() && !ours && !note.handed_over;
            let ready = Arc::new(AtomicBool::new(true));
            let thread = std::thread::current();
            let flag = Arc::clone(&ready);
            queue.set_nonempty_callback(move || {
                flag.store(true, Ordering::Release);
                thread.unpark();
            });
            let partition = Partition {
                queue,
                ready,
                tracker,
                suspect_before_ms: if suspect { now_ms } else { i64::MIN },
                position: Position {
                    next: start,
                    last_record_ms: now_ms,
                    fresh: true,
                },
                held_newer: false,
            };
            self.partitions.insert(at, partition);
        }
        self.links
            .metrics
            .rebalances
            .with_label_values(&["deliver", "assigned"])
            .inc();
        let owned = partition_numbers(self.partitions.keys()).len();
        tracing::info!(group = "deliver", partitions = owned, "partitions assigned");
        self.links.health.set_partitions(&self.settings.name, owned);
        self.links
            .metrics
            .consumer_partitions
            .with_label_values(&["deliver"])
            .add(owned as i64);
        // Before anything is sent the commit's note says that we are at work, should we die before the next one.
        let commits = self.commits(true, false);
        self.member.commit_and_wait(&commits, COMMIT_TIMEOUT);
        Ok(())
    }

    pub(super) fn revoked(&mut self, lost: bool) -> anyhow::Result<()> {
        let event = if lost { "lost" } else { "revoked" };
        self.links
            .metrics
            .rebalances
            .with_label_values(&["deliver", event])
            .inc();
        self.give_up_partitions(lost);
        self.revoked_at = Some(clock::monotonic());
        self.member
            .unassign()
            .context("giving partitions of the deliver group back")
    }

    /// Claims what is under way, commits what is done, and forgets the rest. Never waits for a request.
    pub(super) fn give_up_partitions(&mut self, lost: bool) {
        let owned = partition_numbers(self.partitions.keys()).len();
        self.assignment.revoke();
        if !lost && !self.partitions.is_empty() {
            let handed_over = self.links.in_flight.claim(&self.links.runtime);
            self.take_completions();
            let commits = self.commits(true, handed_over);
            self.member.commit_and_wait(&commits, COMMIT_TIMEOUT);
        }
        self.outbox.clear();
        self.read_ahead = ReadAhead::new();
        let until = clock::monotonic() + KEEP;
        for (at, partition) in self.partitions.drain() {
            if partition.held_newer {
                // It is the next owner's to show.
                let topic = self.member.topic(at.topic);
                self.links
                    .metrics
                    .newer_records_held
                    .with_label_values(&[topic])
                    .dec();
            }
            let tracker = partition.tracker;
            self.kept.insert(at, Retained { tracker, until });
        }
        self.links
            .metrics
            .consumer_partitions
            .with_label_values(&["deliver"])
            .sub(owned as i64);
        self.links.health.set_partitions(&self.settings.name, 0);
        tracing::info!(
            group = "deliver",
            partitions = owned,
            lost,
            "partitions given back"
        );
    }
}
