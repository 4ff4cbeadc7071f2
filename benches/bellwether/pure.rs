//! What a detector does with its events without Kafka: reading them, and counting and judging them. No bar, but where to look
//! when the detector is slow; `perf record` on this child shows nothing else.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use bellwether::clock;
use bellwether::detect::engine::Engine;
use bellwether::detect::engine::config::EngineConfig;
use bellwether::detect::engine::record::RecordFacts;
use bellwether::domain::event::Event;
use bellwether::ingest::formats::{self, RecordFormat};
use bellwether::kafka::murmur2;
use serde_json::{Value, json};

use super::detector::{engine_config, registry};
use super::events::{self, Visits};
use super::options::Options;

/// Records that come from one partition before the next has its turn: about what a fetch brings.
const TURN: usize = 3_000;
/// All of them are held.
const MOST_EVENTS: u64 = 2_000_000;

/// Child.
pub fn measure(options: &Options) -> anyhow::Result<Value> {
    let visits = Visits {
        sites: options.sites,
        visitors: options.visitors,
        events: options.events.min(MOST_EVENTS),
        until_ms: clock::now_ms(),
    };
    let count = usize::try_from(options.partitions)?;
    let mut partitions: Vec<Vec<Box<[u8]>>> = vec![Vec::new(); count];
    let mut text = String::new();
    for number in 0..visits.events {
        let visit = visits.visit(number);
        events::write_pageview(&mut text, number, &visit);
        let site = events::site_id(visit.site);
        let partition = murmur2::partition_of(site.as_bytes(), options.partitions);
        partitions[usize::try_from(partition)?].push(text.as_bytes().into());
    }
    let registry = Arc::new(registry(options.sites)?);
    let mut engines: Vec<Engine> = (0..options.partitions)
        .map(|partition| {
            let config = EngineConfig {
                partition,
                ..engine_config("events")
            };
            Engine::new(config, Arc::clone(&registry))
        })
        .collect();

    let turns = |each: &mut Each<'_>| -> anyhow::Result<f64> {
        let longest = partitions.iter().map(Vec::len).max().unwrap_or(0);
        let begun = Instant::now();
        for from in (0..longest).step_by(TURN) {
            for (partition, records) in partitions.iter().enumerate() {
                let turn = records.iter().enumerate().skip(from).take(TURN);
                for (offset, record) in turn {
                    each(partition, offset, record)?;
                }
            }
        }
        Ok(begun.elapsed().as_nanos() as f64 / visits.events as f64)
    };
    let reading = turns(&mut |_, _, record| {
        black_box(read(record)?);
        Ok(())
    })?;
    let (now_ms, mut out) = (clock::now_ms(), Vec::new());
    let all = turns(&mut |partition, offset, record| {
        let facts = RecordFacts {
            source: 0,
            offset: i64::try_from(offset)?,
            record_ms: now_ms,
            replaying: false,
        };
        engines[partition].handle(&read(record)?, &facts, now_ms, &mut out);
        Ok(())
    })?;
    anyhow::ensure!(out.is_empty(), "nothing is to be told of these events");
    Ok(json!({"reading": reading, "all": all}))
}

fn read(record: &[u8]) -> anyhow::Result<Event<'_>> {
    formats::read(RecordFormat::Native, record)
        .ok()
        .context("an event")
}

/// What is done with a record: its partition, its offset, its bytes.
type Each<'a> = dyn FnMut(usize, usize, &[u8]) -> anyhow::Result<()> + 'a;
