//! Taking partitions and giving them back.
//!
//! In: the group's assignments and revocations. Guaranteed: an engine begins with everything that
//! its predecessor's brokers acknowledged; before a partition is given back, what is acknowledged
//! is committed, if the group waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::partition::OwnedPartition;
use super::position::Positions;
use super::restore::{Restored, Wanted};
use super::state_log::StateLog;
use super::unrestored::Unrestored;
use super::{Detector, restore};
use crate::clock;
use crate::detect::engine::Engine;
use crate::detect::engine::config::EngineConfig;
use crate::domain::registry::Registry;
use crate::kafka::batch_reader::BatchReader;
use crate::kafka::commits::Commit;
use crate::kafka::session::group_thread::GroupThread;
use crate::kafka::session::{ACKNOWLEDGE_TIMEOUT, Session};
use crate::kafka::topic_partition::{TopicPartition, partition_numbers};

/// Longest waits when partitions are restored.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For partitions' leaders.
    lookup: Duration,
    /// For the next stored state.
    stall: Duration,
    /// True if it fails where no partition can be restored, so that the process is not ready.
    needs_one: bool,
}

/// Patience when partitions are assigned.
const PATIENT: Patience = Patience {
    lookup: Duration::from_secs(3),
    stall: Duration::from_secs(5),
    needs_one: true,
};
/// Patience while other partitions are read, which wait meanwhile.
const BRIEF: Patience = Patience {
    lookup: Duration::from_millis(300),
    stall: Duration::from_secs(2),
    needs_one: false,
};
/// Time between two log lines about a long restoring.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// Pause between two looks at acknowledgements.
const ACKNOWLEDGE_PAUSE: Duration = Duration::from_millis(2);

impl GroupThread for Detector {
    type Partition = i32;
    type State = OwnedPartition;
    type Queue = BatchReader;

    fn session(&mut self) -> &mut Session<i32, OwnedPartition> {
        &mut self.session
    }

    fn into_session(self) -> Session<i32, OwnedPartition> {
        self.session
    }

    fn take_partitions(&mut self, list: &[TopicPartition], batch_reader: &BatchReader) -> anyhow::Result<()> {
        let begun = clock::monotonic();
        self.session.retained.drop_expired(begun);
        self.unrestored.clear();
        for at in list {
            let unrestored = self.unrestored.entry(at.partition);
            unrestored
                .or_insert_with(|| Unrestored::new(begun))
                .list
                .push(*at);
        }
        self.find_missing(list)?;
        self.restore(&partition_numbers(list), PATIENT)?;
        self.begin_reading(batch_reader)?;
        self.watch_assigned(list, clock::now_ms());
        let took = clock::monotonic().duration_since(begun);
        self.session.report_assigned(partition_numbers(list).len(), took);
        Ok(())
    }

    fn forget_partitions(&mut self) {
        self.owned.clear();
        self.unrestored.clear();
    }

    /// Commits what is acknowledged and retains the partitions, should they come back.
    fn give_back_partitions(&mut self, lost: bool) {
        self.unrestored.clear();
        let now_ms = clock::now_ms();
        self.silences
            .iter_mut()
            .for_each(|silence| silence.give_back(now_ms));
        let count = self.owned.iter().flatten().count();
        if count == 0 {
            return;
        }
        // A rebalance that began before the thread was suspended may be over.
        let lost = lost || !self.is_member();
        if !lost {
            for owned in self.owned.iter_mut().flatten() {
                owned.end_minutes(now_ms);
                owned.engine.keep_counts();
            }
            self.flush();
            self.wait_for_acknowledgements();
            let scope = self.session.commit_scope();
            let commits = self.commits(scope);
            self.session.commit_and_wait(&commits);
        }
        self.hand_over_history(true);
        self.report_engine_counters();
        let now = clock::monotonic();
        // What the outbox does not publish then is decided again, by whoever takes the partitions.
        let are_doubtful = lost && self.turns.lose(now, clock::now_ms());
        for owned in self.owned.drain(..).flatten().filter(|_| !are_doubtful) {
            self.session.retained.insert(owned.partition, *owned, now);
        }
        self.session.report_given_back(count, lost);
    }
}

