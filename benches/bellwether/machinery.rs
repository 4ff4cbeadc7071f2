//! Part `machinery`: hand-written code beside a library or nothing in its place, on the same
//! records in one run.
//!
//! The two ways of a comparison take turns batch by batch, so that a machine whose speed drifts is
//! fair to both.

use std::hint::black_box;
use std::time::Instant;

use bellwether::clock;
use bellwether::ingest::formats::quotes::QuoteBits;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::child;
use super::engines::{engines, handle_singly, handle_together};
use super::options::Options;
use super::report::{Figure, across};
use super::stats::trimmed_mean;
use super::stream::{Batch, Stream};

/// Two ways of doing the same, in nanoseconds a record for each batch.
struct Comparison {
    own_name: &'static str,
    other_name: &'static str,
    own: Vec<f64>,
    other: Vec<f64>,
}

impl Comparison {
    fn new(own_name: &'static str, other_name: &'static str) -> Self {
        Self {
            own_name,
            other_name,
            own: Vec::new(),
            other: Vec::new(),
        }
    }

    /// Times both ways on a batch; the one that came second on the last batch comes first.
    fn time<A, B>(&mut self, batch: &Batch<'_>, own: impl FnOnce() -> A, other: impl FnOnce() -> B) {
        if self.own.len().is_multiple_of(2) {
            self.own.push(ns_each(batch, own));
            self.other.push(ns_each(batch, other));
        } else {
            self.other.push(ns_each(batch, other));
            self.own.push(ns_each(batch, own));
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "own_name": self.own_name, "own": trimmed_mean(&self.own),
            "other_name": self.other_name, "other": trimmed_mean(&self.other),
        })
    }
}

fn ns_each<T>(batch: &Batch<'_>, work: impl FnOnce() -> T) -> f64 {
    let begun = Instant::now();
    black_box(work());
    batch.ns_each(begun.elapsed())
}

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let mut runs = Vec::new();
    for _ in 0..options.runs {
        runs.push(child::measure("machinery", options)?);
    }
    let comparisons = runs.first().and_then(Value::as_array).map_or(0, Vec::len);
    let mut figures = Vec::new();
    for number in 0..comparisons {
        let name = |key: &str| runs[0][number][key].as_str().unwrap_or_default().to_owned();
        let value = |run: &Value, key: &str| run[number][key].as_f64().unwrap_or(f64::NAN);
        let (own, other) = (name("own_name"), name("other_name"));
        figures.push(Figure::new(own, "ns", across(&runs, |run| value(run, "own"))));
        figures.push(Figure::new(other, "ns", across(&runs, |run| value(run, "other"))));
        let ratio = across(&runs, |run| value(run, "other") / value(run, "own"));
        figures.push(Figure::new("… ratio", "ratio", ratio));
    }
    Ok(figures)
}

/// Child that measures all comparisons.
pub fn measure(options: &Options) -> anyhow::Result<Value> {
    let stream = Stream::new(options)?;
    let mut reading = Comparison::new(
        "reading an event: scanner and checks",
        "… serde_json, a derived struct",
    );
    let mut quotes = Comparison::new("finding its quotes: wide", "… memchr");
    let mut lookahead = Comparison::new("handling it: 32 looked ahead at", "… one by one");
    let (mut own, mut other) = (engines(options)?, engines(options)?);
    let now_ms = clock::now_ms();
    for batch in stream.batches() {
        reading.time(&batch, || batch.read(), || read_structs(&batch));
        quotes.time(&batch, || quotes_by_wide(&batch), || quotes_by_memchr(&batch));
        let events = batch.read();
        let (own, other) = (&mut own[batch.partition], &mut other[batch.partition]);
        lookahead.time(
            &batch,
            || handle_together(own, &batch, &events, now_ms),
            || handle_singly(other, &batch, &events, now_ms),
        );
    }
    let comparisons = [reading, quotes, lookahead];
    Ok(comparisons.iter().map(Comparison::to_json).collect())
}

/// The fields of an event as a derived struct, without the checks that the service makes.
#[derive(Deserialize)]
#[expect(dead_code, reason = "the fields are parsed and not looked at")]
struct PlainEvent<'a> {
    site_id: &'a str,
    r#type: &'a str,
    name: Option<&'a str>,
    visitor_id: Option<&'a str>,
    path: Option<&'a str>,
    timestamp: Option<&'a str>,
    event_id: Option<&'a str>,
    #[serde(borrow)]
    props: Option<&'a RawValue>,
    source: Option<&'a str>,
}

fn read_structs<'a>(batch: &Batch<'a>) -> Vec<PlainEvent<'a>> {
    batch
        .records
        .iter()
        .map(|record| serde_json::from_slice(record).expect("an event of the benchmark"))
        .collect()
}

fn quotes_by_wide(batch: &Batch<'_>) -> usize {
    let positions = |record: &[u8]| QuoteBits::default().find(record).map_or(0, Iterator::sum);
    batch.records.iter().map(|record| positions(record)).sum()
}

fn quotes_by_memchr(batch: &Batch<'_>) -> usize {
    let is_odd = |odd, byte: &u8| odd | (*byte < b' ') | (*byte == b'\\');
    let positions = |record: &[u8]| match record.iter().fold(false, is_odd) {
        true => 0,
        false => memchr::memchr_iter(b'"', record).sum(),
    };
    batch.records.iter().map(|record| positions(record)).sum()
}
