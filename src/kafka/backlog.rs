//! Records handed over to be published and not acknowledged yet, over all threads that share a
//! producer.
//!
//! librdkafka's own count leaves out a record that a broker refused and that waits to be offered
//! again, and its queue is bounded by bytes as well as by records. A thread that reads on while the
//! backlog is crowded fills memory, or finds the queue full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Records and bytes beyond which the backlog is crowded. Both are far below the bounds of the
/// producer's queue (100,000 records, 128 MiB), since more follows from records that were read
/// already.
const CROWDED_RECORDS: usize = 20_000;
const CROWDED_BYTES: usize = 32 << 20;

/// Amount on its way. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog(Arc<Amount>);

#[derive(Debug, Default)]
struct Amount {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// Part of a backlog, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Portion {
    backlog: Backlog,
    records: usize,
    bytes: usize,
}

impl Backlog {
    /// Counts records that are about to be handed over.
    pub(crate) fn add(&self, records: usize, bytes: usize) -> Portion {
        self.0.records.fetch_add(records, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        Portion {
            backlog: self.clone(),
            records,
            bytes,
        }
    }

    /// True if nothing more should be read for now.
    pub(crate) fn is_crowded(&self) -> bool {
        self.records() > CROWDED_RECORDS || self.0.bytes.load(Ordering::Relaxed) > CROWDED_BYTES
    }

    /// Records on their way.
    pub(crate) fn records(&self) -> usize {
        self.0.records.load(Ordering::Relaxed)
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        let amount = &self.backlog.0;
        amount.records.fetch_sub(self.records, Ordering::Relaxed);
        amount.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_records_crowd_the_backlog_and_so_do_large_ones() {
        let backlog = Backlog::default();
        let many = backlog.add(20_000, 1_000);
        assert!(!backlog.is_crowded());
        let one_more = backlog.clone().add(1, 1);
        assert!(backlog.is_crowded());
        drop((many, one_more));
        assert!(!backlog.is_crowded());
        let large: Vec<_> = (0..513).map(|_| backlog.add(1, 64 << 10)).collect();
        assert!(backlog.is_crowded());
        drop(large);
        assert_eq!(backlog.records(), 0);
        assert!(!backlog.is_crowded());
    }
}
