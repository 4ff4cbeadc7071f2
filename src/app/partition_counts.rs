//! Sources that have more partitions than the topic of states, told while the process runs.

use std::collections::BTreeMap;

use super::context::AppContext;
use super::roles::Roles;
use crate::telemetry::Health;
use crate::telemetry::words::ProcessRole;

/// Numbers of partitions, as they were last seen.
#[derive(Debug, Default)]
pub(super) struct PartitionCounts {
    /// Sources that the detector reads by itself.
    sources: Vec<String>,
    state_topic: String,
    seen: BTreeMap<String, i32>,
    /// Of each source that has too many, what was told.
    told: BTreeMap<String, String>,
}

impl PartitionCounts {
    /// The counts that matter to these roles.
    pub(super) fn of(app: &AppContext, roles: &Roles) -> Self {
        let keyed = app
            .config
            .sources
            .keyed()
            .filter(|_| roles.has(ProcessRole::Detect));
        Self {
            sources: keyed.map(|source| source.topic.clone()).collect(),
            state_topic: app.config.kafka.topic("detector-state"),
            ..Self::default()
        }
    }

    /// Notes the number of a topic's partitions.
    pub(super) fn note(&mut self, topic: &str, partitions: i32) {
        self.seen.insert(topic.to_owned(), partitions);
    }

    /// Logs what is new, and says on `/readyz` what is so.
    pub(super) fn report(&mut self, health: &Health, now_ms: i64) {
        let texts = self.texts();
        for (source, text) in &texts {
            if self.told.get(source) != Some(text) {
                tracing::warn!(topic = source, "{text}");
            }
            health.notice(&key(source), text.clone(), now_ms);
        }
        let over = self.told.keys().filter(|source| !texts.contains_key(*source));
        for source in over {
            health.end_notice(&key(source));
        }
        self.told = texts;
    }

    fn texts(&self) -> BTreeMap<String, String> {
        let Some(states) = self.seen.get(&self.state_topic) else {
            return BTreeMap::new();
        };
        let larger = self.sources.iter().filter_map(|source| {
            let found = self.seen.get(source)?;
            (found > states).then(|| (source.clone(), text(source, *found, &self.state_topic, *states)))
        });
        larger.collect()
    }
}

fn key(source: &str) -> String {
    format!("partitions of {source}")
}

fn text(source: &str, found: i32, state_topic: &str, states: i32) -> String {
    let beyond = match found - states {
        1 => format!("partition {states} of {source} is"),
        _ => format!("the partitions {states} to {} of {source} are", found - 1),
    };
    format!(
        "{beyond} not detected: it has {found} partitions and {state_topic} {states}; give all sources and the topics \
         of `bellwether topics create` the same number of partitions"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::telemetry::Metrics;
    use crate::telemetry::metrics::Labels;

    fn notices(counts: &mut PartitionCounts, health: &Health, source: i32, states: i32) -> Vec<String> {
        counts.note("events", source);
        counts.note("states", states);
        counts.report(health, 0);
        health.readiness(0).notices
    }

    #[test]
    fn partitions_that_nobody_detects_are_named_until_then() {
        let health = Health::new(Arc::new(Metrics::new(&Labels::default())), &[]);
        let mut counts = PartitionCounts {
            sources: vec!["events".to_owned()],
            state_topic: "states".to_owned(),
            ..PartitionCounts::default()
        };
        assert!(notices(&mut counts, &health, 4, 4).is_empty());
        let one = notices(&mut counts, &health, 5, 4);
        assert!(
            one[0].starts_with("partition 4 of events is not detected: it has 5 partitions and states 4;")
        );
        let more = notices(&mut counts, &health, 8, 4);
        assert!(
            more[0].starts_with("the partitions 4 to 7 of events are not detected"),
            "{more:?}"
        );
        assert_eq!(more.len(), 1);
        assert!(notices(&mut counts, &health, 8, 8).is_empty());
        assert!(
            notices(&mut counts, &health, 2, 8).is_empty(),
            "fewer harm nobody"
        );
    }
}
