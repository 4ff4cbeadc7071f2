//! Publishing of replayed events, with an end: brokers that are away do not hold the command for
//! ever.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use tokio::runtime::Handle;

use crate::clock;
use crate::config::Config;
use crate::kafka::client::ClientEvents;
use crate::kafka::producer::Publisher;
use crate::kafka::producer::outgoing::Outgoing;
use crate::kafka::topics::Topics;

/// Longest time without any acknowledgement, while events wait for theirs.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Time until a full queue is looked at again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// Publishes events to one topic.
pub(super) struct EventPublisher {
    publisher: Publisher,
    topic: String,
    brokers: String,
    published: u64,
    answers: Arc<Answers>,
    /// Answers when their number was last seen to grow, and the time then.
    progress: (u64, Instant),
}

/// The brokers' answers so far.
#[derive(Debug, Default)]
pub(super) struct Answers {
    count: AtomicU64,
    refused: AtomicU64,
    first_refusal: OnceLock<String>,
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
        let topics = Topics::new(config, client_events.clone())?;
        let existing = Handle::current().block_on(topics.existing())?;
        ensure!(
            existing.contains_key(topic),
            "there is no topic {topic} on {brokers}; `bellwether topics create` makes the sources of the configuration"
        );
        Ok(Self {
            publisher: Publisher::new(&config.kafka, client_events)?,
            topic: topic.to_owned(),
            brokers: brokers.clone(),
            published: 0,
            answers,
            progress: (0, clock::monotonic()),
        })
    }

    /// Events handed over so far.
    pub(super) fn published(&self) -> u64 {
        self.published
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Hands an event over. Waits while the queue is full, until the brokers are silent for too
    /// long.
    pub(super) fn publish(&mut self, key: &str, value: &[u8]) -> anyhow::Result<()> {
        let answered = self.answers.count.load(Ordering::Acquire);
        if answered == self.published {
            // Nothing waits for an answer: the brokers' silence begins with this event.
            self.progress = (answered, clock::monotonic());
        }
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
            let done = move |result: Result<(), _>| answers.note(result);
            if self.publisher.try_publish(record, done) {
                self.published += 1;
                return Ok(());
            }
            self.check_progress()?;
            std::thread::sleep(FULL_QUEUE_PAUSE);
        }
    }

    /// Waits until every event is acknowledged, and says each second how many are not.
    pub(super) fn finish(&mut self, mut say: impl FnMut(i32)) -> anyhow::Result<()> {
        while !self.publisher.flush(Duration::from_secs(1)) {
            self.check_progress()?;
            say(self.publisher.unacknowledged());
        }
        let refused = self.answers.refused.load(Ordering::Acquire);
        if refused > 0 {
            let why = self.answers.first_refusal.get().map_or("", String::as_str);
            bail!(
                "{refused} of {} events were refused, the first because: {why}",
                self.published
            );
        }
        Ok(())
    }

    fn check_progress(&mut self) -> anyhow::Result<()> {
        let (answered, now) = (self.answers.count.load(Ordering::Acquire), clock::monotonic());
        let (before, since) = self.progress;
        if answered > before {
            self.progress = (answered, now);
            return Ok(());
        }
        ensure!(
            now.duration_since(since) < STALL_TIMEOUT,
            "the brokers have acknowledged nothing for {} s (kafka.brokers = \"{}\"); {answered} of {} events were \
             acknowledged before",
            STALL_TIMEOUT.as_secs(),
            self.brokers,
            self.published
        );
        Ok(())
    }
}

impl Answers {
    /// Events that the brokers have acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.count.load(Ordering::Acquire) - self.refused.load(Ordering::Acquire)
    }

    fn note(&self, result: Result<(), impl std::fmt::Display>) {
        if let Err(error) = result {
            self.refused.fetch_add(1, Ordering::AcqRel);
            drop(self.first_refusal.set(error.to_string()));
        }
        self.count.fetch_add(1, Ordering::AcqRel);
    }
}
