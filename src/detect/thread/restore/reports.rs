//! Words for what is found when partitions are restored.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::error::RDKafkaErrorCode;

use super::lookup::Wanted;
use crate::detect::thread::DetectSettings;
use crate::detect::thread::position::Positions;
use crate::kafka::client::ClientEvents;
use crate::kafka::error_words::code_in_words;
use crate::kafka::log_ends::OffsetAnswer;
use crate::kafka::member::GroupMember;
use crate::kafka::topic_partition::TopicPartition;

/// Asks a broker for the number of the state topic's partitions, if the client misses one of them.
pub(super) fn state_partitions(
    member: &GroupMember,
    beginnings: &BTreeMap<TopicPartition, OffsetAnswer>,
    wanted: &Wanted<'_>,
    settings: &DetectSettings,
) -> Option<i32> {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopicOrPartition};
    let mut states = beginnings
        .iter()
        .filter(|(at, _)| at.topic == settings.engine.sources.len());
    let is_missed =
        states.any(|(_, answer)| matches!(answer, Err(UnknownPartition | UnknownTopicOrPartition)));
    let topic = settings.kafka.topic("detector-state");
    is_missed
        .then(|| member.partition_count(&topic, wanted.timeout))
        .flatten()
}

/// Explains why the offsets of a partition are not known. A client that does not know a partition
/// has perhaps only not heard of it yet, as when a broker has failed: only the number of the state
/// topic's partitions, told by a broker, makes it certain that one is missing.
pub(super) fn unanswered(
    at: TopicPartition,
    answer: &OffsetAnswer,
    settings: &DetectSettings,
    state_partitions: Option<i32>,
) -> String {
    use RDKafkaErrorCode::{OffsetNotAvailable, UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    let partition = at.partition;
    let state_topic = settings.kafka.topic("detector-state");
    let source = settings.engine.sources.get(at.topic);
    if source.is_none() && state_partitions.is_some_and(|count| partition >= count) {
        return format!(
            "partition {partition} of the sources has no partition in {state_topic}, so its events are not \
             detected: give all sources and the topics of `bellwether topics create` the same number of \
             partitions"
        );
    }
    let topic = source.map_or(state_topic.as_str(), |source| source.topic.as_str());
    let why = match answer {
        Err(UnknownPartition | UnknownTopic | UnknownTopicOrPartition) => {
            "no broker has told of it yet".to_owned()
        }
        Err(error) => code_in_words(*error),
        Ok(_) => code_in_words(OffsetNotAvailable),
    };
    format!("{topic}/{partition}: its offsets cannot be looked up ({why}); trying again")
}

/// Logs that a commit cannot be used.
pub(super) fn report_unusable(topic: &str, partition: i32, offset: Option<i64>, high: i64) {
    match offset {
        Some(offset) if offset > high => tracing::warn!(
            topic,
            partition,
            offset,
            end = high,
            "the committed offset lies beyond the partition's end, as when a topic is made anew; reading begins \
             with the records of the longest window"
        ),
        Some(offset) => tracing::warn!(
            topic,
            partition,
            offset,
            "the committed offset was not written by Bellwether; reading begins with the records of the longest \
             window"
        ),
        None => {}
    }
}

/// Logs that the states end before where they ended at the last commit: nobody was there to write
/// them again.
pub(crate) fn report_lost_states(topic: &str, partition: i32, positions: &Positions, found: i64) {
    let known = positions.iter().flatten();
    let known = known.filter_map(|position| position.metadata.addition.state_end);
    if let Some(expected) = known.max().filter(|expected| *expected > found) {
        tracing::warn!(
            topic,
            partition,
            expected,
            found,
            "offsets went back, as when a topic is made anew, while nobody was there to write the states again; an \
             episode under way may be notified again"
        );
    }
}

/// Logs that the group has no commit of a source any more: it had one, or stored states account for
/// records of it.
pub(super) fn report_lost_commit(topic: &str, partition: i32) {
    tracing::warn!(
        topic,
        partition,
        "the committed offset is gone, as when a topic is made anew; drops and the ends of spikes wait until their \
         windows hold only what is read from now on"
    );
}

/// Counts and logs a record of the state topic that cannot be used. It stays on the topic: a copy
/// elsewhere would be made again at each assignment.
pub(super) fn report_unreadable(
    client_events: &ClientEvents,
    topic: &str,
    partition: i32,
    offset: i64,
    error: &dyn fmt::Display,
) {
    let unreadable = &client_events.metrics().unreadable_records;
    unreadable.with_label_values(&[topic]).inc();
    tracing::error!(
        topic,
        partition,
        offset,
        error = %error,
        "an unreadable state record is skipped; an episode under way may fire again"
    );
}
