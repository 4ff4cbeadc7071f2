//! Bellwether's own topics that somebody has deleted, told while the process runs. What is to be
//! written to one waits until it is made again, and so do the offsets behind it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::kafka::cluster::{Cluster, TopicLookup};
use crate::telemetry::Health;

/// Longest time that an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two looks at all of them.
const PAUSE: Duration = Duration::from_secs(3);

/// Looks whether topics are there.
pub(super) struct MissingTopics {
    pub(super) cluster: Cluster,
    /// Topics without which the process is ready nevertheless.
    pub(super) topics: Vec<String>,
    pub(super) health: Arc<Health>,
    /// Topics that were told of.
    pub(super) told: BTreeSet<String>,
}

impl MissingTopics {
    /// Runs until the process has finished.
    pub(super) async fn run(mut self, finished: CancellationToken) -> anyhow::Result<()> {
        let watch = async {
            loop {
                self.look().await;
                tokio::time::sleep(PAUSE).await;
            }
        };
        finished.run_until_cancelled(watch).await;
        Ok(())
    }

    async fn look(&mut self) {
        for topic in self.topics.clone() {
            match self.cluster.topic(&topic, ANSWER_TIMEOUT).await {
                Ok(TopicLookup::Missing) => self.tell(&topic),
                Ok(TopicLookup::Found(_)) => self.is_back(&topic),
                Ok(TopicLookup::NotAllowed) => {}
                // Nobody answers, and `/readyz` says so.
                Err(_) => return,
            }
        }
    }

    fn tell(&mut self, topic: &str) {
        let text = format!(
            "there is no such topic as {topic} any more, and what is to be written to it waits; \
             `bellwether topics create` makes it"
        );
        if self.told.insert(topic.to_owned()) {
            tracing::warn!(topic, "{text}");
        }
        self.health.notice(&key(topic), text, clock::now_ms());
    }

    fn is_back(&mut self, topic: &str) {
        if self.told.remove(topic) {
            tracing::info!(topic, "the topic is there again");
            self.health.end_notice(&key(topic));
        }
    }
}

fn key(topic: &str) -> String {
    format!("missing {topic}")
}
