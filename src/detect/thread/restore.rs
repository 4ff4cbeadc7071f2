//! Restoring of assigned partitions: where reading begins, and the states on the state topic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::DetectSettings;
use super::partition::OwnedPartition;
use super::position::{Position, Positions, ReplayPoint};
use crate::clock;
use crate::detect::site::state_record::StateError;
use crate::kafka::client::ClientEvents;
use crate::kafka::member::GroupMember;
use crate::kafka::session::commit_metadata::CommitMetadata;
use crate::kafka::table;
use crate::kafka::topic_partition::TopicPartition;
use crate::telemetry::Metrics;

/// Longest time a broker may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time that reading the states may take, within `max.poll.interval.ms`.
const STATE_TIMEOUT: Duration = Duration::from_secs(45);

/// A partition number that is about to be read.
pub(crate) enum Restored {
    /// Retained since it was given back.
    Retained(OwnedPartition),
    New(OwnedPartition),
}

/// Finds the position in each source, by partition number.
pub(crate) fn positions(
    member: &GroupMember,
    list: &[TopicPartition],
    settings: &DetectSettings,
    metrics: &Metrics,
) -> anyhow::Result<BTreeMap<i32, Positions>> {
    let sources = settings.engine.sources.len();
    let mut found: BTreeMap<i32, Positions> = BTreeMap::new();
    let committed = member
        .committed(list, REQUEST_TIMEOUT)
        .context("reading the committed offsets of the detect group")?;
    let uncommitted: Vec<TopicPartition> = list
        .iter()
        .zip(&committed)
        .filter(|(_, one)| one.offset.is_none())
        .map(|(at, _)| *at)
        .collect();
    let first_starts = first_starts(member, &uncommitted, settings)?;
    for (at, one) in list.iter().zip(committed) {
        let (low, high) = member
            .watermarks(*at, REQUEST_TIMEOUT)
            .context("reading the ends of a source's partition")?;
        let position = match one.offset {
            None => {
                let start = first_starts.get(at).copied().flatten().unwrap_or(high);
                let start = start.clamp(low, high.max(low));
                Position {
                    committed: start,
                    start,
                    metadata: CommitMetadata::default(),
                    is_first: true,
                }
            }
            Some(offset) => {
                report_removed(member.topic(at.topic), at.partition, offset, low, high, metrics);
                let metadata = CommitMetadata::parse(&one.metadata);
                position_at(offset, metadata, low, high)
            }
        };
        let positions = found.entry(at.partition).or_insert_with(|| vec![None; sources]);
        positions[at.topic] = Some(position);
    }
    Ok(found)
}

/// Position of a committed offset in a partition that begins at `low` and ends at `high`.
fn position_at(offset: i64, metadata: CommitMetadata<ReplayPoint>, low: i64, high: i64) -> Position {
    let committed = if offset > high { low } else { offset.max(low) };
    let start = metadata.addition.offset.unwrap_or(committed);
    Position {
        committed,
        start: start.clamp(low, committed),
        metadata,
        is_first: false,
    }
}

/// Counts and logs records that were removed, or a topic that was created anew, since the group
/// committed `offset`.
fn report_removed(topic: &str, partition: i32, offset: i64, low: i64, high: i64, metrics: &Metrics) {
    if offset < low {
        let missed = low - offset;
        metrics
            .records_missed
            .with_label_values(&[topic])
            .inc_by(missed.unsigned_abs());
        tracing::error!(
            topic,
            partition,
            offset,
            missed,
            "records were removed before they were read"
        );
    }
    if offset > high {
        tracing::error!(
            topic,
            partition,
            offset,
            end = high,
            "the committed offset lies beyond the partition's end: was the topic created anew? Reading begins at its beginning"
        );
    }
}

/// Offsets where sources without a commit begin: as far back as the longest window.
fn first_starts(
    member: &GroupMember,
    uncommitted: &[TopicPartition],
    settings: &DetectSettings,
) -> anyhow::Result<BTreeMap<TopicPartition, Option<i64>>> {
    if uncommitted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let back_ms = i64::try_from(settings.first_start_back.as_millis()).unwrap_or(i64::MAX);
    let offsets = member
        .offsets_at(uncommitted, clock::now_ms() - back_ms, REQUEST_TIMEOUT)
        .context("looking up where a new source begins")?;
    Ok(uncommitted.iter().copied().zip(offsets).collect())
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
    // An unreadable record stays on the topic as the latest of its key: a copy elsewhere would be
    // made again at each assignment.
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
                    "a state record whose key is no site id is skipped"
                );
                return;
            };
            match owned.engine.load_state(site_id, value) {
                Ok(()) => {}
                Err(error @ StateError::Newer { .. }) => {
                    newer.get_or_insert((error, format!("{topic}/{partition}, offset {offset}")));
                }
                Err(error) => {
                    unreadable.inc();
                    tracing::error!(
                        topic,
                        partition,
                        offset,
                        site.id = site_id,
                        error = %error,
                        "an unreadable state record is skipped; an episode under way may fire again"
                    );
                }
            }
        },
    )?;
    match newer {
        // A detector without that state would decide again what the newer version has decided.
        Some((error, at)) => Err(error)
            .with_context(|| {
                format!("{at}: finish the upgrade, this process cannot use the state of a newer one")
            })
            .context("loading the detector's state"),
        None => Ok(()),
    }
}
