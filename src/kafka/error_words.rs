//! Errors of librdkafka in words. The library's own texts name its threads and the constants of its
//! code.

use std::error::Error;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::diagnosis::without_thread;

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
        Code::Fatal => "the client failed for good",
        Code::PolicyViolation => "a policy of the cluster forbids it",
        _ => return without_jargon(&description(code)),
    };
    words.to_owned()
}

/// True if the topic may not be read: brokers that do not count rights say it only to a reader.
pub(crate) fn is_topic_refused(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
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

/// A log line of librdkafka without the name of its thread and without the words
/// that say on which side an error arose.
pub(crate) fn without_jargon(line: &str) -> String {
    let text = without_thread(line)
        .replace("Local: ", "")
        .replace("Broker: ", "");
    plain_words(&text).unwrap_or(text)
}

/// Words for the lines that name the inside of librdkafka; each was looked up in its source.
fn plain_words(text: &str) -> Option<String> {
    let between = |from: &str, to: &str| {
        let (_, rest) = text.split_once(from)?;
        Some(rest.split_once(to)?.0)
    };
    if text.starts_with("Consumer group session timed out") {
        let (after_ms, why) = (between(") after ", " ms")?, between("last error was ", ")")?);
        let why = if why == "Success" {
            ""
        } else {
            &format!(", its last error was: {why}")
        };
        return Some(format!(
            "the group's coordinator has not answered for {after_ms} ms{why}; this member gives its partitions up and \
             joins the group again"
        ));
    }
    if text.starts_with("Application maximum poll interval") {
        let (limit, beyond) = (between("interval (", ")")?, between("exceeded by ", " (")?);
        return Some(format!(
            "a thread was busy for {beyond} longer than max.poll.interval.ms ({limit}); it leaves the group and joins \
             it again"
        ));
    }
    if let Some((broker, counts)) = text.split_once("Timed out ") {
        let numbers = counts
            .split(|c: char| !c.is_ascii_digit())
            .filter(|part| !part.is_empty());
        let count: u64 = numbers.filter_map(|number| number.parse::<u64>().ok()).sum();
        let is_about_requests = counts.contains(" in-flight, ");
        return is_about_requests.then(|| match count {
            1 => format!("{broker}no answer in time to 1 request"),
            _ => format!("{broker}no answer in time to {count} requests"),
        });
    }
    if text.starts_with("Offset commit (") {
        let (count, why) = (
            between("failed for ", " partition(s)")?,
            text.split_once("join-state ")?.1,
        );
        let why = why.split_once(": ").map_or(why, |(_, why)| why);
        return Some(format!("offsets of {count} partitions were not committed: {why}"));
    }
    if let Some(rest) = text.strip_prefix("Failed to acquire idempotence PID from broker ") {
        let rest = rest.strip_suffix(": retrying").unwrap_or(rest);
        return Some(format!(
            "a producer has no id yet, for which it asked broker {rest}; trying again"
        ));
    }
    if let Some(rest) = text.strip_prefix("Producer terminating with ") {
        let (count, _) = rest.split_once(" message")?;
        return Some(format!(
            "a producer ends, and {count} of its records were not acknowledged"
        ));
    }
    None
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
