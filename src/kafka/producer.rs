//! The producer: idempotent, acknowledged by all in-sync replicas, without a limit to how long it
//! tries.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::util::Timeout;
use tokio::sync::OnceCell;
use tokio::sync::oneshot::Receiver;

use super::backlog::Backlog;
use super::client::ClientEvents;
use super::error_words::in_words;
use super::settings;
use crate::clock;
use crate::config::KafkaConfig;
use native::NativeProducer;
use outgoing::Outgoing;
use receipt::{PublishAnswer, PublishError, Receipt};

mod native;
/// Receipts of records that were handed over, and the brokers' answers to them.
pub(crate) mod receipt;
/// Records to publish.
pub(crate) mod outgoing;

/// Handle of the producer. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    producer: Arc<NativeProducer>,
    /// Created when it is first needed, which is hardly ever.
    unbatched: Arc<Unbatched>,
    prefix: Arc<str>,
    client_events: ClientEvents,
    backlog: Backlog,
}

/// A second producer, which sends each record in a batch of its own.
struct Unbatched {
    config: ClientConfig,
    producer: OnceCell<Arc<NativeProducer>>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

/// Pause before a record is offered to a full queue again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(2);
/// Pause before a record that a broker refused is published again.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

impl Publisher {
    /// Creates a producer with connections and a thread of its own.
    pub fn new(config: &KafkaConfig, client_events: ClientEvents) -> rdkafka::error::KafkaResult<Self> {
        let mut settings = settings::producer(config);
        let producer = NativeProducer::new(&settings, client_events.clone())?;
        settings.set("batch.num.messages", "1");
        Ok(Self {
            producer: Arc::new(producer),
            unbatched: Arc::new(Unbatched {
                config: settings,
                producer: OnceCell::new(),
            }),
            prefix: config.topic_prefix.as_str().into(),
            client_events,
            backlog: Backlog::default(),
        })
    }

    /// Hands a record over. `done` is called once, from the producer's thread, when the brokers
    /// have answered. Returns `false`, without calling `done`, if the queue is full.
    pub(crate) fn try_publish(
        &self,
        record: Outgoing<'_>,
        done: impl FnOnce(PublishAnswer) + Send + Sync + 'static,
    ) -> bool {
        self.offer(&record, self.receipt(&record, done)).is_ok()
    }

    /// Hands a record over as [`try_publish`](Self::try_publish) does, and waits on the calling
    /// thread while the queue is full.
    pub(crate) fn publish_when_room(
        &self,
        record: Outgoing<'_>,
        done: impl FnOnce(PublishAnswer) + Send + Sync + 'static,
    ) {
        let mut receipt = self.receipt(&record, done);
        while let Err(back) = self.offer(&record, receipt) {
            receipt = back;
            std::thread::sleep(FULL_QUEUE_PAUSE);
        }
    }

    fn receipt(
        &self,
        record: &Outgoing<'_>,
        done: impl FnOnce(PublishAnswer) + Send + Sync + 'static,
    ) -> Box<Receipt> {
        let label = self.label(record.topic);
        Box::new(Receipt {
            label,
            unanswered: self.client_events.unanswered().begin(label, clock::monotonic()),
            bytes: i64::try_from(record.bytes()).unwrap_or(i64::MAX),
            done: Box::new(done),
        })
    }

    /// Hands a record to the client, which gives the receipt back if its queue is full.
    fn offer(&self, record: &Outgoing<'_>, receipt: Box<Receipt>) -> Result<(), Box<Receipt>> {
        let bytes = receipt.bytes;
        let mut headers = OwnedHeaders::new_with_capacity(record.passed_on.len() + record.headers.len());
        for (key, value) in record.passed_on {
            headers = headers.insert(Header {
                key,
                value: value.as_deref(),
            });
        }
        for (key, value) in record.headers {
            headers = headers.insert(Header {
                key,
                value: Some(value.as_str()),
            });
        }
        let mut out =
            BaseRecord::<[u8], [u8], Box<Receipt>>::with_opaque_to(record.topic, receipt).headers(headers);
        out.partition = record.partition;
        out.key = record.key;
        out.payload = record.value;
        let queued = &self.client_events.metrics().produce_queue_bytes;
        queued.add(bytes);
        match self.producer.send(out) {
            Ok(()) => Ok(()),
            Err((code, receipt)) => {
                queued.sub(bytes);
                if code == RDKafkaErrorCode::QueueFull {
                    return Err(receipt);
                }
                self.client_events
                    .metrics()
                    .produce_errors
                    .with_label_values(&[receipt.label])
                    .inc();
                self.client_events.note(Some(code));
                (receipt.done)(Err(PublishError {
                    topic: record.topic.to_owned(),
                    code,
                }));
                Ok(())
            }
        }
    }

