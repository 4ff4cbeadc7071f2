//! Restoring of assigned partitions: where reading begins, and the states on the state topic.
//!
//! Guaranteed: partitions are independent. One that cannot be restored is named with its reason and
//! spoils no other.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;

use super::DetectSettings;
use super::latest_states::LatestStates;
use super::partition::OwnedPartition;
use super::position::{Position, ReplayPoint};
use crate::clock;
use crate::detect::completeness::{CompleteFrom, SourceCompleteness};
use crate::detect::site::state_record::StateError;
use crate::domain::event::SourceClock;
use crate::kafka::client::ClientEvents;
use crate::kafka::log_ends::{LogEnds, OffsetAnswer, OffsetSpec};
use crate::kafka::member::GroupMember;
use crate::kafka::session::commit_metadata::CommitMetadata;
use crate::kafka::session::removed::report_removed;
use crate::kafka::table;
use crate::kafka::topic_partition::{TopicPartition, partition_numbers};
use crate::telemetry::Metrics;
use covered::settle_covered;
pub(crate) use lookup::{Lookup, Wanted};
pub(crate) use reports::report_lost_states;
use reports::{report_unreadable, report_unusable, unanswered};

/// Offsets that stored states account for.
mod covered;
/// Partitions to look up, and the brokers' answers.
mod lookup;
/// Words for what is found.
mod reports;

/// Longest time that the group's coordinator may take to answer.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(10);

/// A partition number that is about to be read.
pub(crate) enum Restored {
    /// Retained since it was given back.
    Retained(OwnedPartition),
    New(OwnedPartition),
}

/// Finds the position in each source. The state topic's index follows those of the sources.
pub(crate) fn look_up(
    member: &GroupMember,
    log_ends: &mut LogEnds,
    wanted: &Wanted<'_>,
    settings: &DetectSettings,
    metrics: &Metrics,
) -> anyhow::Result<Lookup> {
    let list = wanted.list;
    let state_topic = settings.engine.sources.len();
    let committed = member
        .committed(list, COMMITTED_TIMEOUT)
        .context("reading the committed offsets of the detect group")?;
    let all = with_states(list, state_topic);
    let beginnings = log_ends.find(&all, OffsetSpec::Beginning, wanted.timeout);
    let ends = log_ends.find(&all, OffsetSpec::End, wanted.timeout);
    let mut lookup = Lookup {
        made_anew: wanted.anew.clone(),
        state_partitions: reports::state_partitions(member, &beginnings, wanted, settings),
        ..Lookup::default()
    };
    for (at, answer) in beginnings.iter().chain(&ends) {
        lookup.note_answer(*at, answer, settings);
    }
    lookup.check_restorable(wanted)?;
    let mut unusable = Vec::new();
    for (at, commit) in list.iter().zip(committed) {
        let (Some(low), Some(high)) = (found(&beginnings, at), found(&ends, at)) else {
            continue;
        };
        lookup.ends.insert(*at, high);
        let topic = member.topic(at.topic);
        if commit.offset.is_some_and(|offset| offset > high) {
            lookup.made_anew.insert(*at);
        }
        let metadata = CommitMetadata::<ReplayPoint>::parse(&commit.metadata);
        let is_usable = |offset: &i64| !metadata.nonce.is_empty() && *offset <= high;
        let position = if wanted.anew.contains(at) {
            Some(first_position(low, CompleteFrom::Unknown.into()))
        } else if let Some(offset) = commit.offset.filter(is_usable) {
            let removed = u64::try_from(low - offset).unwrap_or(0);
            report_removed(metrics, topic, *at, offset, removed);
            Some(position_at(offset, metadata, low))
        } else {
            report_unusable(topic, at.partition, commit.offset, high);
            unusable.push(Unusable {
                at: *at,
                low,
                high,
                was_committed: commit.offset.is_some(),
            });
            None
        };
        let positions = lookup.positions.entry(at.partition);
        positions.or_insert_with(|| vec![None; state_topic])[at.topic] = position;
    }
    lookup.start_first(log_ends, &unusable, wanted, settings);
    lookup.state_beginnings = of_topic(&beginnings, state_topic);
    lookup.state_ends = of_topic(&ends, state_topic);
    lookup.remove_unrestorable();
    Ok(lookup)
}

/// Offsets of a topic's partitions, as far as they are known.
fn of_topic(answers: &BTreeMap<TopicPartition, OffsetAnswer>, topic: usize) -> BTreeMap<i32, i64> {
    let of_topic = answers.iter().filter(|(at, _)| at.topic == topic);
    let known = of_topic.filter_map(|(at, answer)| Some((at.partition, (*answer).ok()??)));
    known.collect()
}

