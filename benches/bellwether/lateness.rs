//! Part `lateness`: time from a retry's due time to the arrival of its request, on the 1 s tier of
//! an idle system.
//!
//! The due time is that recorded for the second attempt; the arrival is seen by the receiver.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bellwether::domain::id::DeliveryId;
use chrono::{DateTime, Utc};

use super::deployment::Deployment;
use super::kafka;
use super::options::Options;
use super::receiver::Receiver;
use super::report::{Figure, across};
use super::stats::percentile;

/// Deliveries a second: few enough to leave the system idle.
const RATE: u32 = 50;

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let runs = kafka::runtime()?.block_on(measure(options))?;
    let share = |share: f64| across(&runs, |lateness| percentile(lateness, share));
    let early = across(&runs, |lateness| {
        lateness.iter().filter(|ms| **ms < 0.0).count() as f64
    });
    Ok(vec![
        Figure::new("p50", "ms", share(0.5)),
        Figure::new("p99", "ms", share(0.99)).at_most(10.0),
        Figure::new("longest", "ms", share(1.0)),
        Figure::new(format!("early, of {}", options.retries), "requests", early).at_most(0.0),
    ])
}

/// Measures the lateness of every second attempt, in milliseconds, for each run.
async fn measure(options: &Options) -> anyhow::Result<Vec<Vec<f64>>> {
    let arrivals = Arc::<Mutex<HashMap<String, DateTime<Utc>>>>::default();
    let recorded = Arc::clone(&arrivals);
    let receiver = Receiver::start(move |request| {
        if request.header("x-webhook-attempt") == Some("1") {
            return false;
        }
        let delivery = request
            .header("x-webhook-delivery")
            .unwrap_or_default()
            .to_owned();
        let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.insert(delivery, SystemTime::now().into());
        true
    })?;
    let deployment = Deployment::create(options).await?;
    let process = deployment.serve("detect,deliver,api").await?;
    deployment.register(&process, &receiver, options.webhooks).await?;
    let producer = kafka::Producer::new(Duration::ZERO)?;
    let mut runs = Vec::new();
    for run in 0..options.runs as u64 {
        let first = run * options.retries;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
        for number in first..first + options.retries {
            ticks.tick().await;
            let site = number % u64::from(options.webhooks);
            producer.send_goal(&deployment.source, site, number)?;
        }
        let so_far = first + options.retries;
        deployment
            .all_recorded(&process, &receiver, 2 * so_far, so_far)
            .await?;
        let due: Vec<(uuid::Uuid, DateTime<Utc>)> =
            sqlx::query_as("select delivery_id, due_at from delivery_attempts where attempt = 2")
                .fetch_all(&deployment.pool)
                .await?;
        let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let lateness = due
            .into_iter()
            .filter_map(|(id, due)| {
                let arrival = arrivals.remove(&DeliveryId::from_uuid(id).to_string())?;
                Some((arrival - due).num_microseconds().map(|us| us as f64 / 1e3))
            })
            .collect::<Option<Vec<f64>>>()
            .context("a time out of range")?;
        anyhow::ensure!(
            lateness.len() as u64 == options.retries,
            "{} of {} retries are known",
            lateness.len(),
            options.retries
        );
        eprintln!(
            "  run {}: p50 {:.1} ms, p99 {:.1} ms",
            run + 1,
            percentile(&lateness, 0.5),
            percentile(&lateness, 0.99)
        );
        runs.push(lateness);
    }
    let total = options.retries * options.runs as u64;
    deployment.finish(process, total).await?;
    Ok(runs)
}
