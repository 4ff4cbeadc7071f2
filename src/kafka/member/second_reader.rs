//! A second client that reads some of a member's topics.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;

use super::client::{MemberConsumer, MemberContext};
use crate::kafka::brokers::Keeping;
use crate::kafka::client::ClientEvents;

/// Longest time a broker may take to answer which brokers lead a topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// Topics that a second client reads, by their indexes, and the configuration of that client.
#[derive(Debug, Clone)]
pub struct SecondReaderSettings {
    pub(crate) topics: BTreeSet<usize>,
    pub(crate) config: ClientConfig,
}

/// The second client. It belongs to no group.
pub(super) struct SecondReader {
    /// Ends before the client.
    _keeping: Keeping,
    pub(super) consumer: Arc<MemberConsumer>,
    pub(super) topics: BTreeSet<usize>,
    /// Set once the client knows the leaders of its topics.
    knows_topics: Cell<bool>,
}

impl SecondReader {
    pub(super) fn new(
        settings: SecondReaderSettings,
        group: &'static str,
        names: &[String],
        client_events: ClientEvents,
    ) -> KafkaResult<Self> {
        let kept = client_events.kept().clone();
        let context = MemberContext::new(group, &settings.config, client_events);
        // The only rebalance event that it receives is the last one, when it closes.
        context.close();
        let consumer = Arc::new(settings.config.create_with_context(context)?);
        let topic = settings.topics.first().map_or("", |topic| names[*topic].as_str());
        Ok(Self {
            _keeping: kept.keep_consumer(&consumer, topic),
            consumer,
            topics: settings.topics,
            knows_topics: Cell::default(),
        })
    }

    /// Asks which brokers lead the topics. A member learns it when it joins; this client would ask
    /// only within a second, and records that are due meanwhile would be late. An error is not
    /// worth more than that second.
    pub(super) fn look_up_topics(&self, names: &[Arc<str>]) {
        for topic in self.topics.iter().filter(|_| !self.knows_topics.get()) {
            let name = &names[*topic];
            if let Err(error) = self.consumer.fetch_metadata(Some(name), METADATA_TIMEOUT) {
                tracing::debug!(topic = %name, error = %error, "asking which brokers lead a topic failed");
                return;
            }
        }
        self.knows_topics.set(true);
    }
}
