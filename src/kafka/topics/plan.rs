//! The topics that a configuration asks for, and the settings that each must have.

use std::fmt;

use crate::config::{Config, Source};
use crate::kafka::rights::AclOperation;

const DAY_MS: i64 = 86_400_000;
/// Bytes of the largest record on the rejected topic: a value of 64 KiB, a key, and headers.
const REJECTED_BYTES: i64 = 128 << 10;
/// Bytes of the largest message of deliveries and of detector states: more than a body with texts
/// at their limits has, and than a state may have, and no more than brokers of any version take by
/// default.
const RECORD_BYTES: i64 = 1_000_000;
/// Bytes of the largest event that `route` writes.
const EVENT_BYTES: i64 = 512 << 10;

/// Topic as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    /// True if any number of partitions will do: `route` spreads the records anew.
    pub(crate) takes_any_count: bool,
    /// True for a producer's topic: its settings are given only to one that we make.
    pub(crate) is_source: bool,
    /// Roles that read or write it, with the rights that each needs.
    pub(crate) users: &'static [TopicUse],
    /// Rights of the process on it; by default those of one that only looks.
    pub(crate) needed: Vec<AclOperation>,
    pub(crate) settings: Vec<Setting>,
}

/// Roles as the topics know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicUser {
    Route,
    Detect,
    Deliver,
}

/// A role and the rights that it needs on a topic, which are those of `deploy/kafka/acls.md`.
pub(crate) type TopicUse = (TopicUser, &'static [AclOperation]);

const READ: &[AclOperation] = &[AclOperation::Read];
const WRITE: &[AclOperation] = &[AclOperation::Write];
const READ_AND_WRITE: &[AclOperation] = &[AclOperation::Read, AclOperation::Write];

const DESCRIBE: &[AclOperation] = &[AclOperation::Describe];

const KEYED_SOURCE: &[TopicUse] = &[(TopicUser::Detect, READ)];
/// Detectors ask for its ends.
const OTHER_SOURCE: &[TopicUse] = &[(TopicUser::Route, READ), (TopicUser::Detect, DESCRIBE)];
const EVENTS: &[TopicUse] = &[(TopicUser::Route, WRITE), (TopicUser::Detect, READ)];
const DELIVERIES: &[TopicUse] = &[(TopicUser::Detect, WRITE), (TopicUser::Deliver, READ)];
const RETRY: &[TopicUse] = &[(TopicUser::Deliver, READ_AND_WRITE)];
const DEAD_LETTER: &[TopicUse] = &[(TopicUser::Deliver, WRITE)];
const REJECTED: &[TopicUse] = &[(TopicUser::Route, WRITE), (TopicUser::Detect, WRITE)];
const DETECTOR_STATE: &[TopicUse] = &[(TopicUser::Detect, READ_AND_WRITE)];

/// Setting of a topic: given to a new topic, and compared with that of an existing one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) bound: Bound,
}

/// Values of a setting that are as good as the one we give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Exactly,
    /// A value of -1 is without end, and enough.
    AtLeast,
    AtMost,
}

impl Setting {
    fn new(name: &'static str, bound: Bound, value: impl fmt::Display) -> Self {
        Self {
            name,
            value: value.to_string(),
            bound,
        }
    }

    /// Says in which way the value `found` is wrong, if it is.
    pub(super) fn judge(&self, found: &str) -> Option<String> {
        let numbers = found.parse::<f64>().ok().zip(self.value.parse::<f64>().ok());
        let (fits, must_be) = match (self.bound, numbers) {
            (Bound::AtLeast, Some((found, wanted))) => (found < 0.0 || found >= wanted, "at least "),
            (Bound::AtMost, Some((found, wanted))) => (found <= wanted, "at most "),
            _ => (found == self.value, ""),
        };
        let (name, wanted) = (self.name, &self.value);
        (!fits).then(|| format!("{name} is `{found}`, it must be {must_be}`{wanted}`"))
    }
}

/// Lists every topic that the configuration asks for. `tiers` are the names of delays, such as
/// `1s`.
pub fn plan(config: &Config, tiers: &[String]) -> Vec<TopicPlan> {
    let partitions = config.kafka.partitions;
    let in_sync = (config.kafka.replication_factor - 1).max(1);
    // A higher number is safer still, and a topic cannot have a higher one than copies.
    let in_sync = Setting::new("min.insync.replicas", Bound::AtLeast, in_sync);
    let own = |name: &str, users, retention_days: i64, bytes: i64| TopicPlan {
        name: config.kafka.topic(name),
        partitions,
        takes_any_count: false,
        is_source: false,
        users,
        needed: vec![AclOperation::Describe],
        settings: vec![
            Setting::new("cleanup.policy", Bound::Exactly, "delete"),
            Setting::new("retention.ms", Bound::AtLeast, retention_days * DAY_MS),
            in_sync.clone(),
            Setting::new("max.message.bytes", Bound::AtLeast, bytes),
        ],
    };
    // Records that somebody has yet to read may not go because there are many.
    let read_by_us = |name: &str, users, bytes: i64| {
        let mut plan = own(name, users, 7, bytes);
        plan.settings
            .push(Setting::new("retention.bytes", Bound::Exactly, -1));
        plan
    };
    let sources = config.sources.0.iter();
    let mut plan: Vec<TopicPlan> = sources
        .map(|source| source_plan(source, partitions, &in_sync))
        .collect();
    if config.sources.unkeyed().next().is_some() {
        plan.push(read_by_us("events", EVENTS, EVENT_BYTES));
    }
    plan.push(read_by_us("deliveries", DELIVERIES, RECORD_BYTES));
    for tier in tiers {
        let name = format!("retry.{tier}");
        plan.push(read_by_us(&name, RETRY, RECORD_BYTES));
    }
    plan.push(own("dead-letter", DEAD_LETTER, 30, RECORD_BYTES));
    plan.push(own("rejected", REJECTED, 7, REJECTED_BYTES));
    plan.push(TopicPlan {
        name: config.kafka.topic("detector-state"),
        partitions,
        takes_any_count: false,
        is_source: false,
        users: DETECTOR_STATE,
        needed: vec![AclOperation::Describe],
        settings: vec![
            Setting::new("cleanup.policy", Bound::Exactly, "compact"),
            // A start reads the whole topic, so settings that keep it short may only be stricter.
            Setting::new("segment.bytes", Bound::AtMost, 32 << 20),
            Setting::new("min.cleanable.dirty.ratio", Bound::AtMost, 0.1),
            Setting::new("max.compaction.lag.ms", Bound::AtMost, 600_000),
            Setting::new("max.message.bytes", Bound::AtLeast, RECORD_BYTES),
            in_sync,
        ],
    });
    plan
}

fn source_plan(source: &Source, partitions: i32, in_sync: &Setting) -> TopicPlan {
    TopicPlan {
        name: source.topic.clone(),
        partitions,
        takes_any_count: !source.is_keyed(),
        is_source: true,
        users: if source.is_keyed() {
            KEYED_SOURCE
        } else {
            OTHER_SOURCE
        },
        needed: vec![AclOperation::Describe],
        settings: vec![in_sync.clone()],
    }
}

#[cfg(test)]
mod tests;
