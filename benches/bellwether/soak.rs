//! Part `soak`: memory of a process with all roles over an hour of goals, a tenth of whose requests
//! fail. It runs only when it is named.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::arrivals::Load;
use super::deployment::{Deployment, Process};
use super::kafka;
use super::options::Options;
use super::receiver::Receiver;
use super::report::Figure;
use super::stats::median;

/// Goals a second.
const RATE: u64 = 100;
/// Of so many requests one is answered with 500.
const FAILS: u64 = 10;
/// Pause between two readings.
const MINUTE: Duration = Duration::from_secs(60);
/// Part of the time in which connections are opened and caches filled.
const WARM_UP: usize = 6;

/// Memory of the process, in MiB.
#[derive(Debug, Clone, Copy)]
struct Reading {
    own: f64,
    all: f64,
}

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let readings = kafka::runtime()?.block_on(measure(options))?;
    let own: Vec<f64> = readings.iter().map(|one| one.own).collect();
    let all: Vec<f64> = readings.iter().map(|one| one.all).collect();
    let third = readings.len().div_ceil(3).min(readings.len() - 1);
    let growth = median(&own[2 * third..]) / median(&own[readings.len() / WARM_UP..third]);
    Ok(vec![
        Figure::new("memory of its own, each minute", "MiB", own),
        Figure::new("memory with what it maps, each minute", "MiB", all),
        Figure::new(
            "last third to the first, without its beginning",
            "ratio",
            vec![growth],
        )
        .at_most(1.1),
    ])
}

/// Measures each minute.
async fn measure(options: &Options) -> anyhow::Result<Vec<Reading>> {
    let requests = AtomicU64::new(0);
    let receiver = Receiver::start(move |_| !requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(FAILS))?;
    let deployment = Deployment::create(options).await?;
    let process = deployment.serve("detect,deliver,api").await?;
    deployment.register(&process, &receiver, options.webhooks).await?;
    let load = Load {
        source: deployment.source.clone(),
        sites: 0..options.webhooks.into(),
        rate: RATE,
    };
    let publishing = load.publish(0..RATE * MINUTE.as_secs() * options.minutes, Instant::now());
    let mut readings = Vec::new();
    for minute in 1..=options.minutes {
        tokio::time::sleep(MINUTE).await;
        let reading = read(&process);
        eprintln!(
            "  minute {minute}: {:.1} MiB of its own, {:.1} in all, {} requests",
            reading.own,
            reading.all,
            receiver.received()
        );
        readings.push(reading);
    }
    publishing.end()?;
    deployment.remove(process).await?;
    Ok(readings)
}

fn read(process: &Process) -> Reading {
    let (own, all) = process.memory();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Reading {
        own: mib(own),
        all: mib(all),
    }
}
