//! The topics that a configuration asks for, and the settings that each must have.

use std::fmt;

use crate::config::Config;

const DAY_MS: i64 = 86_400_000;

/// How a topic must look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    /// The producer's topic: its settings are not ours, and given only to one that we make.
    pub(crate) is_source: bool,
    pub(crate) settings: Vec<Setting>,
}

/// One setting of a topic: given when it is created, and what a topic that exists is measured by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) bound: Bound,
}

/// Which values of a setting are as good as the one we give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Exactly,
    /// -1 is for ever.
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

    /// What is wrong with the value `found`.
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

/// Every topic the configuration asks for. `tiers` are the delays' names, such as `1s`.
pub fn plan(config: &Config, tiers: &[String]) -> Vec<TopicPlan> {
    let partitions = config.kafka.partitions;
    let in_sync = (config.kafka.replication_factor - 1).max(1);
    // More of them is safer still, and no topic can have more than it has copies.
    let in_sync = Setting::new("min.insync.replicas", Bound::AtLeast, in_sync);
    let own = |name: &str, retention_days: i64| TopicPlan {
        name: config.kafka.topic(name),
        partitions,
        is_source: false,
        settings: vec![
            Setting::new("cleanup.policy", Bound::Exactly, "delete"),
            Setting::new("retention.ms", Bound::AtLeast, retention_days * DAY_MS),
            in_sync.clone(),
        ],
    };
    let mut plan: Vec<TopicPlan> = config
        .sources
        .0
        .iter()
        .map(|source| TopicPlan {
            name: source.topic.clone(),
            partitions,
            is_source: true,
            settings: vec![in_sync.clone()],
        })
        .collect();
    plan.push(own("deliveries", 7));
    plan.extend(tiers.iter().map(|tier| own(&format!("retry.{tier}"), 7)));
    plan.push(own("dead-letter", 30));
    plan.push(own("rejected", 7));
    plan.push(TopicPlan {
        name: config.kafka.topic("detector-state"),
        partitions,
        is_source: false,
        settings: vec![
            Setting::new("cleanup.policy", Bound::Exactly, "compact"),
            // A start reads all of it: what keeps it short may only be stricter.
            Setting::new("segment.bytes", Bound::AtMost, 32 << 20),
            Setting::new("min.cleanable.dirty.ratio", Bound::AtMost, 0.1),
            Setting::new("max.compaction.lag.ms", Bound::AtMost, 600_000),
            in_sync,
        ],
    });
    plan
}

#[cfg(test)]
mod tests;
