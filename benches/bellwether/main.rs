//! `make bench`: what the design promises in numbers, measured against real Kafka and real Postgres.
//!
//! Every part measures whole processes: the detector as a child pinned to one core, the rest as the binary itself. Each is
//! done several times and shown as minimum, median and maximum; bars are compared with the median. What a bar is relative
//! to runs in turn with what is measured, so that a machine whose speed drifts is fair to both.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark starts processes, reads the environment and looks at clocks"
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what is measured goes to stdout, how it goes to stderr"
)]
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "nobody uses this crate"
)]

/// What can be asked for on the command line.
mod options;
/// Figures, the table, the JSON.
mod report;
/// Medians and percentiles, exactly.
mod stats;
/// The machine, and what processes cost it.
mod machine;
/// Topics, filling them, publishing.
mod kafka;
/// The events that are published.
mod events;
/// Running a part of this program as a process of its own.
mod child;
/// A receiver that costs as little as it can.
mod receiver;
/// A database, topics and the binary as a process.
mod deployment;
/// Part `detector`: events a second on one core.
mod detector;
/// What a detector does without Kafka.
mod pure;
/// Part `memory`: bytes of a visitor and of an idle site.
mod memory;
/// Part `drain`: deliveries a second from a filled topic.
mod drain;
/// Part `flow`: from event to recorded delivery, as fast as it goes.
mod flow;
/// Part `latency`: from event to request at a fixed rate.
mod latency;
/// Part `lateness`: how late retries are.
mod lateness;

use anyhow::Context as _;
use clap::Parser as _;

use options::{Options, Part};
use report::Report;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(role) = &options.child {
        return child::run(role, &options);
    }
    let mut report = Report::begin();
    for part in Part::ALL {
        if options.only.is_empty() || options.only.contains(&part) {
            eprintln!("{}", part.title());
            let figures = run(part, &options).with_context(|| format!("part {}", part.name()))?;
            report.add(part, figures);
        }
    }
    report.finish();
    print!("{}", report.table());
    std::fs::write(&options.json, report.json())
        .with_context(|| format!("writing {}", options.json.display()))?;
    eprintln!("as JSON: {}", options.json.display());
    Ok(())
}

fn run(part: Part, options: &Options) -> anyhow::Result<Vec<report::Figure>> {
    match part {
        Part::Detector => detector::run(options),
        Part::Memory => memory::run(options),
        Part::Drain => drain::run(options),
        Part::Flow => flow::run(options),
        Part::Latency => latency::run(options),
        Part::Lateness => lateness::run(options),
    }
}
