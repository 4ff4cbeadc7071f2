//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures Bellwether against the Kafka and the PostgreSQL that the environment names (`make
/// bench` starts both).
#[derive(Debug, Clone, Parser)]
#[command(name = "make bench")]
pub struct Options {
    /// Only these parts; may be given several times. Without it, all but `soak`.
    #[arg(long, value_enum)]
    pub only: Vec<Part>,
    /// Number of runs of each part.
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// Partitions of every topic.
    #[arg(long, default_value_t = 48)]
    pub partitions: i32,
    /// detector: events on the topic. With two million not every visitor would have one.
    #[arg(long, default_value_t = 6_000_000)]
    pub events: u64,
    /// detector, memory: registered sites.
    #[arg(long, default_value_t = 20_000)]
    pub sites: u64,
    /// detector, memory: distinct visitors.
    #[arg(long, default_value_t = 1_000_000)]
    pub visitors: u64,
    /// detector: the core that each consumer is pinned to.
    #[arg(long, default_value_t = 0)]
    pub core: u32,
    /// drain, flow: webhooks, each of a site of its own and at an address of its own.
    #[arg(long, default_value_t = 200)]
    pub webhooks: u32,
    /// drain: deliveries on the topic.
    #[arg(long, default_value_t = 60_000)]
    pub deliveries: u64,
    /// flow: events, each of which completes a goal of one webhook.
    #[arg(long, default_value_t = 40_000)]
    pub goals: u64,
    /// flow: events published and not yet received, at most.
    #[arg(long, default_value_t = 5_000)]
    pub window: u64,
    /// latency, records: events a second, one run after another.
    #[arg(long, value_delimiter = ',', default_values_t = [150, 1_000])]
    pub rates: Vec<u64>,
    /// latency, records, neighbours: seconds that count; three more come first.
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// api: deliveries in the history of the webhook; 600 bytes of disk each.
    #[arg(long, default_value_t = 2_000_000)]
    pub history: u64,
    /// lateness: deliveries whose first attempt fails, 50 a second.
    #[arg(long, default_value_t = 500)]
    pub retries: u64,
    /// soak: minutes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(3..))]
    pub minutes: u64,
    /// File for the figures.
    #[arg(long, default_value = "target/bench.json")]
    pub json: PathBuf,
    /// Role of a child.
    #[arg(long, hide = true)]
    pub child: Option<String>,
    /// Topic that a child reads.
    #[arg(long, hide = true, default_value = "")]
    pub topic: String,
    /// Prefix of a child's topics and groups.
    #[arg(long, hide = true, default_value = "")]
    pub prefix: String,
    /// Passed by cargo to every benchmark.
    #[arg(long, hide = true)]
    pub(super) bench: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    Detector,
    Machinery,
    Memory,
    Drain,
    Flow,
    Records,
    Latency,
    Fanout,
    Neighbours,
    Lateness,
    Pages,
    Api,
    Soak,
}

impl Part {
    pub const ALL: [Self; 13] = [
        Self::Detector,
        Self::Machinery,
        Self::Memory,
        Self::Drain,
        Self::Flow,
        Self::Records,
        Self::Latency,
        Self::Fanout,
        Self::Neighbours,
        Self::Lateness,
        Self::Pages,
        Self::Api,
        Self::Soak,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Detector => "detector",
            Self::Machinery => "machinery",
            Self::Memory => "memory",
            Self::Drain => "drain",
            Self::Flow => "flow",
            Self::Records => "records",
            Self::Latency => "latency",
            Self::Fanout => "fanout",
            Self::Neighbours => "neighbours",
            Self::Lateness => "lateness",
            Self::Pages => "pages",
            Self::Api => "api",
            Self::Soak => "soak",
        }
    }

    pub const fn title(self) -> &'static str {
        match self {
            Self::Detector => "detector: events from Kafka on one core",
            Self::Machinery => "machinery: hand-written code and a library in its place",
            Self::Memory => "memory: what is held of visitors and sites",
            Self::Drain => "drain: a filled topic of deliveries, sent and recorded",
            Self::Flow => "flow: from event to recorded delivery, as fast as it goes",
            Self::Records => "records: from event to delivery record, nothing is sent",
            Self::Fanout => "fanout: from an event to the last of 1,000 requests",
            Self::Neighbours => "neighbours: healthy endpoints alone and beside bad ones",
            Self::Latency => "latency: from when an event should be published to its request",
            Self::Lateness => "lateness: from when a retry is due to its request, 1 s tier, idle",
            Self::Pages => "pages: 100 a second, 10,000 deliveries, 100,000 that wait",
            Self::Api => "api: calls over a webhook with a long history, beside deliveries",
            Self::Soak => "soak: memory over an hour with a tenth failing",
        }
    }
}
