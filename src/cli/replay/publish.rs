//! Publishing of replayed events, with an end: brokers that are away do not hold the command for
//! ever.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use tokio::runtime::Handle;

use super::answers::Answers;
use crate::app;
use crate::config::Config;
use crate::kafka::client::ClientEvents;
use crate::kafka::producer::Publisher;
use crate::kafka::producer::outgoing::Outgoing;
use crate::kafka::producer::receipt::PublishAnswer;
use crate::kafka::rights::NeededRights;
use crate::kafka::topics::Topics;

/// Time until a full queue is looked at again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// Publishes events to one topic.
pub(super) struct EventPublisher {
    publisher: Publisher,
    client_events: ClientEvents,
    topic: String,
    answers: Arc<Answers>,
}

impl EventPublisher {
    /// Connects to the brokers and sees that the topic is there. Blocks, for a bounded time.
    pub(super) fn connect(
        config: &Config,
        topic: &str,
        client_events: ClientEvents,
        answers: Arc<Answers>,
    ) -> anyhow::Result<Self> {
        let brokers = &config.kafka.brokers;
        let needed = [NeededRights::to_write(topic)];
        Handle::current().block_on(app::reach_kafka(config, &needed))?;
        let topics = Topics::new(config, client_events.clone())?;
        let existing = Handle::current().block_on(topics.existing())?;
        ensure!(
            existing.contains_key(topic),
            "there is no topic {topic} on {brokers}; `bellwether topics create` makes the sources of the configuration"
        );
        Ok(Self {
            publisher: Publisher::new(&config.kafka, client_events.clone())?,
            client_events,
            topic: topic.to_owned(),
            answers,
        })
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Hands an event over. Waits while the queue is full, until the brokers are silent for too
    /// long.
    pub(super) fn publish(&self, key: &str, value: &[u8]) -> anyhow::Result<()> {
        loop {
            let record = Outgoing {
                topic: &self.topic,
                partition: None,
                key: Some(key.as_bytes()),
                value: Some(value),
                headers: &[],
                passed_on: &[],
            };
            let answers = Arc::clone(&self.answers);
            let client_events = self.client_events.clone();
            let done = move |result: PublishAnswer| {
                answers.add(result.map(drop).map_err(|error| error.in_words(&client_events)));
            };
            // Counted before: the answer may come first.
            self.answers.hand_over();
            if self.publisher.try_publish(record, done) {
                return Ok(());
            }
            self.answers.take_back();
            self.answers.check_stalled()?;
            std::thread::sleep(FULL_QUEUE_PAUSE);
        }
    }

    /// Waits until every event is acknowledged, and says each second how many are not.
    pub(super) fn finish(&self, mut say: impl FnMut(u64)) -> anyhow::Result<()> {
        while !self.publisher.flush(Duration::from_secs(1)) {
            self.answers.check_stalled()?;
            say(self.answers.waiting());
        }
        if let Some((refused, why)) = self.answers.refusals() {
            bail!(
                "{refused} of {} events were refused, the first because: {why}",
                refused + self.answers.acknowledged()
            );
        }
        Ok(())
    }
}
