//! Part `neighbours`: the latency of healthy endpoints, alone and beside endpoints that hang, drip,
//! refuse or fail.
//!
//! Each run has a deployment of its own: what waits for a bad endpoint would otherwise be tried again
//! while the healthy ones are measured alone.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::arrivals::{Arrivals, Load};
use super::deployment::{Deployment, Process, eventually};
use super::kafka;
use super::options::Options;
use super::receiver::Receiver;
use super::report::{Figure, across};
use super::stats::percentile;

/// Seconds before the first measurement, not counted.
const WARM_UP_SECONDS: u64 = 10;
/// First number of the events of bad endpoints, far above every number that is waited for.
const BAD_NUMBERS: u64 = 1_000_000_000;

/// Healthy endpoints, bad ones, and the events a second of both.
#[derive(Debug, Clone, Copy)]
struct Mix {
    name: &'static str,
    healthy: u64,
    healthy_rate: u64,
    bad: &'static [Bad],
    bad_rate: u64,
    /// Seconds beside the bad ones.
    seconds: u64,
}

// At most 9 a second for each webhook: above 600 a minute it gets a summary instead.
const HUNG: Mix = Mix {
    name: "one beside one that hangs",
    healthy: 1,
    healthy_rate: 9,
    bad: &[Bad::Hangs],
    bad_rate: 9,
    seconds: 70,
};

const HUNDRED: Mix = Mix {
    name: "96 beside 4 that are bad",
    healthy: 96,
    healthy_rate: 192,
    bad: &[Bad::Hangs, Bad::Drips, Bad::Refuses, Bad::Fails],
    bad_rate: 8,
    seconds: 30,
};

/// An endpoint's fault.
#[derive(Debug, Clone, Copy)]
enum Bad {
    /// Accepts, and never answers.
    Hangs,
    /// Answers with one byte a second.
    Drips,
    /// Accepts no connection.
    Refuses,
    /// Answers 500.
    Fails,
}

/// The 99th percentile of the healthy endpoints, in milliseconds.
struct Run {
    alone: f64,
    beside: f64,
}

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let runtime = kafka::runtime()?;
    let mut figures = Vec::new();
    for mix in [HUNG, HUNDRED] {
        let mut runs = Vec::new();
        for number in 0..options.runs {
            let run = runtime.block_on(measure(options, mix))?;
            eprintln!(
                "  {}, run {}: p99 {:.1} ms alone, {:.1} ms beside",
                mix.name,
                number + 1,
                run.alone,
                run.beside
            );
            runs.push(run);
        }
        let figure = |name: &str, unit, of: fn(&Run) -> f64| {
            Figure::new(format!("{}: {name}", mix.name), unit, across(&runs, of))
        };
        figures.push(figure("p99 alone", "ms", |run| run.alone));
        figures.push(figure("p99 beside", "ms", |run| run.beside));
        figures.push(match mix.bad {
            [_] => figure("beside / alone", "ratio", |run| run.beside / run.alone).at_most(2.0),
            // A twentieth more, or 5 ms where that is more.
            _ => figure("more, of what is allowed", "ratio", |run| {
                (run.beside - run.alone) / (run.alone / 20.0).max(5.0)
            })
            .at_most(1.0),
        });
    }
    Ok(figures)
}

async fn measure(options: &Options, mix: Mix) -> anyhow::Result<Run> {
    let alone = WARM_UP_SECONDS * mix.healthy_rate..(WARM_UP_SECONDS + mix.seconds) * mix.healthy_rate;
    let beside = alone.end..alone.end + mix.seconds * mix.healthy_rate;
    let arrivals = Arrivals::of(beside.end);
    let receiver = arrivals.receiver()?;
    let failing = Receiver::start(|_| false)?;
    let deployment = Deployment::create(options).await?;
    let process = deployment.serve("detect,deliver,api").await?;
    for site in 0..mix.healthy {
        let url = receiver.url(u32::try_from(site)?);
        deployment.webhook_for_goals(&process, site, &url).await?;
    }
    let mut guards = Vec::new();
    for (bad, site) in mix.bad.iter().zip(mix.healthy..) {
        let address = match bad {
            Bad::Hangs | Bad::Drips => {
                let (address, guard) = listen(matches!(bad, Bad::Drips)).await?;
                guards.push(guard);
                address
            }
            Bad::Refuses => TcpListener::bind("127.0.0.1:0").await?.local_addr()?,
            Bad::Fails => SocketAddr::from(([127, 0, 0, 1], failing.port)),
        };
        // A host of its own, as the healthy ones have.
        let url = format!("http://127.1.0.{}:{}/hook", site % 250 + 1, address.port());
        deployment.webhook_for_goals(&process, site, &url).await?;
    }
    deployment.follows(&process).await?;

    let healthy = |numbers: Range<u64>| {
        Load {
            source: deployment.source.clone(),
            sites: 0..mix.healthy,
            rate: mix.healthy_rate,
        }
        .publish(numbers, arrivals.clock())
    };
    let warm_up = healthy(0..alone.start);
    arrived(&process, &arrivals, 0..alone.start).await?;
    warm_up.end()?;
    let publishing = healthy(alone.clone());
    arrived(&process, &arrivals, alone.clone()).await?;
    let alone = arrivals.latencies(publishing.end()?, alone)?;

    let bad = Load {
        source: deployment.source.clone(),
        sites: mix.healthy..mix.healthy + mix.bad.len() as u64,
        rate: mix.bad_rate,
    };
    let publishing = healthy(beside.clone());
    let disturbing = bad.publish(
        BAD_NUMBERS..BAD_NUMBERS + mix.seconds * mix.bad_rate,
        arrivals.clock(),
    );
    arrived(&process, &arrivals, beside.clone()).await?;
    let beside = arrivals.latencies(publishing.end()?, beside)?;
    disturbing.end()?;
    deployment.remove(process).await?;
    Ok(Run {
        alone: percentile(&alone, 0.99),
        beside: percentile(&beside, 0.99),
    })
}

/// Waits until all these events have arrived.
async fn arrived(process: &Process, arrivals: &Arrivals, numbers: Range<u64>) -> anyhow::Result<()> {
    eventually(process, async || arrivals.have_all(numbers.clone()).then_some(())).await
}

/// Listens until the guard is dropped; answers with one byte a second, or never.
async fn listen(drips: bool) -> anyhow::Result<(SocketAddr, DropGuard)> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let until = stop.clone();
    tokio::spawn(until.run_until_cancelled_owned(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if drips {
                tokio::spawn(async move {
                    for byte in b"HTTP/1.1 200 OK\r\nserver: slow".chunks(1).cycle() {
                        if stream.write_all(byte).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                });
            } else {
                held.push(stream);
            }
        }
    }));
    Ok((address, stop.drop_guard()))
}
