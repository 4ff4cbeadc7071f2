//! The benchmark's events as they come from Kafka, held in memory.

use std::time::Duration;

use bellwether::clock;
use bellwether::domain::event::Event;
use bellwether::ingest::formats::RecordReader;
use bellwether::kafka::murmur2;

use super::events::{self, Visits};
use super::options::Options;

/// Records of one partition before the next partition's: about the content of a fetch.
const FETCH_RECORDS: usize = 3_000;
/// Records that the detector looks ahead at together.
const BATCH_RECORDS: usize = 32;
/// Greatest number of events: all of them are held.
const MAX_EVENTS: u64 = 2_000_000;

/// Records by partition.
pub struct Stream {
    partitions: Vec<Vec<Box<[u8]>>>,
}

/// Some records of a partition that follow each other.
pub struct Batch<'a> {
    pub partition: usize,
    /// Offset of the first one.
    pub offset: usize,
    pub records: &'a [Box<[u8]>],
}

impl Stream {
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        let visits = Visits {
            sites: options.sites,
            visitors: options.visitors,
            events: options.events.min(MAX_EVENTS),
            until_ms: clock::now_ms(),
        };
        let mut partitions: Vec<Vec<Box<[u8]>>> = vec![Vec::new(); usize::try_from(options.partitions)?];
        let mut text = String::new();
        for number in 0..visits.events {
            let visit = visits.visit(number);
            events::write_pageview(&mut text, number, &visit);
            let site = events::site_id(visit.site);
            let partition = murmur2::partition_of(site.as_bytes(), options.partitions);
            partitions[usize::try_from(partition)?].push(text.as_bytes().into());
        }
        Ok(Self { partitions })
    }

    /// Full batches in the order in which fetches bring them.
    pub fn batches(&self) -> impl Iterator<Item = Batch<'_>> {
        let longest = self.partitions.iter().map(Vec::len).max().unwrap_or(0);
        let fetches = (0..longest).step_by(FETCH_RECORDS);
        fetches.flat_map(move |from| {
            self.partitions
                .iter()
                .enumerate()
                .flat_map(move |(partition, records)| {
                    let fetch = records.get(from..).unwrap_or_default();
                    let fetch = &fetch[..fetch.len().min(FETCH_RECORDS)];
                    let batches = fetch.chunks_exact(BATCH_RECORDS).enumerate();
                    batches.map(move |(number, records)| Batch {
                        partition,
                        offset: from + number * BATCH_RECORDS,
                        records,
                    })
                })
        })
    }
}

impl Batch<'_> {
    /// Nanoseconds for each record.
    pub fn ns_each(&self, time: Duration) -> f64 {
        time.as_nanos() as f64 / self.records.len() as f64
    }

    /// Reads the batch's events.
    pub fn read(&self) -> Vec<Event<'_>> {
        let reader = RecordReader::default();
        let read = |record| reader.read(record, &[]).expect("an event of the benchmark");
        self.records.iter().map(|record| read(record)).collect()
    }
}
