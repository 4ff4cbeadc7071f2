//! Where a detector begins on partitions it was assigned: the group's commits, and the states on the state topic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::DetectSettings;
use super::partition::OwnedPartition;
use super::position::{Note, Position, Positions};
use crate::clock;
use crate::kafka::client::ClientEvents;
use crate::kafka::member::GroupMember;
use crate::kafka::table;
use crate::kafka::topic_partition::TopicPartition;
use crate::telemetry::Metrics;

/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long reading the states may take: within `max.poll.interval.ms`.
const STATE_TIMEOUT: Duration = Duration::from_secs(45);

/// A partition that is about to be read.
pub(crate) enum Restored {
    /// It came back to us, as it was.
    Retained(OwnedPartition),
    New(OwnedPartition),
}

/// Where each source of each partition stands.
pub(crate) fn positions(
    member: &GroupMember,
    list: &[TopicPartition],
    settings: &DetectSettings,
    metrics: &Metrics,
) -> anyhow::Result<BTreeMap<i32, Positions>> {
    let sources = settings.engine.sources.len();
    let mut found: BTreeMap<i32, Positions> = BTreeMap::new();
    let committed = member
        .committed(list, TIMEOUT)
        .context("reading the committed offsets of the detect group")?;
    let never: Vec<TopicPartition> = list
        .iter()
        .zip(&committed)
        .filter(|(_, one)| one.offset.is_none())
        .map(|(at, _)| *at)
        .collect();
    let first = first_starts(member, &never, settings)?;
    for (at, one) in list.iter().zip(committed) {
        let (low, high) = member
            .watermarks(*at, TIMEOUT)
            .context("reading the ends of a source's partition")?;
        let topic = member.topic(at.topic);
        let position = match one.offset {
            None => {
                let start = first
                    .get(at)
                    .copied()
                    .flatten()
                    .unwrap_or(high)
                    .clamp(low, high.max(low));
                Position {
                    committed: start,
                    start,
                    note: Note::default(),
                    is_first: true,
                }
            }
            Some(offset) => {
                let note = Note::parse(&one.metadata);
                if offset < low {
                    metrics
                        .records_missed
                        .with_label_values(&[topic])
                        .inc_by((low - offset).unsigned_abs());
                    tracing::error!(topic = %topic, partition = at.partition, offset, missed = low - offset, "records were removed before they were read");
                }
                if offset > high {
                    tracing::error!(topic = %topic, partition = at.partition, offset, end = high, "the committed offset lies beyond the partition's end: was the topic made anew? Reading begins at its beginning");
                }
                let committed = if offset > high { low } else { offset.max(low) };
                let start = note.replay_from.unwrap_or(committed).clamp(low, committed);
                Position {
                    committed,
                    start,
                    note,
                    is_first: false,
                }
            }
        };
        let slot = found.entry(at.partition).or_insert_with(|| vec![None; sources]);
        slot[at.topic] = Some(position);
    }
    Ok(found)
}

/// A source without a commit begins as far back as the longest window.
fn first_starts(
    member: &GroupMember,
    never: &[TopicPartition],
    settings: &DetectSettings,
) -> anyhow::Result<BTreeMap<TopicPartition, Option<i64>>> {
    if never.is_empty() {
        return Ok(BTreeMap::new());
    }
    let back_ms = i64::try_from(settings.first_start_back.as_millis()).unwrap_or(i64::MAX);
    let offsets = member
        .offsets_at(never, clock::now_ms() - back_ms, TIMEOUT)
        .context("looking up where a new source begins")?;
    Ok(never.iter().copied().zip(offsets).collect())
}

/// Loads the stored states of the partitions that are new here.
pub(crate) fn load_states(
    restored: &mut [Restored],
    settings: &DetectSettings,
    client_events: &ClientEvents,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut new: BTreeMap<i32, &mut OwnedPartition> = restored
        .iter_mut()
        .filter_map(|one| match one {
            Restored::New(owned) => Some((owned.partition, owned)),
            Restored::Retained(_) => None,
        })
        .collect();
    let partitions: BTreeSet<i32> = new.keys().copied().collect();
    let topic = settings.kafka.topic("detector-state");
    // They stay where they are, as the latest of their keys: put elsewhere, they would be so again with every take-over.
    let unreadable = client_events
        .metrics()
        .unreadable_records
        .with_label_values(&[&topic]);
    let mut newer = None;
    table::read(
        &settings.kafka,
        client_events,
        &topic,
        &partitions,
        STATE_TIMEOUT,
        stop,
        |partition, offset, key, value| {
            let Some(owned) = new.get_mut(&partition) else {
                return;
            };
            let Ok(site_id) = std::str::from_utf8(key) else {
                unreadable.inc();
                tracing::error!(
                    topic,
                    partition,
                    offset,
                    "a state record whose key is no site id is passed over"
                );
                return;
            };
            match owned.engine.load_state(site_id, value) {
                Ok(()) => {}
                Err(error @ crate::detect::site::state_record::StateError::Newer { .. }) => {
                    let at = format!(
                        "{topic}/{partition}, offset {offset}: finish the upgrade, this process cannot go on where a newer one was"
                    );
                    newer.get_or_insert((error, at));
                }
                Err(error) => {
                    unreadable.inc();
                    tracing::error!(topic, partition, offset, site.id = site_id, error = %error, "an unreadable state record is passed over; an episode under way may fire again")
                }
            }
        },
    )?;
    match newer {
        // Going on would decide again what the newer version has decided.
        Some((error, at)) => Err(error).context(at).context("loading the detector's state"),
        None => Ok(()),
    }
}
