//! Part `flow`: events in, recorded deliveries out, at full speed.
//!
//! The number of events in flight is bounded: each request that arrives lets one more event be
//! published.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::deployment::Deployment;
use super::drain::{Run, figures};
use super::kafka;
use super::options::Options;
use super::receiver::Receiver;
use super::report::Figure;

/// Runs that come first and are not counted: Kafka's JVM compiles while it runs, so that the first
/// has a third of the speed of the third.
const WARM_UP_RUNS: usize = 2;

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let runtime = kafka::runtime()?;
    let mut runs = Vec::new();
    for number in 0..WARM_UP_RUNS + options.runs {
        let run = runtime.block_on(flow(options))?;
        eprintln!("  run {number}: {:.0} deliveries/s", run.per_second);
        runs.push(run);
    }
    Ok(figures(&runs[WARM_UP_RUNS..], 4_500.0).into())
}

async fn flow(options: &Options) -> anyhow::Result<Run> {
    let deployment = Deployment::create(options).await?;
    let receiver = Arc::new(Receiver::start(|_| true)?);
    let process = deployment.serve("detect,deliver,api").await?;
    deployment.register(&process, &receiver, options.webhooks).await?;

    let (begun, before) = (Instant::now(), deployment.costs(&process));
    let publisher = {
        let (options, receiver, source) = (options.clone(), Arc::clone(&receiver), deployment.source.clone());
        std::thread::spawn(move || publish(&options, &receiver, &source))
    };
    deployment
        .all_recorded(&process, &receiver, options.goals, options.goals)
        .await?;
    let per_second = options.goals as f64 / begun.elapsed().as_secs_f64();
    let costs = deployment.costs(&process).each_since(before, options.goals);
    anyhow::ensure!(matches!(publisher.join(), Ok(Ok(()))), "publishing failed");
    deployment.finish(process, options.goals).await?;
    Ok(Run { per_second, costs })
}

fn publish(options: &Options, receiver: &Receiver, source: &str) -> anyhow::Result<()> {
    let producer = kafka::Producer::new(Duration::from_millis(1))?;
    for number in 0..options.goals {
        while number >= receiver.received() + options.window {
            std::thread::sleep(Duration::from_millis(1));
        }
        let site = number % u64::from(options.webhooks);
        producer.send_goal(source, site, number)?;
    }
    producer.flush()
}
