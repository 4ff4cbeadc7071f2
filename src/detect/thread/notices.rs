//! Notices of a thread on `/readyz`, about its sources and partitions.

use rdkafka::error::RDKafkaErrorCode;

use super::Detector;
use super::position::UnknownEnd;
use crate::kafka::error_words::code_in_words;

/// Time for which an end may be unknown without a notice, as while a leader changes.
const QUIET_MS: i64 = 5_000;
/// Most partitions of a thread that a kind of notice names.
const MAX_NAMED: usize = 6;

impl Detector {
    /// Shows the notices about sources and partitions.
    pub(super) fn show_notices(&mut self, now_ms: i64) {
        for (key, text) in self.counts.take_notices() {
            self.links.health.notice(&key, text, now_ms);
        }
        self.name_newer_records(now_ms);
        self.name_unrestored(now_ms);
        self.name_unknown_ends(now_ms);
    }

    /// Names the partitions that wait at a record of a newer version.
    fn name_newer_records(&self, now_ms: i64) {
        for owned in self.owned.iter().flatten() {
            for (topic, offset) in owned.newer_records() {
                let (topic, partition) = (self.counts.source(topic), owned.partition);
                let text = format!(
                    "{topic}/{partition} waits at offset {offset}, a record of a newer version: finish the upgrade"
                );
                self.links
                    .health
                    .notice(&format!("newer {topic}/{partition}"), text, now_ms);
            }
        }
    }

    /// Says on `/readyz` which partitions wait, each with its own reason: a few, and how many more.
    fn name_unrestored(&self, now_ms: i64) {
        let thread = &self.settings.name;
        let named = self.unrestored.iter().filter(|(_, one)| !one.reason.is_empty());
        let mut texts: Vec<String> = named
            .map(|(partition, one)| format!("partition {partition} waits: {}", one.reason))
            .collect();
        let more = texts.len().saturating_sub(MAX_NAMED);
        if more > 0 {
            texts.truncate(MAX_NAMED);
            texts.push(format!("{more} more partitions wait; the log names them"));
        }
        for place in 0..=MAX_NAMED {
            let key = format!("unrestored {thread} {place}");
            match texts.get(place) {
                Some(text) => self.links.health.notice(&key, text.clone(), now_ms),
                None => self.links.health.end_notice(&key),
            }
        }
    }

    /// Names the partitions whose ends have not been known for a while: their silent sites wait.
    fn name_unknown_ends(&self, now_ms: i64) {
        let unknown: Vec<(String, UnknownEnd)> = self
            .owned
            .iter()
            .flatten()
            .flat_map(|owned| owned.unknown_ends())
            .filter(|(_, unknown)| now_ms - unknown.since_ms >= QUIET_MS)
            .map(|(at, unknown)| {
                (
                    format!("{}/{}", self.counts.source(at.topic), at.partition),
                    unknown,
                )
            })
            .collect();
        let key = format!("unknown ends {}", self.settings.name);
        match in_words(&unknown) {
            Some(text) => self.links.health.notice(&key, text, now_ms),
            None => self.links.health.end_notice(&key),
        }
    }
}

fn in_words(unknown: &[(String, UnknownEnd)]) -> Option<String> {
    let (_, first) = unknown.first()?;
    let named: Vec<&str> = unknown
        .iter()
        .take(MAX_NAMED)
        .map(|(name, _)| name.as_str())
        .collect();
    let more = match unknown.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "their ends cannot be learned, so silent sites wait: {}{more} ({})",
        named.join(", "),
        cause(first.code)
    ))
}

/// Words for why an end is not known. Of a partition without a leader the client says that it does
/// not exist.
pub(super) fn cause(code: RDKafkaErrorCode) -> String {
    match code {
        RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::UnknownTopicOrPartition => {
            "no broker leads the partition, or it is gone".to_owned()
        }
        code => code_in_words(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_partitions_are_named_and_the_rest_counted() {
        let unknown: Vec<(String, UnknownEnd)> = (0..8)
            .map(|partition| {
                let code = RDKafkaErrorCode::UnknownPartition;
                (format!("a/{partition}"), UnknownEnd { since_ms: 0, code })
            })
            .collect();
        assert_eq!(in_words(&[]), None);
        assert_eq!(
            in_words(&unknown[..1]).as_deref(),
            Some(
                "their ends cannot be learned, so silent sites wait: a/0 (no broker leads the partition, or it is gone)"
            )
        );
        let all = in_words(&unknown).expect("words");
        assert!(all.contains("a/5 and 2 more (no broker"), "{all}");
    }
}
