//! The events of librdkafka's clients outside of records: log lines and errors.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::brokers::KeptClients;
use super::diagnosis::diagnose;
use super::error_words::{code_in_words, in_words, without_jargon};
use super::rights::{AclOperation, MissingRight, principal};
use super::unanswered::UnansweredRecords;
use crate::clock;
use crate::config::KafkaConfig;
use crate::telemetry::Metrics;
use crate::telemetry::connection::{ConnectionCause, ConnectionError};
use crate::telemetry::throttle::Throttle;
use crate::telemetry::words::KafkaErrorKind;

/// Most causes that are kept; a cluster has far fewer.
const MAX_CAUSES: usize = 1_000;

/// Beginning of librdkafka's words about a topic of a group's that cannot be read, before its name.
const NOT_AVAILABLE: &str = "Subscribed topic not available: ";
/// Facility of the lines that tell of a producer waiting for the id by which brokers know its
/// records apart.
const PRODUCER_ID: &str = "GETPID";
/// Time for which a cluster may take to hand such an id out, before that is worth a warning.
const PRODUCER_ID_LATE: Duration = Duration::from_secs(15);
/// Time between two such lines after which the later one tells of another wait.
const PRODUCER_ID_GAP: Duration = Duration::from_secs(10);

/// Receives the events of all clients of a process: counts errors, remembers failed connections and
/// writes at most one log line a second for a cause.
#[derive(Debug, Clone)]
pub struct ClientEvents {
    metrics: Arc<Metrics>,
    fatal: Arc<AtomicBool>,
    throttles: Arc<Mutex<HashMap<LogCause, Throttle>>>,
    /// Latest failure by host and port, since a broker last answered.
    failures: Arc<Mutex<BTreeMap<(String, u16), ConnectionError>>>,
    /// True once a broker has answered: the way to speak to them is right.
    has_answered: Arc<AtomicBool>,
    /// First and last line about a producer that waits for its id.
    producer_id: Arc<Mutex<Option<(Instant, Instant)>>>,
    unanswered: UnansweredRecords,
    kept: KeptClients,
    is_apart: bool,
    /// Name of these clients in messages about rights.
    principal: Arc<str>,
}

/// Causes that share a throttle.
#[derive(Debug, PartialEq, Eq, Hash)]
enum LogCause {
    Kind(KafkaErrorKind),
    Connection(ConnectionError),
    /// Facility of librdkafka that wrote the line.
    Facility(String),
}

impl ClientEvents {
    /// Counts errors in `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            fatal: Arc::default(),
            throttles: Arc::default(),
            failures: Arc::default(),
            has_answered: Arc::default(),
            producer_id: Arc::default(),
            unanswered: UnansweredRecords::default(),
            kept: KeptClients::default(),
            is_apart: false,
            principal: "this client".into(),
        }
    }

    /// The same for clients that this configuration makes: missing rights are reported with their
    /// principal.
    pub(crate) fn with_principal(self, config: &KafkaConfig) -> Self {
        Self {
            principal: principal(config).into(),
            ..self
        }
    }

    /// The records that these clients have published and no broker has answered.
    pub(crate) fn unanswered(&self) -> &UnansweredRecords {
        &self.unanswered
    }

    /// The process's clients that are looked after.
    pub(crate) fn kept(&self) -> &KeptClients {
        &self.kept
    }

    /// The reason why a topic is not read: the error, or the right whose absence it is.
    pub(crate) fn why_not_read(&self, topic: &str, code: RDKafkaErrorCode) -> String {
        match code {
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                self.missing_right(AclOperation::Read, "topic", topic).to_string()
            }
            _ => code_in_words(code),
        }
    }

    fn warn_of_refused(&self, topic: &str, code: Option<RDKafkaErrorCode>) {
        if let Some(suppressed) = self.admit(code) {
            let right = self.missing_right(AclOperation::Read, "topic", topic);
            tracing::warn!(suppressed, "{right}");
        }
    }

    /// A right that these clients lack.
    pub(crate) fn missing_right(
        &self,
        operation: AclOperation,
        resource: &'static str,
        name: &str,
    ) -> MissingRight {
        self.missing_rights(vec![operation], resource, name)
    }

    /// Rights on one resource that these clients lack.
    pub(crate) fn missing_rights(
        &self,
        operations: Vec<AclOperation>,
        resource: &'static str,
        name: &str,
    ) -> MissingRight {
        MissingRight {
            operations,
            resource,
            name: name.to_owned(),
            principal: self.principal.to_string(),
        }
    }

    /// The same for a client that reports its own failed connections: they are kept apart from
    /// those of the others, and not logged.
    pub(crate) fn apart(&self) -> Self {
        Self {
            failures: Arc::default(),
            is_apart: true,
            ..self.clone()
        }
    }

    /// True if a client of this process can no longer work. The process must end.
    pub(crate) fn has_fatal(&self) -> bool {
        self.fatal.load(Ordering::Relaxed)
    }

    /// The process's metrics.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Tells if an error is to be logged: one a second of a kind, however many clients and brokers
    /// report it, and none of failed connections, which have log lines of their own. Returns the
    /// number of those left out before.
    pub(crate) fn admit(&self, code: Option<RDKafkaErrorCode>) -> Option<u64> {
        if is_connection(code) {
            return None;
        }
        self.admit_cause(LogCause::Kind(kind_of(code)), clock::monotonic())
    }

    /// Counts an error, and remembers a fatal one.
    pub(crate) fn note(&self, code: Option<RDKafkaErrorCode>) {
        let kind = kind_of(code);
        self.metrics
            .kafka_errors
            .with_label_values(&[kind.as_str()])
            .inc();
        if kind == KafkaErrorKind::Fatal {
            self.fatal.store(true, Ordering::Relaxed);
        }
    }

    /// The failed connection to report, since a broker last answered: one that no other try mends
    /// comes first.
    pub(crate) fn failure(&self) -> Option<ConnectionError> {
        let failures = lock(&self.failures);
        let worst = failures.values().find(|error| error.is_final());
        worst.or_else(|| failures.values().next()).cloned()
    }

    /// Number of brokers that could not be used since one last answered.
    pub(crate) fn failed_brokers(&self) -> usize {
        lock(&self.failures).len()
    }

    /// Forgets failed connections: a broker has answered.
    pub(crate) fn answered(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
        lock(&self.failures).clear();
    }

    fn connection_failed(&self, level: RDKafkaLogLevel, mut error: ConnectionError) {
        // A broker that stops closes connections as one does that was spoken to in a wrong way.
        if self.has_answered.load(Ordering::Relaxed) && error.cause.is_guess_about_protocol() {
            error.cause = ConnectionCause::Closed;
        }
        let mut failures = lock(&self.failures);
        if failures.len() < MAX_CAUSES {
            failures.insert((error.host.clone(), error.port), error.clone());
        }
        drop(failures);
        // Brokers close idle connections, and all of them when they stop; nothing was lost by it.
        let is_usual = error.cause == ConnectionCause::Closed && !is_warning(level);
        if is_usual || self.is_apart {
            tracing::debug!(target: "librdkafka", "{error}");
        } else if let Some(suppressed) =
            self.admit_cause(LogCause::Connection(error.clone()), clock::monotonic())
        {
            tracing::warn!(target: "librdkafka", suppressed, "{error}");
        }
    }

    /// True if a producer has waited for its id for long. Each line about it is noted.
    fn producer_id_is_late(&self, now: Instant) -> bool {
        let mut noted = lock(&self.producer_id);
        let first = match *noted {
            Some((first, last)) if now.saturating_duration_since(last) < PRODUCER_ID_GAP => first,
            _ => now,
        };
        *noted = Some((first, now));
        now.saturating_duration_since(first) >= PRODUCER_ID_LATE
    }

    fn admit_cause(&self, cause: LogCause, now: Instant) -> Option<u64> {
        let mut throttles = lock(&self.throttles);
        if throttles.len() >= MAX_CAUSES {
            throttles.clear();
        }
        throttles.entry(cause).or_default().admit(now)
    }
}

