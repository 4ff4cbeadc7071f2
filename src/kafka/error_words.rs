//! Errors of librdkafka in words. The library's own texts name its threads and the constants of its
//! code.

use std::error::Error;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Says what a code means: `there is no such topic or partition`.
pub(crate) fn code_in_words(code: RDKafkaErrorCode) -> String {
    use RDKafkaErrorCode as Code;
    let words = match code {
        Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition => {
            "there is no such topic or partition"
        }
        Code::BrokerTransportFailure | Code::NetworkException => "the connection to a broker failed",
        Code::AllBrokersDown => "no broker can be reached",
        Code::OperationTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => "no answer in time",
        Code::MessageTimedOut => "no broker took the record in time",
        Code::OffsetOutOfRange | Code::AutoOffsetReset => "the offset is not in the partition",
        Code::LeaderNotAvailable | Code::NotLeaderForPartition => {
            "the partition's leader is changing, or it has none"
        }
        Code::WaitingForCoordinator
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator => "the group's coordinator is not ready",
        Code::RebalanceInProgress | Code::IllegalGeneration | Code::UnknownMemberId => {
            "the group is being rebalanced"
        }
        Code::TopicAuthorizationFailed => "the cluster does not allow this client to use the topic",
        Code::GroupAuthorizationFailed => "the cluster does not allow this client to use the group",
        Code::ClusterAuthorizationFailed => "the cluster does not allow this client to do that",
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "fewer copies of the partition are in sync than min.insync.replicas asks for"
        }
        Code::MessageSizeTooLarge => "the record is larger than the topic's max.message.bytes",
        Code::PolicyViolation => "a policy of the cluster forbids it",
        _ => return without_jargon(&description(code)),
    };
    words.to_owned()
}

/// Says what an error means.
pub(crate) fn in_words(error: &KafkaError) -> String {
    match error {
        KafkaError::Canceled => "the client was stopped".to_owned(),
        KafkaError::PauseResume(text)
        | KafkaError::Seek(text)
        | KafkaError::Subscription(text)
        | KafkaError::AdminOpCreation(text)
        | KafkaError::ClientCreation(text) => without_jargon(text),
        // Its value may be a password.
        KafkaError::ClientConfig(_, why, key, value) => {
            format!("kafka.properties.\"{key}\": {}", without_value(why, value))
        }
        other => match other.rdkafka_error_code() {
            Some(code) => code_in_words(code),
            None => without_jargon(&other.to_string()),
        },
    }
}

/// An error and its causes in one line, none repeated. `known` has the words for causes that are
/// none of Kafka's.
pub(crate) fn chain_in_words(
    error: &anyhow::Error,
    known: impl Fn(&(dyn Error + 'static)) -> Option<String>,
) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let kafka = cause.downcast_ref().map(in_words);
        let kafka = kafka.or_else(|| cause.downcast_ref().copied().map(code_in_words));
        let words = kafka
            .or_else(|| known(cause))
            .unwrap_or_else(|| cause.to_string());
        // Many an error says what its cause says.
        if said.is_empty() {
            said = words;
        } else if !said.ends_with(&words) {
            said = format!("{said}: {words}");
        }
    }
    said
}

/// A log line of librdkafka without the name of its thread (`[thrd:main]: `) and without the words
/// that say on which side an error arose.
pub(crate) fn without_jargon(line: &str) -> String {
    let text = match line.strip_prefix("[thrd:") {
        Some(rest) => rest.split_once("]: ").map_or(line, |(_, text)| text),
        None => line,
    };
    text.replace("Local: ", "").replace("Broker: ", "")
}

/// A text of librdkafka about a value, which may be a password, without the value. A number that
/// merely contains the digits of a short value is left as it is.
pub(crate) fn without_value(text: &str, value: &str) -> String {
    let text = text.trim_end();
    if value.is_empty() {
        return text.to_owned();
    }
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let (mut shown, mut end) = (String::new(), 0);
    for (at, _) in text.match_indices(value) {
        let after = at + value.len();
        let is_inside = value.len() < 4
            && (is_part(text[..at].chars().next_back()) || is_part(text[after..].chars().next()));
        if !is_inside {
            shown.push_str(&text[end..at]);
            shown.push('…');
            end = after;
        }
    }
    shown + &text[end..]
}

/// The library's description of a code, which its `Display` puts in brackets behind the constant.
fn description(code: RDKafkaErrorCode) -> String {
    let shown = code.to_string();
    let inner = shown
        .split_once(" (")
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(&shown).to_owned()
}

#[cfg(test)]
mod tests;