impl Detector {
    /// Tries again to restore partitions that could not be restored.
    pub(super) fn retry_unrestored(&mut self) {
        let now = clock::monotonic();
        let due: BTreeSet<i32> = self
            .unrestored
            .iter()
            .filter(|(_, unrestored)| unrestored.retry_at <= now)
            .map(|(partition, _)| *partition)
            .collect();
        if due.is_empty() {
            return;
        }
        if let Err(error) = self.restore(&due, BRIEF) {
            let reason = crate::kafka::error_words::chain_in_words(&error, |_| None);
            for partition in &due {
                self.note_unrestored(*partition, reason.clone());
            }
        }
        for owned in self.owned.iter_mut().flatten() {
            if due.contains(&owned.partition) {
                owned.set_elsewhere();
            }
        }
        self.commit_beginnings();
    }

    /// Begins to read all owned partitions where each of them stands.
    fn begin_reading(&mut self, batch_reader: &BatchReader) -> anyhow::Result<()> {
        let starts: Vec<_> = self
            .owned
            .iter()
            .flatten()
            .flat_map(|owned| owned.starts())
            .collect();
        let waiting = self
            .unrestored
            .values()
            .flat_map(|unrestored| unrestored.list.iter().copied());
        let waiting: Vec<TopicPartition> = waiting.collect();
        self.session
            .member()
            .assign_some(&starts, &waiting, batch_reader)
            .context("taking partitions of the detect group")?;
        for owned in self.owned.iter_mut().flatten() {
            let starts = owned.starts();
            owned.read_again(&starts);
        }
        self.commit_beginnings();
        Ok(())
    }

    /// Commits where partitions begin of which the group had no usable commit.
    fn commit_beginnings(&mut self) {
        let nonce = self.session.nonce();
        let owned = self.owned.iter_mut().flatten();
        let firsts: Vec<Commit> = owned.flat_map(|owned| owned.first_commits(nonce)).collect();
        self.session.commit(&firsts);
    }

    /// Restores partition numbers from what was retained, or from the group's commits and the state
    /// topic. Those that cannot be restored stay in `unrestored`, with the reason.
    fn restore(&mut self, partitions: &BTreeSet<i32>, patience: Patience) -> anyhow::Result<()> {
        let registry = Arc::clone(&self.links.registry.borrow_and_update());
        let wanted = || {
            partitions
                .iter()
                .filter_map(|partition| self.unrestored.get(partition))
        };
        let list: Vec<TopicPartition> = wanted().flat_map(|one| one.list.iter().copied()).collect();
        let anew = wanted().flat_map(|one| one.anew.iter().copied()).collect();
        let wanted = Wanted {
            list: &list,
            anew: &anew,
            seen: &self.seen,
            timeout: patience.lookup,
            needs_one: patience.needs_one,
        };
        let mut lookup = restore::look_up(
            self.session.member(),
            &mut self.log_ends,
            &wanted,
            &self.settings,
            &self.links.metrics,
        )?;
        let mut restored = Vec::new();
        for (partition, positions) in std::mem::take(&mut lookup.positions) {
            let state_end = lookup.state_ends.get(&partition).copied().unwrap_or(0);
            restored.push(self.retained_or_new(partition, positions, &registry, state_end));
        }
        let (session, stop) = (&self.session, &self.links.stop);
        let mut last_line = clock::monotonic();
        restore::load_states(
            &mut restored,
            &mut lookup,
            &self.settings,
            &self.links.client_events,
            patience.stall,
            |records| {
                let now = clock::monotonic();
                if now.duration_since(last_line) >= PROGRESS_INTERVAL {
                    last_line = now;
                    tracing::info!(group = "detect", records, "states of partitions are read");
                }
                anyhow::ensure!(!stop.is_cancelled(), "the process stops");
                session.keep_alive(clock::now_ms())
            },
        )?;
        self.own(restored)?;
        for (partition, reason) in lookup.unrestorable {
            self.note_unrestored(partition, reason);
        }
        Ok(())
    }

