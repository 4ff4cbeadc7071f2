//! The facts that findings follow from.

use crate::cli::inspect::record::{InspectedRecord, Interpretation, RejectedRecord, UnderstoodEvent};
use crate::cli::inspect::sample::Sample;
use crate::cli::inspect::sites::IndexedSites;

/// Everything known of a source.
#[derive(Debug)]
pub(in crate::cli::inspect) struct Facts<'a> {
    pub(in crate::cli::inspect) topic: &'a str,
    /// The topic is one of the configuration's sources.
    pub(in crate::cli::inspect) is_source: bool,
    /// False if the role `route` keys the records.
    pub(in crate::cli::inspect) is_keyed: bool,
    pub(in crate::cli::inspect) brokers: &'a str,
    /// `kafka.partitions`.
    pub(in crate::cli::inspect) partitions: i32,
    pub(in crate::cli::inspect) sample: &'a Sample,
    pub(in crate::cli::inspect) records: &'a [InspectedRecord],
    /// The registered sites, or the reason why Postgres could not be asked.
    pub(in crate::cli::inspect) sites: Result<&'a IndexedSites, &'a str>,
    /// Milliseconds since the Unix epoch.
    pub(in crate::cli::inspect) now_ms: i64,
}

impl<'a> Facts<'a> {
    /// Records that are events, with the time of each record.
    pub(super) fn events(&self) -> impl Iterator<Item = (Option<i64>, &'a UnderstoodEvent)> {
        self.records.iter().filter_map(|record| match &record.meaning {
            Interpretation::Understood(event) => Some((record.record_ms, event)),
            Interpretation::Rejected(_) | Interpretation::Ignored => None,
        })
    }

    /// The role that reads the topic.
    pub(super) fn reader(&self) -> &'static str {
        if self.is_keyed { "detect" } else { "route" }
    }

    /// Records that cannot be read.
    pub(super) fn rejects(&self) -> impl Iterator<Item = &'a RejectedRecord> {
        self.records.iter().filter_map(|record| match &record.meaning {
            Interpretation::Understood(_) | Interpretation::Ignored => None,
            Interpretation::Rejected(reject) => Some(reject),
        })
    }
}
