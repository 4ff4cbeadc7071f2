//! Receipts of records that were handed over, and the brokers' answers to them.

use rdkafka::error::RDKafkaErrorCode;

use crate::kafka::client::ClientEvents;
use crate::kafka::error_words::code_in_words;
use crate::kafka::rights::AclOperation;
use crate::kafka::unanswered::UnansweredRecord;

/// A record was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record for {topic} was not published: {}", code_in_words(*.code))]
pub(crate) struct PublishError {
    pub(super) topic: String,
    pub(super) code: RDKafkaErrorCode,
}

impl PublishError {
    /// True if the topic will never take the record, since it is larger than its messages may be.
    pub(crate) fn is_too_large(&self) -> bool {
        self.code == RDKafkaErrorCode::MessageSizeTooLarge
    }

    /// The error, or the right whose absence it is.
    pub(crate) fn in_words(&self, client_events: &ClientEvents) -> String {
        match self.code {
            RDKafkaErrorCode::TopicAuthorizationFailed => client_events
                .missing_right(AclOperation::Write, "topic", &self.topic)
                .to_string(),
            _ => self.to_string(),
        }
    }

    /// Logs that publishing is tried again, at most once a second for each cause: there may be
    /// thousands of records.
    pub(crate) fn log(&self, client_events: &ClientEvents) {
        if let Some(suppressed) = client_events.admit(Some(self.code)) {
            tracing::error!(
                topic = self.topic,
                error = self.in_words(client_events),
                suppressed,
                "publishing failed; trying again"
            );
        }
    }
}

/// The brokers' answer to a record: the offset that it got.
pub(crate) type PublishAnswer = Result<i64, PublishError>;

pub(super) type DoneCallback = Box<dyn FnOnce(PublishAnswer) + Send + Sync>;

/// Data of a record between its hand-over and its acknowledgement.
pub(super) struct Receipt {
    /// Name of the topic in metrics.
    pub(super) label: &'static str,
    pub(super) unanswered: UnansweredRecord,
    pub(super) bytes: i64,
    pub(super) done: DoneCallback,
}