    /// Hands a record over as soon as the queue has room. Records keep the order of the calls that
    /// return. The answer to the receiver is the brokers'.
    pub(crate) async fn hand_over(&self, record: Outgoing<'_>) -> Receiver<PublishAnswer> {
        loop {
            let (done, answer) = tokio::sync::oneshot::channel();
            if self.try_publish(record, move |result| drop(done.send(result))) {
                return answer;
            }
            tokio::time::sleep(FULL_QUEUE_PAUSE).await;
        }
    }

    /// Publishes a record and waits for its acknowledgement, however long that takes, because the
    /// caller relies on it. Refusals (no such topic, no permission) are logged and tried again.
    /// Returns the record's offset.
    pub(crate) async fn publish(&self, record: Outgoing<'_>) -> i64 {
        loop {
            match self.publish_if_it_fits(record).await {
                Ok(offset) => return offset,
                Err(error) => error.log(&self.client_events),
            }
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
    }

    /// Publishes a record as [`publish`](Self::publish) does. An error means that it is too large
    /// for the client or its topic.
    ///
    /// A broker measures whole batches, and refuses a small record because of its neighbours. So a
    /// record is too large only if it is so in a batch of its own.
    pub(crate) async fn publish_if_it_fits(&self, record: Outgoing<'_>) -> PublishAnswer {
        let mut unbatched = None;
        loop {
            let publisher = unbatched.as_ref().unwrap_or(self);
            match publisher.hand_over(record).await.await {
                Ok(Ok(offset)) => return Ok(offset),
                Ok(Err(error)) if error.is_too_large() => {
                    if unbatched.is_some() {
                        return Err(error);
                    }
                    unbatched = Some(self.unbatched().await);
                }
                Ok(Err(error)) => {
                    error.log(&self.client_events);
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
                // The producer goes away only when the process ends.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// The publisher that sends each record in a batch of its own.
    async fn unbatched(&self) -> Self {
        loop {
            let Unbatched { config, producer } = &*self.unbatched;
            let create = async || NativeProducer::new(config, self.client_events.clone()).map(Arc::new);
            match producer.get_or_try_init(create).await {
                Ok(producer) => {
                    return Self {
                        producer: Arc::clone(producer),
                        ..self.clone()
                    };
                }
                Err(error) => {
                    if let Some(suppressed) = self.client_events.admit(error.rdkafka_error_code()) {
                        let error = in_words(&error);
                        tracing::error!(error, suppressed, "a producer cannot be created; trying again");
                    }
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
            }
        }
    }

    /// Waits until everything handed over is acknowledged, for `timeout` at most; `false` if it was
    /// not.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        self.producer.get().flush(Timeout::After(timeout)).is_ok()
    }

    /// Records of detector threads that are not acknowledged, including refused ones that wait for
    /// another try.
    pub(crate) fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// Sleeps for `pause` if the brokers acknowledge more slowly than is published, and says if it
    /// did. A thread reads nothing meanwhile, so that it hardly ever waits for room in the queue
    /// and can serve its group.
    pub(crate) fn pause_if_crowded(&self, pause: Duration) -> bool {
        let is_crowded = self.backlog.is_crowded();
        if is_crowded {
            std::thread::sleep(pause);
        }
        is_crowded
    }

    /// Receiver of the client's errors.
    pub(crate) fn client_events(&self) -> &ClientEvents {
        &self.client_events
    }

    /// Number of records handed over and not yet acknowledged.
    #[cfg(test)]
    pub(crate) fn unacknowledged(&self) -> i32 {
        self.producer.get().in_flight_count()
    }

    /// Name of a topic in metrics: one of [`PRODUCED`], or `source`.
    fn label(&self, topic: &str) -> &'static str {
        own_name(&self.prefix, topic).unwrap_or("source")
    }
}

/// Name of one of Bellwether's own topics without its prefix, of which `retry` is all tiers; `None`
/// for other topics.
pub(crate) fn own_name(prefix: &str, topic: &str) -> Option<&'static str> {
    let name = topic.strip_prefix(prefix)?.strip_prefix('.')?;
    let name = if name.starts_with("retry.") { "retry" } else { name };
    PRODUCED.into_iter().find(|known| *known == name)
}

/// Names of Bellwether's topics in the producer's metrics.
pub(crate) const PRODUCED: [&str; 6] = [
    "events",
    "deliveries",
    "detector-state",
    "rejected",
    "dead-letter",
    "retry",
];
