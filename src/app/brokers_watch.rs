//! A watch over the clients of Kafka that were left without any broker.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::KafkaConfig;
use crate::kafka::client::ClientEvents;
use crate::kafka::cluster::Cluster;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time that the answer of a new client may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Looks after the process's clients. Those without a broker are given the configured ones as soon
/// as a new client is answered by them: that the old ones are not is no outage then.
pub(super) struct BrokersWatch {
    pub(super) kafka: KafkaConfig,
    pub(super) client_events: ClientEvents,
}

impl BrokersWatch {
    pub(super) async fn run(self, finished: CancellationToken) -> anyhow::Result<()> {
        let watch = async {
            loop {
                tokio::time::sleep(PAUSE).await;
                self.look().await;
            }
        };
        finished.run_until_cancelled(watch).await;
        Ok(())
    }

    async fn look(&self) {
        let kept = self.client_events.kept().clone();
        let looked = tokio::task::spawn_blocking(move || kept.look()).await;
        if !looked.unwrap_or(false) || !self.is_answered().await {
            return;
        }
        let clients = self.client_events.kept().give(&self.kafka.brokers);
        if clients > 0 {
            tracing::warn!(
                clients,
                "Kafka answers, but clients of this process know no broker any more; they have those of \
                 kafka.brokers again"
            );
        }
    }

    /// True if the configured brokers answer a new client.
    async fn is_answered(&self) -> bool {
        let Ok(cluster) = Cluster::impatient(&self.kafka, &self.client_events, ANSWER_TIMEOUT) else {
            return false;
        };
        let topic = self.kafka.topic("deliveries");
        cluster.topic(&topic, ANSWER_TIMEOUT).await.is_ok()
    }
}
