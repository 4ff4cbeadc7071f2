//! Taking partitions and giving them back.
//!
//! In: what the group assigned or took away. Guaranteed: an engine begins with everything its predecessor was acknowledged, and what is
//! settled is committed before it goes, if the group waits for it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::partition::OwnedPartition;
use super::restore;
use super::restore::Restored;
use super::{Detector, Retained};
use crate::clock;
use crate::detect::engine::Engine;
use crate::kafka::batch_reader::BatchReader;
use crate::kafka::commits::Commit;
use crate::kafka::member::MemberEvent;
use crate::kafka::topic_partition::{TopicPartition, partition_numbers};

/// How long giving partitions back waits for its commit: the whole group waits meanwhile.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a revoked partition's engine is kept.
const KEEP: Duration = Duration::from_secs(60);
/// How long giving partitions back may wait for acknowledgements.
const SETTLE: Duration = Duration::from_secs(1);

impl Detector {
    pub(crate) fn serve_group(&mut self, batch_reader: &BatchReader) -> anyhow::Result<()> {
        while let Some(event) = self.member.poll(Duration::ZERO) {
            match event {
                MemberEvent::Assigned(partitions) => {
                    if let Err(error) = self.assigned(&partitions, batch_reader) {
                        let reason = format!("{error:#}");
                        if let Some(suppressed) = self.refused.admit(clock::monotonic()) {
                            tracing::warn!(
                                group = "detect",
                                error = reason,
                                suppressed,
                                "partitions could not be taken; trying again"
                            );
                        }
                        self.links.health.member_waits(&self.settings.name, reason);
                        self.owned.clear();
                        self.member.take_later(partitions);
                    }
                }
                MemberEvent::Revoked { lost } => {
                    let event = if lost { "lost" } else { "revoked" };
                    self.links
                        .metrics
                        .rebalances
                        .with_label_values(&["detect", event])
                        .inc();
                    self.give_up_partitions(lost);
                    self.revoked_at = Some(clock::monotonic());
                    self.member
                        .unassign()
                        .context("giving partitions of the detect group back")?;
                }
            }
        }
        Ok(())
    }

    fn assigned(&mut self, list: &[TopicPartition], batch_reader: &BatchReader) -> anyhow::Result<()> {
        let begun = clock::monotonic();
        self.kept.retain(|_, kept| kept.until > begun);
        let registry = Arc::clone(&self.links.registry.borrow_and_update());
        let positions = restore::positions(&self.member, list, &self.settings, &self.links.metrics)?;
        let mut restored = Vec::new();
        for (partition, positions) in positions {
            let back = self
                .kept
                .remove(&partition)
                .filter(|kept| kept.owned.goes_on_at(&positions, &self.nonce));
            match back {
                // Nobody else had it since: it goes on where it was.
                Some(kept) => restored.push(Restored::Retained(kept.owned)),
                None => {
                    let mut config = self.settings.engine.clone();
                    config.partition = partition;
                    let engine = Engine::new(config, Arc::clone(&registry));
                    restored.push(Restored::New(OwnedPartition::new(
                        partition,
                        engine,
                        positions,
                        self.settings.kafka.partitions,
                    )));
                }
            }
        }
        restore::load_states(
            &mut restored,
            &self.settings,
            &self.links.client_events,
            &self.links.stop,
        )?;
        let mut starts = Vec::new();
        for one in restored {
            let owned = match one {
                Restored::Retained(mut owned) => {
                    owned.engine.set_registry(Arc::clone(&registry));
                    owned.comes_back();
                    owned
                }
                Restored::New(mut owned) => {
                    owned.begin(&self.outbox);
                    owned
                }
            };
            starts.extend(owned.starts());
            let place = usize::try_from(owned.partition).context("a partition's number")?;
            if self.owned.len() <= place {
                self.owned.resize_with(place + 1, || None);
            }
            self.owned[place] = Some(Box::new(owned));
        }
        self.member
            .assign_to_batch_reader(&starts, batch_reader)
            .context("taking partitions of the detect group")?;
        let nonce = &self.nonce;
        let owned = self.owned.iter_mut().flatten();
        let firsts: Vec<Commit> = owned.flat_map(|owned| owned.first_commits(nonce)).collect();
        self.member.commit(&firsts);
        self.links
            .metrics
            .rebalances
            .with_label_values(&["detect", "assigned"])
            .inc();
        let count = partition_numbers(list).len();
        let took_ms = clock::monotonic().duration_since(begun).as_millis() as u64;
        tracing::info!(
            group = "detect",
            partitions = count,
            duration_ms = took_ms,
            "partitions assigned"
        );
        self.links.health.set_partitions(&self.settings.name, count);
        self.links
            .metrics
            .consumer_partitions
            .with_label_values(&["detect"])
            .add(count as i64);
        Ok(())
    }

    /// Commits what is done and keeps the rest for a minute, should the partitions come back.
    pub(crate) fn give_up_partitions(&mut self, lost: bool) {
        let count = self.owned.iter().flatten().count();
        if count == 0 {
            return;
        }
        if !lost {
            self.flush();
            let deadline = clock::monotonic() + SETTLE;
            while self.owned.iter().flatten().any(|owned| !owned.is_settled())
                && clock::monotonic() < deadline
            {
                std::thread::sleep(Duration::from_millis(2));
            }
            let again = self.member.take_failed_commit();
            let commits = self.commits(again);
            self.member.commit_and_wait(&commits, COMMIT_TIMEOUT);
        }
        self.tell_counters();
        let until = clock::monotonic() + KEEP;
        for owned in self.owned.drain(..).flatten() {
            self.kept
                .insert(owned.partition, Retained { owned: *owned, until });
        }
        self.links
            .metrics
            .consumer_partitions
            .with_label_values(&["detect"])
            .sub(count as i64);
        self.links.health.set_partitions(&self.settings.name, 0);
        tracing::info!(
            group = "detect",
            partitions = count,
            lost,
            "partitions given back"
        );
    }
}
