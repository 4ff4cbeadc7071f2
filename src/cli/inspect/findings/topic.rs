//! Findings about the topic, and about the role that should read it.

use super::facts::Facts;
use super::list::FindingList;
use crate::cli::inspect::words::{alike, names};
use crate::cli::text::counted;
use crate::telemetry::words::ProcessRole;

/// Judges whether the topic is there and what the configuration says of it.
pub(super) fn judge_topic(facts: &Facts<'_>, list: &mut FindingList) {
    let topic = facts.topic;
    if facts.sample.offsets.is_empty() {
        let alike = alike(topic, &facts.sample.others);
        let alike = if alike.is_empty() {
            String::new()
        } else {
            format!("; there is {}", names(&alike))
        };
        list.problem(
            "topic_missing",
            format!("there is no topic {topic} on {}{alike}", facts.brokers),
            "correct its name under [[sources]], or make it: `bellwether topics create`".into(),
        );
    }
    if !facts.is_source {
        list.problem(
            "not_a_source",
            format!("{topic} is none of the configuration's sources, so nobody reads it"),
            format!("add it: [[sources]] with topic = \"{topic}\""),
        );
    }
    let partitions = facts.sample.offsets.len();
    // A source that `route` keys may have any number of partitions.
    if facts.is_keyed
        && partitions > 0
        && i64::try_from(partitions).unwrap_or(i64::MAX) != i64::from(facts.partitions)
    {
        let so = match i64::try_from(partitions)
            .is_ok_and(|partitions| partitions < i64::from(facts.partitions))
        {
            true => "`bellwether serve` does not start so",
            false => "nobody detects the events of those beyond",
        };
        list.problem(
            "partition_count",
            format!("{topic} has {partitions} partitions and kafka.partitions is {}: {so}", facts.partitions),
            format!("set kafka.partitions = {partitions} before Bellwether's topics are made, or give the topic {} partitions", facts.partitions),
        );
    }
}

/// Judges whether the topic holds anything.
pub(super) fn judge_contents(facts: &Facts<'_>, list: &mut FindingList) {
    let offsets = &facts.sample.offsets;
    if offsets.iter().all(|offsets| offsets.end == 0) {
        list.problem(
            "topic_empty",
            "the topic has never held a record".into(),
            format!(
                "see that the producer publishes to {} on {}, and what errors it reports",
                facts.topic, facts.brokers
            ),
        );
    } else if offsets.iter().all(|offsets| offsets.end == offsets.low) {
        list.problem(
            "topic_emptied",
            "every record the topic has held is gone: its retention has removed them, and nothing new came"
                .into(),
            "see whether the producer still publishes".into(),
        );
    }
}

/// Judges whether somebody reads the topic.
pub(super) fn judge_readers(facts: &Facts<'_>, list: &mut FindingList) {
    let group = &facts.sample.group;
    if !facts.is_source {
        return;
    }
    if let Some(reason) = &group.unknown {
        list.note(
            "group_unknown",
            format!("the group {} could not be looked at: {reason}", group.name),
            "a user needs DESCRIBE on the group for that".into(),
        );
        return;
    }
    let lag = facts.sample.lag();
    let role = facts.reader();
    let has_commit = group.committed.iter().any(Option::is_some);
    match group.members {
        Some(0) if has_commit => list.problem(
            "no_detector",
            format!(
                "nobody with the role {role} is running (group {}); behind the end are {}",
                group.name,
                counted(lag, "record")
            ),
            format!("start `bellwether serve`, and see that its role {role} is on"),
        ),
        Some(0) => list.problem(
            "never_detected",
            format!(
                "nobody with the role {role} has ever read the topic (group {})",
                group.name
            ),
            "start `bellwether serve` with this configuration: the same brokers, topic_prefix and sources"
                .into(),
        ),
        _ if lag > 0 => list.note(
            "detector_behind",
            format!("the role {role} is {} behind the end", counted(lag, "record")),
            "look again: a number that grows means that they cannot keep up or are stuck (/readyz says why)"
                .into(),
        ),
        _ => {}
    }
}

/// Judges whether somebody goes on with what is read.
pub(super) fn judge_followers(facts: &Facts<'_>, list: &mut FindingList) {
    for (role, group) in &facts.sample.followers {
        if facts.is_source && group.members == Some(0) {
            let code = match role {
                ProcessRole::Deliver => "no_deliverer",
                _ => "no_detector",
            };
            list.problem(
                code,
                format!(
                    "nobody with the role {role} is running (group {}), so what comes of the records waits",
                    group.name
                ),
                format!("start `bellwether serve`, and see that its role {role} is on"),
            );
        }
    }
}

/// Judges whether all records could be read.
pub(super) fn judge_reading(facts: &Facts<'_>, list: &mut FindingList) {
    let held: i64 = facts
        .sample
        .offsets
        .iter()
        .map(|offsets| offsets.end - offsets.stable_end)
        .sum();
    if held > 0 {
        list.note(
            "open_transaction",
            format!(
                "{} at the end belong to, or come after, a transaction that is not finished: nobody who reads committed \
                 records sees them",
                counted(held, "record")
            ),
            "see whether a transactional producer hangs; the brokers end it after its transaction.timeout.ms".into(),
        );
    }
    if let Some(reason) = &facts.sample.unread {
        list.note("not_read", reason.clone(), "look again".into());
    }
}
