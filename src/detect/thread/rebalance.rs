//! Taking partitions and giving them back.
//!
//! In: the group's assignments and revocations. Guaranteed: an engine begins with everything that
//! its predecessor's brokers acknowledged; before a partition is given back, what is acknowledged
//! is committed, if the group waits for it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::Detector;
use super::partition::OwnedPartition;
use super::restore;
use super::restore::Restored;
use crate::clock;
use crate::detect::engine::Engine;
use crate::kafka::batch_reader::BatchReader;
use crate::kafka::commits::Commit;
use crate::kafka::member::MemberEvent;
use crate::kafka::topic_partition::{TopicPartition, partition_numbers};

/// Longest wait for acknowledgements before partitions are given back.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two looks at acknowledgements.
const ACKNOWLEDGE_PAUSE: Duration = Duration::from_millis(2);

impl Detector {
    pub(super) fn serve_group(&mut self, batch_reader: &BatchReader) -> anyhow::Result<()> {
        while let Some(event) = self.session.next_event() {
            match event {
                MemberEvent::Assigned(partitions) => {
                    if let Err(error) = self.take_partitions(&partitions, batch_reader) {
                        self.owned.clear();
                        self.session.retry_assignment(partitions, &error);
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
        self.session.retained.drop_expired(begun);
        let restored = self.restore(list)?;
        let starts = self.own(restored)?;
        self.session
            .member()
            .assign_to_batch_reader(&starts, batch_reader)
            .context("taking partitions of the detect group")?;
        let nonce = self.session.nonce();
        let owned = self.owned.iter_mut().flatten();
        let firsts: Vec<Commit> = owned.flat_map(|owned| owned.first_commits(nonce)).collect();
        self.session.commit(&firsts);
        let took = clock::monotonic().duration_since(begun);
        self.session.report_assigned(partition_numbers(list).len(), took);
        Ok(())
    }

    /// Restores partitions from what was retained, or from the group's commits and the state topic.
    fn restore(&mut self, list: &[TopicPartition]) -> anyhow::Result<Vec<Restored>> {
        let registry = Arc::clone(&self.links.registry.borrow_and_update());
        let positions = restore::positions(self.session.member(), list, &self.settings, &self.links.metrics)?;
        let mut restored = Vec::new();
        for (partition, positions) in positions {
            let retained = self.session.retained.remove(&partition);
            match retained.filter(|owned| owned.can_continue_at(&positions, self.session.nonce())) {
                Some(mut owned) => {
                    owned.engine.set_registry(Arc::clone(&registry));
                    restored.push(Restored::Retained(owned));
                }
                None => {
                    let mut config = self.settings.engine.clone();
                    config.partition = partition;
                    let engine = Engine::new(config, Arc::clone(&registry));
                    let partition_count = self.settings.kafka.partitions;
                    let readers = Arc::clone(&self.settings.readers);
                    let owned = OwnedPartition::new(partition, engine, positions, partition_count, readers);
                    restored.push(Restored::New(owned));
                }
            }
        }
        restore::load_states(
            &mut restored,
            &self.settings,
            &self.links.client_events,
            &self.links.stop,
        )?;
        Ok(restored)
    }

    /// Takes over restored partitions. Returns the offsets where reading begins.
    fn own(&mut self, restored: Vec<Restored>) -> anyhow::Result<Vec<(TopicPartition, i64)>> {
        let mut starts = Vec::new();
        for one in restored {
            let owned = match one {
                Restored::Retained(mut owned) => {
                    owned.resume();
                    owned
                }
                Restored::New(mut owned) => {
                    owned.publish_unconfirmed(&self.outbox);
                    owned
                }
            };
            starts.extend(owned.starts());
            let index = usize::try_from(owned.partition).context("a partition's number")?;
            if self.owned.len() <= index {
                self.owned.resize_with(index + 1, || None);
            }
            self.owned[index] = Some(Box::new(owned));
        }
        Ok(starts)
    }

    /// Commits what is acknowledged and retains the partitions, should they come back.
    pub(super) fn give_up_partitions(&mut self, lost: bool) {
        let count = self.owned.iter().flatten().count();
        if count == 0 {
            return;
        }
        if !lost {
            self.flush();
            self.wait_for_acknowledgements();
            let scope = self.session.commit_scope();
            let commits = self.commits(scope);
            self.session.commit_and_wait(&commits);
        }
        self.hand_over_history(true);
        self.report_engine_counters();
        let now = clock::monotonic();
        for owned in self.owned.drain(..).flatten() {
            self.session.retained.insert(owned.partition, *owned, now);
        }
        self.session.report_given_back(count, lost);
    }

    fn wait_for_acknowledgements(&self) {
        let deadline = clock::monotonic() + ACKNOWLEDGE_TIMEOUT;
        let all_acknowledged = || self.owned.iter().flatten().all(|owned| owned.is_acknowledged());
        while !all_acknowledged() && clock::monotonic() < deadline {
            // The producer's thread acknowledges records and wakes no one.
            std::thread::sleep(ACKNOWLEDGE_PAUSE);
        }
    }
}
