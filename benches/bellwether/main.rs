//! `make bench`: the numbers that the design promises, measured against real Kafka and real
//! Postgres.
//!
//! The parts measure whole processes: the detector as a child pinned to one core, the deliverer as
//! the binary itself. Each part runs several times and is shown as minimum, median and maximum;
//! bars are compared with the median. What a bar is relative to is measured in turn with it, so
//! that a machine whose speed drifts is fair to both.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark starts processes, reads the environment and looks at clocks"
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the figures go to stdout, progress to stderr"
)]
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "nobody uses this crate"
)]

/// The command line.
mod options;
/// Figures, as a table and as JSON.
mod report;
/// Exact medians and percentiles.
mod stats;
/// The machine and the cost of processes.
mod machine;
/// Topics, filling them, publishing.
mod kafka;
/// The events that are published.
mod events;
/// Parts of this program as processes of their own.
mod child;
/// A receiver that costs as little as possible.
mod receiver;
/// A database, topics and the binary as a process.
mod deployment;
/// The events as records in memory.
mod stream;
/// Engines and registries.
mod engines;
/// Part `detector`: events a second on one core.
mod detector;
/// The work of a detector without Kafka.
mod pure;
/// Part `machinery`: what is hand-written beside what a library does.
mod machinery;
/// Part `memory`: bytes of a visitor and of an idle site.
mod memory;
/// Part `drain`: deliveries a second from a filled topic.
mod drain;
/// Part `flow`: from event to recorded delivery, at full speed.
mod flow;
/// Goals on a schedule, and when each arrived.
mod arrivals;
/// Part `records`: from event to delivery record.
mod records;
/// Part `fanout`: one notification for 1,000 webhooks.
mod fanout;
/// Part `neighbours`: healthy endpoints beside others.
mod neighbours;
/// Part `latency`: from event to request at a fixed rate.
mod latency;
/// Part `lateness`: of retries.
mod lateness;
/// Part `pages`: of the web pages, their time and their weight.
mod pages;
/// Part `api`: calls over a long history, beside deliveries.
mod api;
/// Part `soak`: memory over an hour.
mod soak;

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
        let is_wanted = match options.only.is_empty() {
            true => part != Part::Soak,
            false => options.only.contains(&part),
        };
        if is_wanted {
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
        Part::Machinery => machinery::run(options),
        Part::Memory => memory::run(options),
        Part::Drain => drain::run(options),
        Part::Flow => flow::run(options),
        Part::Records => records::run(options),
        Part::Fanout => fanout::run(options),
        Part::Neighbours => neighbours::run(options),
        Part::Latency => latency::run(options),
        Part::Lateness => lateness::run(options),
        Part::Pages => pages::run(options),
        Part::Api => api::run(options),
        Part::Soak => soak::run(options),
    }
}
