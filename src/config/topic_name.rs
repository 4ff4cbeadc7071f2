//! Names of Kafka topics.

/// True if Kafka takes `text` as the name of a topic.
pub(super) fn is_topic_name(text: &str) -> bool {
    (1..=249).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
