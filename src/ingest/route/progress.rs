//! Progress of the role `route`, for detectors: a silence on `bellwether.events` says nothing while
//! records lie unread in a source that is not keyed by site.
//!
//! Guaranteed: every record that a source held before `RoutedUntil` is on `bellwether.events`, or
//! led to nothing. The router commits an offset when what lies before it is acknowledged, so a
//! commit that has come to an end proves this for the instant before that end was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::kafka::group_progress::PartitionProgress;
use crate::kafka::topic_partition::TopicPartition;

/// Wall instant before which everything that was published to the sources has been routed. Clones
/// share it.
#[derive(Debug, Clone)]
pub struct RoutedUntil(Arc<AtomicI64>);

impl Default for RoutedUntil {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }
}

impl RoutedUntil {
    /// The instant in milliseconds since the Unix epoch; `None` while nothing is known.
    pub(crate) fn ms(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Acquire)).filter(|ms| *ms > i64::MIN)
    }

    pub(crate) fn set(&self, ms: Option<i64>) {
        self.0.store(ms.unwrap_or(i64::MIN), Ordering::Release);
    }
}

/// Ends that the router has to come to.
#[derive(Debug)]
struct WantedEnds {
    /// Wall instant before they were asked for.
    asked_ms: i64,
    ends: BTreeMap<TopicPartition, i64>,
}

/// Progress of the router, by Kafka's answers.
#[derive(Debug, Default)]
pub(crate) struct RouteProgress {
    wanted: Option<WantedEnds>,
    until_ms: Option<i64>,
    behind: Option<PartitionProgress>,
}

impl RouteProgress {
    /// Notes an answer of Kafka's to a question of `asked_ms`, about all partitions.
    pub(crate) fn note(&mut self, asked_ms: i64, found: &[PartitionProgress]) {
        let wanted = self.wanted.as_ref();
        self.behind = found.iter().find(|one| !has_come(one, wanted)).copied();
        if self.behind.is_some() && self.wanted.is_some() {
            return;
        }
        if let Some(reached) = &self.wanted {
            self.until_ms = self.until_ms.max(Some(reached.asked_ms));
        }
        self.wanted = Some(WantedEnds {
            asked_ms,
            ends: found.iter().map(|one| (one.at, one.end)).collect(),
        });
    }

    /// Wall instant before which everything has been routed.
    pub(crate) fn until_ms(&self) -> Option<i64> {
        self.until_ms
    }

    /// A partition that the router is behind in.
    pub(crate) fn behind(&self) -> Option<PartitionProgress> {
        self.behind
    }
}

/// True if the router has come to the end that is wanted of a partition. A commit beyond the end of
/// now is of an earlier topic of the same name.
fn has_come(one: &PartitionProgress, wanted: Option<&WantedEnds>) -> bool {
    let end = wanted.and_then(|wanted| wanted.ends.get(&one.at)).copied();
    // A partition that is new has had no record when the ends were asked for.
    let end = end.unwrap_or(0);
    match one.committed {
        Some(committed) => (end..=one.end).contains(&committed),
        None => end == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(partition: i32, committed: impl Into<Option<i64>>, end: i64) -> PartitionProgress {
        PartitionProgress {
            at: TopicPartition { topic: 0, partition },
            committed: committed.into(),
            end,
        }
    }

    #[test]
    fn what_was_there_is_routed_once_commits_come_to_the_ends() {
        let mut progress = RouteProgress::default();
        progress.note(1_000, &[one(0, 5, 8), one(1, None, 0)]);
        assert_eq!(progress.until_ms(), None, "an end alone proves nothing");
        progress.note(2_000, &[one(0, 7, 20), one(1, None, 0)]);
        assert_eq!(progress.until_ms(), None);
        assert_eq!(progress.behind(), Some(one(0, 7, 20)));
        progress.note(3_000, &[one(0, 8, 30), one(1, None, 3)]);
        assert_eq!(
            progress.until_ms(),
            Some(1_000),
            "what came since is not asked of it"
        );
        progress.note(4_000, &[one(0, 30, 30), one(1, None, 3)]);
        assert_eq!(progress.until_ms(), Some(1_000));
        assert_eq!(progress.behind(), Some(one(1, None, 3)));
        progress.note(5_000, &[one(0, 30, 30), one(1, 3, 3)]);
        assert_eq!(progress.until_ms(), Some(3_000));
        assert_eq!(progress.behind(), None);
    }

    #[test]
    fn a_commit_beyond_the_end_proves_nothing() {
        let mut progress = RouteProgress::default();
        progress.note(1_000, &[one(0, 9, 9)]);
        // The topic is made anew: the commit is of the one before.
        progress.note(2_000, &[one(0, 9, 4)]);
        assert_eq!(progress.until_ms(), None);
        progress.note(3_000, &[one(0, 4, 4)]);
        assert_eq!(progress.until_ms(), None, "nor does one before the ends of then");
        progress.note(4_000, &[one(0, 12, 12)]);
        assert_eq!(progress.until_ms(), Some(1_000));
    }

    #[test]
    fn a_partition_that_is_new_is_asked_for_from_then_on() {
        let mut progress = RouteProgress::default();
        progress.note(1_000, &[one(0, 5, 5)]);
        progress.note(2_000, &[one(0, 5, 5), one(1, None, 7)]);
        assert_eq!(progress.until_ms(), Some(1_000));
        progress.note(3_000, &[one(0, 5, 5), one(1, None, 7)]);
        assert_eq!(progress.until_ms(), Some(1_000));
        progress.note(4_000, &[one(0, 5, 5), one(1, 7, 7)]);
        assert_eq!(progress.until_ms(), Some(2_000));
    }
}
