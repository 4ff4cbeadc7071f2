//! A Kafka cluster inside the process: librdkafka's mock, for `bellwether demo` only.
//!
//! It listens on a free loopback port and speaks enough of the protocol for every client here:
//! groups, commits with metadata, idempotent producers. It has no admin API, keeps 5 MiB or 100,000
//! batches of a partition and drops the oldest beyond that, compacts nothing, and forgets
//! everything when it is dropped.

use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka_sys as sys;

use super::client::ClientEvents;
use super::topics::TopicPlan;

/// A cluster of one broker. It lives until it is dropped; clients should be gone by then.
pub(crate) struct EmbeddedKafka {
    /// Client that owns the cluster. Of all kinds of client, the admin client serves its own
    /// events.
    host: AdminClient<ClientEvents>,
    bootstrap: String,
}

impl fmt::Debug for EmbeddedKafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedKafka")
            .field("bootstrap", &self.bootstrap)
            .finish_non_exhaustive()
    }
}

impl EmbeddedKafka {
    /// Starts a broker without topics.
    pub(crate) fn start(client_events: ClientEvents) -> KafkaResult<Self> {
        let host: AdminClient<ClientEvents> = ClientConfig::new()
            .set("client.id", "bellwether-embedded")
            .set("test.mock.num.brokers", "1")
            .create_with_context(client_events)?;
        let bootstrap = host
            .inner()
            .mock_cluster()
            .ok_or_else(|| KafkaError::Subscription("librdkafka made no mock cluster".into()))?
            .bootstrap_servers();
        let cluster = Self { host, bootstrap };
        cluster.let_groups_form_at_once();
        Ok(cluster)
    }

    /// Address of the broker, for `kafka.brokers`.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates topics; the mock knows no setting of theirs but the number of partitions.
    pub(crate) fn create(&self, plan: &[TopicPlan]) -> KafkaResult<()> {
        let Some(cluster) = self.host.inner().mock_cluster() else {
            return Ok(());
        };
        plan.iter()
            .try_for_each(|topic| cluster.create_topic(&topic.name, topic.partitions, 1))
    }

    /// Lets new groups start without the usual wait of 3 s for more members: there are none.
    #[expect(unsafe_code, reason = "rdkafka does not wrap this setting of the mock")]
    fn let_groups_form_at_once(&self) {
        // SAFETY: the client is alive, and with it its cluster; the call only stores a number.
        unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(self.host.inner().native_ptr());
            if !cluster.is_null() {
                sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
            }
        }
    }
}
