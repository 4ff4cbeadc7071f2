//! Names of Kafka topics.

/// True if Kafka takes `text` as the name of a topic.
pub(super) fn is_topic_name(text: &str) -> bool {
    (1..=249).contains(&text.len())
        && !matches!(text, "." | "..")
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kafka_takes() {
        for text in ["a", "analytics.events", "A_b-1", "...", &"x".repeat(249)] {
            assert!(is_topic_name(text), "{text}");
        }
        for text in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
            assert!(!is_topic_name(text), "{text}");
        }
    }
}
