//! The work of a detector without Kafka: reading events, and counting and judging them.
//!
//! It has no bar. It shows where to look when the detector is slow; `perf record` on this child
//! shows nothing else.

use std::hint::black_box;
use std::time::Instant;

use bellwether::clock;
use serde_json::{Value, json};

use super::engines::{engines, handle_together};
use super::options::Options;
use super::stats::trimmed_mean;
use super::stream::Stream;

/// Child that measures both.
pub fn measure(options: &Options) -> anyhow::Result<Value> {
    let stream = Stream::new(options)?;
    let mut engines = engines(options)?;
    let now_ms = clock::now_ms();
    let (mut reading, mut handling) = (Vec::new(), Vec::new());
    for batch in stream.batches() {
        let begun = Instant::now();
        let events = black_box(batch.read());
        let read = Instant::now();
        handle_together(&mut engines[batch.partition], &batch, &events, now_ms);
        let handled = Instant::now();
        reading.push(batch.ns_each(read - begun));
        handling.push(batch.ns_each(handled - read));
    }
    let (reading, handling) = (trimmed_mean(&reading), trimmed_mean(&handling));
    Ok(json!({"reading": reading, "all": reading + handling}))
}
