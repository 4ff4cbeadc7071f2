//! What librdkafka says outside of records: its log lines and errors.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::clock;
use crate::telemetry::Metrics;
use crate::telemetry::throttle::Throttle;

/// Shared by all clients of a process.
#[derive(Debug, Clone)]
pub struct ClientEvents {
    metrics: Arc<Metrics>,
    fatal: Arc<AtomicBool>,
    throttles: Arc<Mutex<HashMap<&'static str, Throttle>>>,
}

impl ClientEvents {
    /// Counts errors in `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            fatal: Arc::default(),
            throttles: Arc::default(),
        }
    }

    /// Whether a client of this process can no longer work. The process must end.
    pub(crate) fn has_fatal(&self) -> bool {
        self.fatal.load(Ordering::Relaxed)
    }

    /// The process's metrics.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether an error is to be logged: of one kind one a second, however many clients and brokers say so. With it comes
    /// how many were left out before.
    pub(crate) fn admit(&self, code: Option<RDKafkaErrorCode>) -> Option<u64> {
        let mut throttles = self.throttles.lock().unwrap_or_else(PoisonError::into_inner);
        throttles
            .entry(kind_of(code))
            .or_default()
            .admit(clock::monotonic())
    }

    /// Counts an error, and remembers a fatal one.
    pub(crate) fn note(&self, code: Option<RDKafkaErrorCode>) {
        let kind = kind_of(code);
        self.metrics.kafka_errors.with_label_values(&[kind]).inc();
        if kind == "fatal" {
            self.fatal.store(true, Ordering::Relaxed);
        }
    }
}

impl ClientContext for ClientEvents {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                // Errors come through `error` too, with a code; these lines add the broker's words.
                tracing::warn!(target: "librdkafka", facility = fac, "{log_message}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", facility = fac, "{log_message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // The end of a partition is news for its reader, who hears of it by its queue.
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        self.note(code);
        if kind_of(code) == "fatal" {
            tracing::error!(target: "librdkafka", error = %error, "a Kafka client failed for good: {reason}");
        } else if let Some(suppressed) = self.admit(code) {
            tracing::warn!(target: "librdkafka", error = %error, suppressed, "{reason}");
        }
    }
}

/// The closed set of error kinds that `kafka_errors_total` counts by.
fn kind_of(code: Option<RDKafkaErrorCode>) -> &'static str {
    use RDKafkaErrorCode as Code;
    match code {
        Some(
            Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::NetworkException,
        ) => "transport",
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SSL,
        ) => "auth",
        Some(
            Code::OperationTimedOut | Code::MessageTimedOut | Code::RequestTimedOut | Code::TimedOutQueue,
        ) => "timeout",
        Some(
            Code::WaitingForCoordinator
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator,
        ) => "coordinator",
        Some(Code::Fatal | Code::Fenced) => "fatal",
        _ => "other",
    }
}
