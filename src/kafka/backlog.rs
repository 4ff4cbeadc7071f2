//! What was handed over to be published and is not done yet, over all threads that share a producer.
//!
//! librdkafka's own count leaves out a record that a broker refused and that waits to be offered again, and its queue is
//! bounded by bytes as well as by records. Whoever reads on while this is crowded fills memory, or finds the queue full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Beyond either of these it is crowded: far below what makes the producer's queue full (100,000 records, 128 MiB), as what was
/// read already is still to come.
const CROWDED_RECORDS: usize = 20_000;
const CROWDED_BYTES: usize = 32 << 20;

/// How much is on its way. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// A part of the backlog, which it leaves when this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Portion {
    of: Backlog,
    records: usize,
    bytes: usize,
}

impl Backlog {
    /// Counts records that are about to be handed over.
    pub(crate) fn add(&self, records: usize, bytes: usize) -> Portion {
        self.0.records.fetch_add(records, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        Portion {
            of: self.clone(),
            records,
            bytes,
        }
    }

    /// Whether nothing more should be read for now.
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
        let counts = &self.of.0;
        counts.records.fetch_sub(self.records, Ordering::Relaxed);
        counts.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_records_crowd_and_so_do_large_ones() {
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