impl ClientContext for ClientEvents {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        if let Some(error) = diagnose(log_message) {
            self.connection_failed(level, error);
        } else if !is_warning(level) {
            tracing::debug!(target: "librdkafka", facility = fac, "{log_message}");
        } else if fac == PRODUCER_ID && !self.producer_id_is_late(clock::monotonic()) {
            // A cluster that has just started takes a moment to hand out the first ids.
            tracing::debug!(target: "librdkafka", facility = fac, "{log_message}");
        } else if let Some(suppressed) =
            self.admit_cause(LogCause::Facility(fac.to_owned()), clock::monotonic())
        {
            // Errors come through `error` too, with a code; these lines add the broker's words.
            let text = without_jargon(log_message);
            tracing::warn!(target: "librdkafka", facility = fac, suppressed, "{text}");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // The end of a partition is news for its reader, who hears of it by its queue.
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        self.note(code);
        // Whoever polls the client hears of it too, and knows the topic or the group.
        if is_refused_right(code) {
            match reason
                .strip_prefix(NOT_AVAILABLE)
                .and_then(|rest| rest.split(": ").next())
            {
                Some(topic) => self.warn_of_refused(topic, code),
                None => tracing::debug!(target: "librdkafka", "{reason}"),
            }
            return;
        }
        let is_connection = diagnose(reason).is_some();
        let (error, reason) = (in_words(&error), without_jargon(reason));
        if kind_of(code) == KafkaErrorKind::Fatal {
            tracing::error!(target: "librdkafka", error, "a Kafka client failed for good: {reason}");
        } else if !is_connection && let Some(suppressed) = self.admit(code) {
            tracing::warn!(target: "librdkafka", error, suppressed, "{reason}");
        }
    }
}

fn is_warning(level: RDKafkaLogLevel) -> bool {
    use RDKafkaLogLevel as Level;
    !matches!(level, Level::Notice | Level::Info | Level::Debug)
}

fn is_refused_right(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode::{GroupAuthorizationFailed, TopicAuthorizationFailed};
    matches!(code, Some(TopicAuthorizationFailed | GroupAuthorizationFailed))
}

/// True if the code reports a connection that failed: librdkafka logs each of those with its cause.
fn is_connection(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::Authentication
                | Code::SSL
        )
    )
}

/// Kind by which `kafka_errors_total` counts an error, one of a closed set.
fn kind_of(code: Option<RDKafkaErrorCode>) -> KafkaErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Some(
            Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::NetworkException,
        ) => KafkaErrorKind::Transport,
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SSL,
        ) => KafkaErrorKind::Auth,
        Some(
            Code::OperationTimedOut | Code::MessageTimedOut | Code::RequestTimedOut | Code::TimedOutQueue,
        ) => KafkaErrorKind::Timeout,
        Some(
            Code::WaitingForCoordinator
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator,
        ) => KafkaErrorKind::Coordinator,
        Some(Code::Fatal | Code::Fenced) => KafkaErrorKind::Fatal,
        _ => KafkaErrorKind::Other,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