/// Adds the same partitions of the state topic.
fn with_states(list: &[TopicPartition], state_topic: usize) -> Vec<TopicPartition> {
    let states = partition_numbers(list)
        .into_iter()
        .map(|partition| TopicPartition {
            topic: state_topic,
            partition,
        });
    list.iter().copied().chain(states).collect()
}

/// A partition of a source without a commit that can be used.
struct Unusable {
    at: TopicPartition,
    low: i64,
    high: i64,
    /// True if there is a commit.
    was_committed: bool,
}

impl Lookup {
    /// Leaves out the partitions that cannot be restored now.
    fn remove_unrestorable(&mut self) {
        let Self {
            positions,
            state_beginnings,
            unrestorable,
            ..
        } = self;
        positions.retain(|partition, _| !unrestorable.contains_key(partition));
        state_beginnings.retain(|partition, _| !unrestorable.contains_key(partition));
    }

    /// End of a source's partition, up to which a stored state can account for records.
    fn end_of(&self, source: &str, partition: i32, settings: &DetectSettings) -> Option<i64> {
        let mut sources = settings.engine.sources.iter();
        let topic = sources.position(|one| one.topic == source)?;
        let at = TopicPartition { topic, partition };
        match self.made_anew.contains(&at) {
            true => Some(0),
            false => self.ends.get(&at).copied(),
        }
    }

    /// Fails if no partition can be restored and one must be.
    fn check_restorable(&self, wanted: &Wanted<'_>) -> anyhow::Result<()> {
        let is_unrestorable = |at: &TopicPartition| self.unrestorable.contains_key(&at.partition);
        match self.unrestorable.values().next() {
            Some(reason) if wanted.needs_one && wanted.list.iter().all(is_unrestorable) => {
                anyhow::bail!("{reason}")
            }
            _ => Ok(()),
        }
    }

    /// Notes a partition whose offsets are not known.
    fn note_answer(&mut self, at: TopicPartition, answer: &OffsetAnswer, settings: &DetectSettings) {
        if !matches!(answer, Ok(Some(_))) {
            let count = self.state_partitions;
            let reason = || unanswered(at, answer, settings, count);
            self.unrestorable.entry(at.partition).or_insert_with(reason);
        }
    }

    /// Places sources without a usable commit: live ones as far back as the longest window, logs
    /// and the topic of `route`, which may hold logs, at their beginning.
    fn start_first(
        &mut self,
        log_ends: &mut LogEnds,
        unusable: &[Unusable],
        wanted: &Wanted<'_>,
        settings: &DetectSettings,
    ) {
        let back_ms = i64::try_from(settings.first_start_back.as_millis()).unwrap_or(i64::MAX);
        let since_ms = clock::now_ms().saturating_sub(back_ms);
        let is_whole = |at: TopicPartition| {
            let source = &settings.engine.sources[at.topic];
            source.is_routed || source.clock == SourceClock::Log
        };
        let asked = unusable.iter().map(|one| one.at).filter(|at| !is_whole(*at));
        let asked: Vec<TopicPartition> = asked.collect();
        let starts = log_ends.find(&asked, OffsetSpec::At(since_ms), wanted.timeout);
        for one in unusable {
            let at = one.at;
            if !one.was_committed {
                self.uncommitted.insert(at);
                self.lost.extend(wanted.seen.get(&at));
            }
            let start = match starts.get(&at) {
                None => one.low,
                Some(Ok(start)) => start.unwrap_or(one.high).clamp(one.low, one.high.max(one.low)),
                Some(refused) => {
                    self.note_answer(at, refused, settings);
                    continue;
                }
            };
            let was_cut = start <= one.low && one.low > 0;
            let complete_from = match start {
                // Nothing was ever removed.
                0 if !one.was_committed => CompleteFrom::Ever,
                // What was removed may have been of any time.
                _ if was_cut || is_whole(at) || self.made_anew.contains(&at) => CompleteFrom::Unknown,
                _ => CompleteFrom::At(since_ms),
            };
            if let Some(positions) = self.positions.get_mut(&at.partition) {
                positions[at.topic] = Some(first_position(start, complete_from.into()));
            }
        }
    }
}

/// Offset that was answered for a partition.
fn found(answers: &BTreeMap<TopicPartition, OffsetAnswer>, at: &TopicPartition) -> Option<i64> {
    (*answers.get(at)?).ok().flatten()
}

