//! Part `latency`: time from an event's place in the schedule to the arrival of its request, at
//! fixed rates.

use super::arrivals::{Arrivals, Load};
use super::deployment::{CostsEach, Deployment, Process};
use super::drain::cost_figures;
use super::kafka;
use super::options::Options;
use super::receiver::Receiver;
use super::report::{Figure, across};
use super::stats::percentile;

/// Seconds before the first run, at the highest rate: Kafka's JVM compiles its code and takes a core
/// for that.
const COLD_SECONDS: u64 = 40;
/// Seconds of each run that do not count: connections are opened and caches filled.
const WARM_UP_SECONDS: u64 = 3;

/// Most milliseconds of the median and of the 99th percentile, by events a second.
const BARS: [(u64, f64, f64); 2] = [(150, 3.0, 8.0), (1_000, 5.0, 30.0)];

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (rate, runs) in kafka::runtime()?.block_on(measure(options))? {
        let figure = |name: &str, share: f64| {
            let values = across(&runs, |run| percentile(&run.latencies, share));
            Figure::new(format!("{rate} a second, {name}"), "ms", values)
        };
        let mut shares = [figure("p50", 0.5), figure("p99", 0.99)];
        if let Some((_, p50, p99)) = BARS.into_iter().find(|bar| bar.0 == rate) {
            let [middle, high] = shares;
            shares = [middle.at_most(p50), high.at_most(p99)];
        }
        figures.extend(shares);
        figures.extend([figure("p99.9", 0.999), figure("longest", 1.0)]);
        let costs: Vec<CostsEach> = runs.iter().map(|run| run.costs).collect();
        figures.extend(cost_figures(&costs));
    }
    Ok(figures)
}

/// The figures of one run.
struct Run {
    /// In milliseconds.
    latencies: Vec<f64>,
    costs: CostsEach,
}

/// Runs at every rate in turn, so that a machine whose speed drifts is fair to all.
async fn measure(options: &Options) -> anyhow::Result<Vec<(u64, Vec<Run>)>> {
    let highest = options.rates.iter().copied().max().unwrap_or_default();
    let cold = COLD_SECONDS * highest;
    let each = |rate: u64| (WARM_UP_SECONDS + options.seconds) * rate;
    let round: u64 = options.rates.iter().copied().map(each).sum();
    let total = cold + round * options.runs as u64;
    let arrivals = Arrivals::of(total);
    let receiver = arrivals.receiver()?;
    let deployment = Deployment::create(options).await?;
    let process = deployment.serve("detect,deliver,api").await?;
    deployment.register(&process, &receiver, options.webhooks).await?;
    let stage = Stage {
        deployment: &deployment,
        process: &process,
        receiver: &receiver,
        arrivals: &arrivals,
        sites: options.webhooks.into(),
    };
    stage.run(highest, 0, cold, 0).await?;
    let mut runs: Vec<(u64, Vec<Run>)> = options.rates.iter().map(|rate| (*rate, Vec::new())).collect();
    let mut first = cold;
    for number in 0..options.runs {
        for (rate, runs) in &mut runs {
            let before = deployment.costs(&process);
            let count = each(*rate);
            let latencies = stage.run(*rate, first, count, WARM_UP_SECONDS * *rate).await?;
            let costs = deployment.costs(&process).each_since(before, count);
            first += count;
            eprintln!(
                "  run {}, {rate} a second: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
                number + 1,
                percentile(&latencies, 0.5),
                percentile(&latencies, 0.99),
                percentile(&latencies, 0.999)
            );
            runs.push(Run { latencies, costs });
        }
    }
    deployment.finish(process, total).await?;
    Ok(runs)
}

/// A deployment whose webhooks all lead to one receiver.
pub struct Stage<'a> {
    pub deployment: &'a Deployment,
    pub process: &'a Process,
    pub receiver: &'a Receiver,
    pub arrivals: &'a Arrivals,
    /// Sites with a webhook.
    pub sites: u64,
}

impl Stage<'_> {
    /// Publishes `count` events from number `first` on, waits until all are recorded, and returns
    /// the milliseconds from schedule to arrival of all but the first `warm_up`.
    pub async fn run(&self, rate: u64, first: u64, count: u64, warm_up: u64) -> anyhow::Result<Vec<f64>> {
        let load = Load {
            source: self.deployment.source.clone(),
            sites: 0..self.sites,
            rate,
        };
        let numbers = first..first + count;
        let publishing = load.publish(numbers.clone(), self.arrivals.clock());
        self.deployment
            .all_recorded(self.process, self.receiver, numbers.end, numbers.end)
            .await?;
        self.arrivals
            .latencies(publishing.end()?, first + warm_up..numbers.end)
    }
}
