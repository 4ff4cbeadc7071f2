//! Questions to the cluster about its topics. A question that fails names the broker and the cause.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};

use super::brokers::Keeping;
use super::client::ClientEvents;
use super::error_words::in_words;
use super::rights::{MissingRight, NeededRights};
use super::settings;
use crate::clock;
use crate::config::KafkaConfig;
use crate::telemetry::connection::{ConnectionCause, ConnectionError, Server};

/// Rights on topics.
mod topic_rights;

/// Time between two looks at the events of the client: nobody else polls it.
const EVENTS_EVERY: Duration = Duration::from_millis(50);
/// Most events taken at a look; more than come in that time.
const EVENTS_AT_ONCE: usize = 200;
/// Time for which a host whose first address failed may be tried at the others.
const SETTLE_TIME: Duration = Duration::from_secs(1);
/// Longest pause before an impatient client connects to a broker again, in milliseconds.
const LONGEST_RECONNECT_MS: u64 = 500;
/// Port of a broker that is configured without one.
const DEFAULT_PORT: u16 = 9092;

/// Partitions and copies of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicShape {
    pub(crate) partitions: i32,
    /// Copies of the partition that has fewest.
    pub(crate) copies: i32,
}

/// The cluster's answer about one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicLookup {
    Found(TopicShape),
    Missing,
    /// This client may not describe it, so the cluster does not say if it exists.
    NotAllowed,
}

type Client = Arc<BaseConsumer<ClientEvents>>;

