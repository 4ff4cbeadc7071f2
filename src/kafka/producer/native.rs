//! librdkafka's producer, with connections and a thread of its own.

use std::sync::{Arc, OnceLock};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use super::receipt::{PublishError, Receipt};
use crate::clock;
use crate::kafka::brokers::{self, Keeping, KeptClient};
use crate::kafka::client::ClientEvents;

/// Record as it is handed over.
pub(super) type NativeRecord<'a> = BaseRecord<'a, [u8], [u8], Box<Receipt>>;

/// The producer. It is looked after for as long as it lives.
pub(super) struct NativeProducer {
    /// Ends before the producer.
    _keeping: Keeping,
    client: Arc<ThreadedProducer<ProducerEvents>>,
}

impl NativeProducer {
    pub(super) fn new(config: &ClientConfig, client_events: ClientEvents) -> KafkaResult<Self> {
        let kept = client_events.kept().clone();
        let context = ProducerEvents {
            client_events,
            topic: OnceLock::new(),
        };
        let client = Arc::new(config.create_with_context(context)?);
        Ok(Self {
            _keeping: kept.keep(Box::new(KeptProducer(Arc::clone(&client)))),
            client,
        })
    }

    /// Hands a record over, or gives its receipt back.
    pub(super) fn send(&self, record: NativeRecord<'_>) -> Result<(), (RDKafkaErrorCode, Box<Receipt>)> {
        let first = &self.client.client().context().topic;
        if first.get().is_none() {
            first.get_or_init(|| record.topic.into());
        }
        self.client.send(record).map_err(|(error, back)| {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            (code, back.delivery_opaque)
        })
    }

    pub(super) fn get(&self) -> &ThreadedProducer<ProducerEvents> {
        &self.client
    }
}

pub(super) struct ProducerEvents {
    client_events: ClientEvents,
    /// The first topic that it published to.
    topic: OnceLock<Box<str>>,
}

/// Producer among the clients that are looked after.
struct KeptProducer(Arc<ThreadedProducer<ProducerEvents>>);

impl KeptClient for KeptProducer {
    fn has_broker(&self) -> bool {
        // Nothing that was never published waits.
        let topic = self.0.client().context().topic.get();
        topic.is_none_or(|topic| brokers::has_broker(self.0.client(), topic))
    }

    fn add_brokers(&self, brokers: &str) {
        brokers::add_brokers(self.0.client(), brokers);
    }
}

impl ClientContext for ProducerEvents {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        self.client_events.log(level, fac, log_message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client_events.error(error, reason);
    }
}

impl ProducerContext for ProducerEvents {
    type DeliveryOpaque = Box<Receipt>;

    fn delivery(&self, result: &DeliveryResult<'_>, receipt: Box<Receipt>) {
        let metrics = self.client_events.metrics();
        metrics.produce_queue_bytes.sub(receipt.bytes);
        let took = receipt.unanswered.answer(clock::monotonic());
        let outcome = match result {
            Ok(message) => {
                let produce = metrics.produce.with_label_values(&[receipt.label]);
                produce.observe(took.as_secs_f64());
                Ok(rdkafka::Message::offset(message))
            }
            Err((error, message)) => {
                metrics.produce_errors.with_label_values(&[receipt.label]).inc();
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                Err(PublishError {
                    topic: rdkafka::Message::topic(message).to_owned(),
                    code,
                })
            }
        };
        (receipt.done)(outcome);
    }
}
