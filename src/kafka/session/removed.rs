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

/// Watch for records that are removed before they are read while no other one comes behind them.
#[derive(Debug, Default)]
pub(crate) struct RemovalWatch {
    /// Position at which the last look found something removed.
    found_at: Option<i64>,
    /// All that was fetched has been read, as was seen since the last look.
    is_drained: bool,
}

impl RemovalWatch {
    /// Notes an attempt to read, which found nothing or a record.
    pub(crate) fn note_read(&mut self, has_record: bool) {
        self.is_drained = !has_record;
    }

    /// Counts the records from `next`, the offset that is expected, up to the partition's
    /// `beginning`, once two looks in a row have found the same. One look proves nothing: a record
    /// that was fetched before its removal may be on its way. They must be some time apart.
    pub(crate) fn look(&mut self, next: i64, beginning: Option<i64>) -> u64 {
        let is_drained = std::mem::take(&mut self.is_drained);
        let beginning = beginning.filter(|_| is_drained).unwrap_or(next);
        let removed = u64::try_from(beginning - next).unwrap_or(0);
        let found_before = self.found_at.take();
        if removed > 0 && found_before != Some(next) {
            self.found_at = Some(next);
            return 0;
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_are_found_twice_before_they_count() {
        let mut watch = RemovalWatch::default();
        let mut look = |was_empty: Option<bool>, next, beginning| {
            if let Some(was_empty) = was_empty {
                watch.note_read(!was_empty);
            }
            watch.look(next, beginning)
        };
        assert_eq!(look(Some(true), 0, Some(20)), 0);
        assert_eq!(look(Some(true), 0, Some(20)), 20);
        // It goes on at the beginning.
        assert_eq!(look(Some(true), 20, Some(20)), 0);
        assert_eq!(look(Some(true), 20, Some(25)), 0);
        assert_eq!(look(Some(false), 22, Some(25)), 0, "a record came");
        assert_eq!(look(Some(true), 22, Some(25)), 0);
        assert_eq!(look(None, 22, Some(25)), 0, "nobody has read since");
        assert_eq!(look(Some(true), 22, Some(25)), 0);
        assert_eq!(look(Some(true), 22, Some(30)), 8);
        assert_eq!(look(Some(true), 30, None), 0);
        assert_eq!(look(Some(true), 30, Some(0)), 0, "made anew");
    }

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
