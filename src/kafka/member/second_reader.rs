//! Topics of a member that are read by a client of their own.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;

use super::client::{MemberConsumer, MemberContext};
use crate::kafka::client::ClientEvents;

/// How long a broker may take to say where a topic lies.
const INFORM_TIMEOUT: Duration = Duration::from_secs(1);

/// Topics of a member, by their places, that a client of their own reads, and how it is configured.
#[derive(Debug, Clone)]
pub struct SecondReader {
    pub(crate) topics: BTreeSet<usize>,
    pub(crate) config: ClientConfig,
}

/// The client that reads topics apart.
pub(super) struct Apart {
    pub(super) consumer: Arc<MemberConsumer>,
    pub(super) topics: BTreeSet<usize>,
    /// It knows where its topics lie.
    informed: Cell<bool>,
}

impl Apart {
    pub(super) fn new(
        apart: SecondReader,
        role: &'static str,
        client_events: ClientEvents,
    ) -> KafkaResult<Self> {
        let context = MemberContext::new(role, client_events);
        // It hears of no rebalance but the end.
        context.close();
        Ok(Self {
            consumer: Arc::new(apart.config.create_with_context(context)?),
            topics: apart.topics,
            informed: Cell::default(),
        })
    }

    /// Asks where the topics lie. A member learns it when it joins; this client would look only within a second, and what is
    /// due meanwhile would be late. An error is not worth more than that second.
    pub(super) fn inform(&self, names: &[Arc<str>]) {
        for topic in self.topics.iter().filter(|_| !self.informed.get()) {
            if let Err(error) = self.consumer.fetch_metadata(Some(&names[*topic]), INFORM_TIMEOUT) {
                tracing::debug!(topic = %names[*topic], error = %error, "asking where a topic lies");
                return;
            }
        }
        self.informed.set(true);
    }
}
