//! A source topic as it was found in Kafka: its partitions, its last records, and how far it was
//! read.

use crate::ingest::formats::HeaderRef;
use crate::telemetry::words::ProcessRole;

/// The state of a topic at one look.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// By partition; empty when there is no such topic.
    pub(super) offsets: Vec<PartitionOffsets>,
    /// In the order of partition and offset.
    pub(super) records: Vec<SampledRecord>,
    /// The reason why some partitions were not read to their end.
    pub(super) unread: Option<String>,
    pub(super) group: ReaderGroup,
    /// The groups that go on with what comes of it, by role; none if nobody reads the topic.
    pub(super) followers: Vec<(ProcessRole, ReaderGroup)>,
    /// The cluster's other topics, if this one is not there.
    pub(super) others: Vec<String>,
}

impl Sample {
    /// Records that the group has not read, of partitions with a commit. The markers that end a
    /// transaction have offsets and are no records, nor is what was aborted: where records were
    /// read to the end, the last one counts.
    pub(super) fn lag(&self) -> i64 {
        let committed = self.group.committed.iter();
        let partitions = (0_i32..).zip(committed.zip(&self.offsets));
        partitions
            .filter_map(|(partition, (committed, offsets))| {
                let of_partition = self.records.iter().filter(|record| record.partition == partition);
                let last = of_partition.map(|record| record.offset + 1).max();
                let end = match self.unread {
                    None => last.unwrap_or(offsets.read_from),
                    Some(_) => offsets.stable_end,
                };
                // What was removed is read by nobody.
                let next = (*committed)?.max(offsets.low);
                Some((end - next).max(0))
            })
            .sum()
    }
}

/// The offsets between which a partition holds records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionOffsets {
    pub(super) low: i64,
    /// The first offset that was asked for.
    pub(super) read_from: i64,
    /// The next offset that a consumer may read: later ones belong to a transaction that is still
    /// open.
    pub(super) stable_end: i64,
    pub(super) end: i64,
}

/// A record as Kafka holds it.
#[derive(Debug, Clone)]
pub(super) struct SampledRecord {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Milliseconds since the Unix epoch.
    pub(super) record_ms: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl SampledRecord {
    /// Bytes that its producer wrote.
    pub(super) fn bytes(&self) -> usize {
        let of_header = |(name, value): &(Vec<u8>, Option<Vec<u8>>)| {
            size_of::<(Vec<u8>, Option<Vec<u8>>)>() + name.len() + value.as_ref().map_or(0, Vec::len)
        };
        let headers: usize = self.headers.iter().map(of_header).sum();
        self.key.as_ref().map_or(0, Vec::len) + self.value.len() + headers
    }

    /// The headers as a reader takes them.
    pub(super) fn headers(&self) -> Vec<HeaderRef<'_>> {
        let headers = self.headers.iter();
        headers.map(|(name, value)| (&**name, value.as_deref())).collect()
    }
}

/// The consumer group that reads the topic: the detectors', or that of the role `route`.
#[derive(Debug, Clone, Default)]
pub(super) struct ReaderGroup {
    pub(super) name: String,
    /// Threads of all processes that are in the group; `None` if the cluster would not say.
    pub(super) members: Option<usize>,
    /// By partition; `None` where nothing was committed.
    pub(super) committed: Vec<Option<i64>>,
    /// The reason why it could not be looked at.
    pub(super) unknown: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_headers_are_bytes_of_a_record() {
        let record = SampledRecord {
            partition: 0,
            offset: 0,
            record_ms: None,
            key: Some(vec![0; 1_000]),
            value: vec![0; 100],
            headers: vec![(vec![0; 20_000], None), (vec![0; 10], Some(vec![0; 300_000]))],
        };
        let overhead = 2 * size_of::<(Vec<u8>, Option<Vec<u8>>)>();
        assert_eq!(record.bytes(), 321_110 + overhead);
    }
}