    /// A partition as it was retained, if it can go on from these positions, or one without any
    /// state.
    fn retained_or_new(
        &mut self,
        partition: i32,
        positions: Positions,
        registry: &Arc<Registry>,
        state_end: i64,
    ) -> Restored {
        match self.session.retained.remove(&partition) {
            Some(mut owned) if owned.can_continue_at(&positions, self.session.nonce()) => {
                owned.engine.set_registry(Arc::clone(registry));
                Restored::Retained(owned)
            }
            retained => {
                let mut owned = self.new_partition(partition, positions, Arc::clone(registry), state_end);
                owned.note_proven_before(retained.and_then(|owned| owned.proven_until_ms()));
                Restored::New(owned)
            }
        }
    }

    /// A partition without any state, from these positions on.
    fn new_partition(
        &self,
        partition: i32,
        positions: Positions,
        registry: Arc<Registry>,
        state_end: i64,
    ) -> OwnedPartition {
        let state_topic = &self.outbox.topics.detector_state;
        restore::report_lost_states(state_topic, partition, &positions, state_end);
        let partition_count = self.settings.kafka.partitions;
        let config = EngineConfig {
            partition,
            partition_count,
            ..self.settings.engine.clone()
        };
        let engine = Engine::new(config, registry);
        let readers = Arc::clone(&self.settings.readers);
        let state_log = StateLog::new(state_end);
        OwnedPartition::new(partition, engine, positions, partition_count, readers, state_log)
    }

    fn note_unrestored(&mut self, partition: i32, reason: String) {
        if let Some(unrestored) = self.unrestored.get_mut(&partition) {
            if unrestored.reason != reason {
                tracing::warn!(partition, error = reason, "a partition waits; the others go on");
            }
            unrestored.note_failure(reason, clock::monotonic());
        }
    }

    /// Lets go of partitions whose offsets went back, and restores them anew.
    pub(super) fn restore_those_gone_back(&mut self) {
        for index in 0..self.owned.len() {
            let Some(owned) = self.owned[index].as_deref() else {
                continue;
            };
            let (Some(back), true) = (owned.went_back(), owned.is_acknowledged()) else {
                continue;
            };
            let (partition, list) = (owned.partition, owned.partitions().collect());
            let topic = self.counts.source(back.source).to_owned();
            tracing::warn!(
                topic,
                partition,
                expected = back.expected,
                found = back.found,
                "offsets went back, as when a topic is made anew; the partition is restored anew and read from its \
                 beginning"
            );
            let now = clock::monotonic();
            let mut unrestored = Unrestored::new(now);
            unrestored.list = list;
            let source = back.source;
            unrestored.anew.insert(TopicPartition {
                topic: source,
                partition,
            });
            if let Some(owned) = self.owned[index].take() {
                self.give_up_engine(*owned);
            }
            self.unrestored.insert(partition, unrestored);
        }
        self.retry_unrestored();
    }

    /// Writes all states of the partitions again whose earlier records are gone: whoever restores
    /// them would decide again what they have decided.
    pub(super) fn write_lost_states(&mut self) {
        for owned in self.owned.iter_mut().flatten() {
            let Some(lost) = owned.state_log.take_lost() else {
                continue;
            };
            let states = owned.engine.rewrite_states();
            tracing::warn!(
                topic = &*self.outbox.topics.detector_state,
                partition = owned.partition,
                expected = lost.expected,
                found = lost.found,
                states,
                "offsets went back, as when a topic is made anew; the states of all sites of the partition are \
                 written again"
            );
        }
    }

    /// Adds the counters of an engine that is given up.
    fn give_up_engine(&mut self, mut owned: OwnedPartition) {
        self.counts.add_engine_counters(owned.engine.take_counters());
    }

    /// Adopts restored partitions.
    fn own(&mut self, restored: Vec<Restored>) -> anyhow::Result<()> {
        for one in restored {
            let mut owned = match one {
                Restored::Retained(owned) => owned,
                Restored::New(mut owned) => {
                    owned.publish_unconfirmed(&self.outbox);
                    owned
                }
            };
            owned.set_missing(&self.missing);
            self.seen.extend(owned.partitions());
            self.unrestored.remove(&owned.partition);
            let index = usize::try_from(owned.partition).context("a partition's number")?;
            if self.owned.len() <= index {
                self.owned.resize_with(index + 1, || None);
            }
            self.owned[index] = Some(Box::new(owned));
        }
        Ok(())
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
