//! Records that Kafka removed, by retention or a deletion, before they were read.

use crate::kafka::topic_partition::TopicPartition;
use crate::telemetry::Metrics;
use crate::telemetry::throttle::KeyedThrottles;

/// Lines about removed records: retention may overtake every partition, again and again.
static REMOVED: KeyedThrottles<String> = KeyedThrottles::new();

/// Counts the records that were removed between `next`, the offset that was expected, and `offset`,
/// which came instead. Only what lies below `beginning`, the partition's first offset, was removed;
/// a gap above it is no loss, as transaction markers take offsets. Retention may have moved the
/// beginning past `offset` after that record was fetched. If it is not known, nothing is counted.
pub(crate) fn removed_between(next: i64, offset: i64, beginning: impl FnOnce() -> Option<i64>) -> u64 {
    if offset <= next {
        return 0;
    }
    let beginning = beginning().map_or(next, |beginning| beginning.min(offset));
    u64::try_from(beginning - next).unwrap_or(0)
}

/// Counts and logs that so many records were `removed`, the first of them at `offset`.
pub(crate) fn report_removed(metrics: &Metrics, topic: &str, at: TopicPartition, offset: i64, removed: u64) {
    if removed > 0 {
        metrics.records_missed.with_label_values(&[topic]).inc_by(removed);
        if let Some(suppressed) = REMOVED.admit(topic.to_owned(), 0) {
            tracing::error!(
                topic,
                partition = at.partition,
                offset,
                missed = removed,
                suppressed,
                "records were removed before they were read"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_above_the_beginning_is_no_loss() {
        let removed = |offset, beginning| removed_between(10, offset, || beginning);
        assert_eq!(removed(10, Some(0)), 0);
        assert_eq!(removed(17, Some(0)), 0, "markers of transactions");
        assert_eq!(removed(17, None), 0);
        assert_eq!(removed(17, Some(14)), 4);
        assert_eq!(removed(17, Some(17)), 7);
        assert_eq!(
            removed(17, Some(30)),
            7,
            "the beginning moved past it after the fetch"
        );
        assert_eq!(
            removed(3, Some(0)),
            0,
            "offsets went back: the topic was made anew"
        );
    }
}