/// Position where a source begins to be read.
fn first_position(start: i64, complete_from: SourceCompleteness) -> Position {
    Position {
        committed: start,
        start,
        metadata: CommitMetadata::default(),
        is_first: true,
        complete_from,
    }
}

/// Position of a commit in a partition that begins at `low`. Without an offset to replay from, no
/// window held a record of the source.
fn position_at(offset: i64, metadata: CommitMetadata<ReplayPoint>, low: i64) -> Position {
    let committed = offset.max(low);
    let replay_from = metadata.addition.offset;
    let is_whole = offset >= low && replay_from.is_none_or(|from| from >= low);
    Position {
        committed,
        start: replay_from.unwrap_or(committed).clamp(low, committed),
        complete_from: match is_whole {
            true => metadata.addition.complete_from,
            false => CompleteFrom::Unknown.into(),
        },
        metadata,
        is_first: false,
    }
}

/// Loads the stored states of the partitions that are new here, and takes out those whose states
/// cannot be used. `goes_on` is asked while states are read, which ends when none came for the
/// `stall_timeout`.
pub(crate) fn load_states(
    restored: &mut Vec<Restored>,
    lookup: &mut Lookup,
    settings: &DetectSettings,
    client_events: &ClientEvents,
    stall_timeout: Duration,
    goes_on: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let topic = settings.kafka.topic("detector-state");
    let mut latest = without_states(restored);
    let beginnings: BTreeMap<i32, i64> = lookup
        .state_beginnings
        .iter()
        .filter(|(partition, _)| latest.contains_key(partition))
        .map(|(partition, beginning)| (*partition, *beginning))
        .collect();
    let unread = table::read(
        &settings.kafka,
        client_events,
        table::TableRequest {
            topic: &topic,
            beginnings: &beginnings,
            stall_timeout,
        },
        goes_on,
        |record| {
            let partition = record.partition;
            let end_of = |name: &str| lookup.end_of(name, partition, settings);
            if let Some(latest) = latest.get_mut(&partition)
                && let Err(error) = latest.add(record.key, record.offset, record.value, end_of)
            {
                report_unreadable(client_events, &topic, partition, record.offset, &error);
            }
        },
    )?;
    for partition in unread {
        let reason = format!("{topic}/{partition}: its states could not be read; trying again");
        lookup.unrestorable.insert(partition, reason);
    }
    for one in restored.iter_mut() {
        let Restored::New(owned) = one else { continue };
        let states = latest.remove(&owned.partition).unwrap_or_default();
        if lookup.unrestorable.contains_key(&owned.partition) {
            continue;
        }
        match build(owned, states, &topic, client_events) {
            Ok(()) => settle_covered(owned, lookup, settings),
            Err(reason) => {
                lookup.unrestorable.insert(owned.partition, reason);
            }
        }
    }
    restored.retain(|one| match one {
        Restored::New(owned) => !lookup.unrestorable.contains_key(&owned.partition),
        Restored::Retained(_) => true,
    });
    Ok(())
}

/// The partitions that are new here, without a state yet.
fn without_states(restored: &[Restored]) -> BTreeMap<i32, LatestStates> {
    let new = restored.iter().filter_map(|one| match one {
        Restored::New(owned) => Some(owned.partition),
        Restored::Retained(_) => None,
    });
    new.map(|partition| (partition, LatestStates::default()))
        .collect()
}

/// Gives an engine its states. Fails on one of a newer version: a detector without that state would
/// decide again what the newer version has decided.
fn build(
    owned: &mut OwnedPartition,
    states: LatestStates,
    topic: &str,
    client_events: &ClientEvents,
) -> Result<(), String> {
    let partition = owned.partition;
    for (key, state) in states.into_states() {
        let offset = state.offset;
        let site_id = match std::str::from_utf8(&key) {
            Ok(site_id) => site_id,
            Err(error) => {
                report_unreadable(client_events, topic, partition, offset, &error);
                continue;
            }
        };
        match owned.engine.load_state(site_id, Some(&state.bytes)) {
            Ok(()) if state.is_overwritten => owned.engine.rewrite_state(site_id),
            Ok(()) => {}
            Err(error @ StateError::Newer { .. }) => {
                return Err(format!(
                    "{topic}/{partition}, offset {offset}: {error}; finish the upgrade, this process cannot use \
                     the state of a newer one"
                ));
            }
            Err(error) => report_unreadable(client_events, topic, partition, offset, &error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