/// A client that asks. It belongs to no group, and as a consumer it never makes a topic by asking
/// for it.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// Ends before the client.
    _keeping: Option<Arc<Keeping>>,
    client: Client,
    client_events: ClientEvents,
    /// Configured brokers.
    brokers: Vec<(String, u16)>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("brokers", &self.brokers)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// A client that connects when it is first asked.
    pub(crate) fn new(config: &KafkaConfig, client_events: &ClientEvents) -> KafkaResult<Self> {
        Self::with(&settings::client(config), config, client_events)
    }

    /// A client for questions that are to be answered `within` a time: it gives a silent connection
    /// up before that.
    pub(crate) fn impatient(
        config: &KafkaConfig,
        client_events: &ClientEvents,
        within: Duration,
    ) -> KafkaResult<Self> {
        let mut client = settings::client(config);
        let within_ms = within.as_millis().max(1_000).to_string();
        client
            .set("socket.timeout.ms", &within_ms)
            .set("socket.connection.setup.timeout.ms", &within_ms);
        settings::connect_again_within(&mut client, LONGEST_RECONNECT_MS);
        Self::with(&client, config, client_events)
    }

    fn with(client: &ClientConfig, config: &KafkaConfig, client_events: &ClientEvents) -> KafkaResult<Self> {
        let client_events = client_events.apart().with_principal(config);
        Ok(Self {
            _keeping: None,
            client: Arc::new(client.create_with_context(client_events.clone())?),
            client_events,
            brokers: addresses(&config.brokers),
        })
    }

    /// Looks after this client, which asks for `topic`, for as long as it lives.
    pub(crate) fn kept(self, topic: &str) -> Self {
        let kept = self.client_events.kept();
        let keeping = Arc::new(kept.keep_consumer(&self.client, topic));
        Self {
            _keeping: Some(keeping),
            ..self
        }
    }

    /// Asks for all topics that this client may describe.
    pub(crate) async fn topics(
        &self,
        within: Duration,
    ) -> Result<BTreeMap<String, TopicShape>, ConnectionError> {
        let read = |metadata: &Metadata| {
            let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
            topics
                .map(|topic| (topic.name().to_owned(), shape(topic)))
                .collect()
        };
        self.ask_metadata(None, within, read).await
    }

    /// Asks for one topic.
    pub(crate) async fn topic(&self, name: &str, within: Duration) -> Result<TopicLookup, ConnectionError> {
        self.ask_metadata(Some(name.to_owned()), within, |metadata| {
            let Some(topic) = metadata.topics().first() else {
                return TopicLookup::Missing;
            };
            match topic.error().map(RDKafkaErrorCode::from) {
                Some(RDKafkaErrorCode::TopicAuthorizationFailed) => TopicLookup::NotAllowed,
                Some(RDKafkaErrorCode::UnknownTopicOrPartition) => TopicLookup::Missing,
                _ => TopicLookup::Found(shape(topic)),
            }
        })
        .await
    }

    /// The rights that this client needs and lacks. Topics that are missing, and brokers that
    /// list no rights, give none.
    pub(crate) async fn missing_rights(
        &self,
        needed: &[NeededRights],
        within: Duration,
    ) -> Result<Vec<MissingRight>, ConnectionError> {
        if needed.is_empty() {
            return Ok(Vec::new());
        }
        let topics: Vec<String> = needed.iter().map(|one| one.topic.clone()).collect();
        let answer = self.ask(move |client| {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            topic_rights::ask(client, &topics, within)
        });
        let missing = needed.iter().zip(answer.await?).filter_map(|(needed, rights)| {
            let lacking = rights.lacking(&needed.operations);
            let is_lacking = !lacking.is_empty();
            is_lacking.then(|| self.client_events.missing_rights(lacking, "topic", &needed.topic))
        });
        Ok(missing.collect())
    }

    async fn ask_metadata<T: Send + 'static>(
        &self,
        topic: Option<String>,
        within: Duration,
        read: impl FnOnce(&Metadata) -> T + Send + 'static,
    ) -> Result<T, ConnectionError> {
        let fetch = move |client: &Client| {
            let metadata = client.fetch_metadata(topic.as_deref(), within)?;
            Ok(read(&metadata))
        };
        self.ask(fetch).await
    }

    /// Returns an error as soon as it is certain that nobody answers: authentication has failed, or
    /// every configured broker has for a second.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, ConnectionError> {
        let client = Arc::clone(&self.client);
        let mut asked = pin!(tokio::task::spawn_blocking(move || question(&client)));
        let begun = clock::monotonic();
        let mut looks = tokio::time::interval(EVENTS_EVERY);
        loop {
            tokio::select! {
                answer = &mut asked => {
                    self.serve_events();
                    let answer = answer.unwrap_or_else(|_| Err(KafkaError::Canceled));
                    return answer
                        .inspect(|_| self.client_events.answered())
                        .map_err(|error: KafkaError| self.unanswered(&error));
                }
                _ = looks.tick() => {
                    self.serve_events();
                    if let Some(error) = self.certain_failure(clock::monotonic() - begun) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Hands the client's log lines and errors to [`ClientEvents`].
    fn serve_events(&self) {
        for _ in 0..EVENTS_AT_ONCE {
            drop(self.client.poll(Duration::ZERO));
        }
    }

    fn certain_failure(&self, asked_for: Duration) -> Option<ConnectionError> {
        let failure = self.client_events.failure()?;
        let all_failed = self.client_events.failed_brokers() >= self.brokers.len();
        (failure.is_final() || all_failed && asked_for >= SETTLE_TIME).then_some(failure)
    }

    fn unanswered(&self, error: &KafkaError) -> ConnectionError {
        self.client_events.failure().unwrap_or_else(|| {
            let (host, port) = self.brokers.first().cloned().unwrap_or_default();
            let cause = match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::BrokerTransportFailure) => {
                    ConnectionCause::NoAnswer
                }
                _ => ConnectionCause::Other(in_words(error)),
            };
            ConnectionError {
                server: Server::Kafka,
                host,
                port,
                cause,
            }
        })
    }
}

fn shape(topic: &MetadataTopic) -> TopicShape {
    let count = |len: usize| i32::try_from(len).unwrap_or(i32::MAX);
    let copies = topic.partitions().iter().map(|one| count(one.replicas().len()));
    TopicShape {
        partitions: count(topic.partitions().len()),
        copies: copies.min().unwrap_or(0),
    }
}

/// Hosts and ports of `kafka.brokers`, each with its protocol if it has one: `ssl://a:9093,b`.
fn addresses(brokers: &str) -> Vec<(String, u16)> {
    brokers
        .split(',')
        .map(|broker| {
            let broker = broker.trim();
            let broker = broker.split_once("://").map_or(broker, |(_, rest)| rest);
            let parsed = broker
                .rsplit_once(':')
                .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
            parsed.unwrap_or_else(|| (broker.to_owned(), DEFAULT_PORT))
        })
        .collect()
}

#[cfg(test)]
mod tests;
