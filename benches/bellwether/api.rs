//! Part `api`: calls of the API over a webhook with a long history, beside deliveries, and the
//! deliveries without and beside them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bellwether::domain::id::WebhookId;
use serde_json::Value;

use super::arrivals::Arrivals;
use super::deployment::{Deployment, Process};
use super::latency::Stage;
use super::options::Options;
use super::report::{Figure, across};
use super::stats::percentile;
use super::{events, kafka};

const HISTORY: &str = include_str!("history.sql");
/// Days that the history is spread over.
const DAYS: i32 = 29;
/// Rows that one statement makes.
const BATCH: u64 = 500_000;
/// Clients that call the API at the same time.
const CLIENTS: u64 = 4;
/// Calls a second, of all clients together: twice what a token may make by default.
const CALLS_PER_SECOND: u64 = 40;
/// Events a second.
const RATE: u64 = 200;
/// Seconds of each run that do not count.
const WARM_UP_SECONDS: u64 = 3;
/// Seconds before the first run.
const COLD_SECONDS: u64 = 20;

/// The figures of one run, in milliseconds.
struct Run {
    alone: Vec<f64>,
    beside: Vec<f64>,
    answers: Vec<f64>,
}

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let runs = kafka::runtime()?.block_on(measure(options))?;
    let p99 = |of: fn(&Run) -> &Vec<f64>, share: f64| across(&runs, |run| percentile(of(run), share));
    let ratio = |share: f64| {
        across(&runs, |run| {
            percentile(&run.beside, share) / percentile(&run.alone, share)
        })
    };
    Ok(vec![
        Figure::new(
            "API answer beside deliveries, p50",
            "ms",
            p99(|run| &run.answers, 0.5),
        ),
        Figure::new(
            "API answer beside deliveries, p99",
            "ms",
            p99(|run| &run.answers, 0.99),
        )
        .at_most(50.0),
        Figure::new("delivery alone, p50", "ms", p99(|run| &run.alone, 0.5)),
        Figure::new(
            "delivery beside API calls, p50",
            "ms",
            p99(|run| &run.beside, 0.5),
        ),
        Figure::new("p50 beside / alone", "", ratio(0.5)).at_most(2.0),
        Figure::new("delivery alone, p99", "ms", p99(|run| &run.alone, 0.99)),
        Figure::new(
            "delivery beside API calls, p99",
            "ms",
            p99(|run| &run.beside, 0.99),
        ),
        Figure::new("p99 beside / alone", "", ratio(0.99)).at_most(2.0),
        Figure::new("rows of history", "", vec![options.history as f64]),
    ])
}

async fn measure(options: &Options) -> anyhow::Result<Vec<Run>> {
    let each = (WARM_UP_SECONDS + options.seconds) * RATE;
    let cold = COLD_SECONDS * RATE;
    let total = cold + 2 * each * options.runs as u64;
    let arrivals = Arrivals::of(total);
    let receiver = arrivals.receiver()?;
    let deployment = Deployment::create(options).await?;
    let process = deployment.serve("detect,deliver,api").await?;
    let webhooks = deployment.register(&process, &receiver, options.webhooks).await?;
    let webhook = *webhooks.first().context("a webhook")?;
    fill(&deployment, webhook, options.history).await?;
    let calls = calls_over(&deployment, &process, webhook).await?;
    let stage = Stage {
        deployment: &deployment,
        process: &process,
        receiver: &receiver,
        arrivals: &arrivals,
        sites: options.webhooks.into(),
    };
    stage.run(RATE, 0, cold, 0).await?;
    let mut runs = Vec::new();
    for number in 0..options.runs as u64 {
        let first = cold + 2 * number * each;
        let warm_up = WARM_UP_SECONDS * RATE;
        let alone = stage.run(RATE, first, each, warm_up).await?;
        let count = CALLS_PER_SECOND / CLIENTS * (WARM_UP_SECONDS + options.seconds);
        let clients = (0..CLIENTS).map(|client| client_of(&deployment, &process, &calls, client, count));
        let (beside, answers) = tokio::join!(
            stage.run(RATE, first + each, each, warm_up),
            futures_util::future::try_join_all(clients),
        );
        let run = Run {
            alone,
            beside: beside?,
            answers: answers?.concat(),
        };
        eprintln!(
            "  run {}: answers p99 {:.1} ms, deliveries p99 {:.1} ms alone, {:.1} ms beside",
            number + 1,
            percentile(&run.answers, 0.99),
            percentile(&run.alone, 0.99),
            percentile(&run.beside, 0.99),
        );
        runs.push(run);
    }
    deployment.remove(process).await?;
    Ok(runs)
}

/// Makes the history, and the statistics by which Postgres plans.
async fn fill(deployment: &Deployment, webhook: WebhookId, rows: u64) -> anyhow::Result<()> {
    let mut conn = deployment.pool.acquire().await?;
    sqlx::raw_sql(HISTORY).execute(&mut *conn).await?;
    let begun = Instant::now();
    for first in (1..=rows).step_by(usize::try_from(BATCH)?) {
        let last = (first + BATCH - 1).min(rows);
        sqlx::query("select pg_temp.fill_history($1, $2, $3, $4, $5, $6, 10)")
            .bind(webhook.uuid())
            .bind(events::site_id(0))
            .bind(i64::try_from(first)?)
            .bind(i64::try_from(last)?)
            .bind(i64::try_from(rows)?)
            .bind(DAYS)
            .execute(&mut *conn)
            .await?;
        eprintln!(
            "  {last} rows of history after {:.0} s",
            begun.elapsed().as_secs_f64()
        );
    }
    for table in ["deliveries", "delivery_attempts"] {
        sqlx::raw_sql(&format!("vacuum analyze {table}"))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// The calls that read: the history with every kind of filter and from every place, one delivery,
/// the site and its past.
async fn calls_over(
    deployment: &Deployment,
    process: &Process,
    webhook: WebhookId,
) -> anyhow::Result<Arc<[String]>> {
    let site = format!("/api/sites/{}", events::site_id(0));
    let list = format!("{site}/webhooks/{webhook}/deliveries");
    let (_, body) = deployment
        .get(process, &format!("{list}?status=failed&limit=250"))
        .await?;
    let page: Value = serde_json::from_str(&body)?;
    let next = page["next"].as_str().context("a second page")?;
    let one = page["data"][0]["id"].as_str().context("a delivery")?;
    let since = "2020-01-01T00:00:00Z";
    Ok([
        list.clone(),
        format!("{list}?limit=250"),
        format!("{list}?after={next}&limit=250"),
        format!("{list}?status=undelivered"),
        format!("{list}?status=failed&after={next}"),
        format!("{list}?status=pending"),
        format!("{list}?event=visitor_spike&limit=250"),
        format!("{list}?event=visitor_spike,custom_event&status=cancelled"),
        format!("{list}?event=test"),
        format!("{list}?since={since}&status=delivered"),
        format!("{list}/{one}"),
        format!("{site}/webhooks"),
        format!("{site}/webhooks/{webhook}"),
        site.clone(),
        format!("{site}/status"),
        format!("{site}/alerts"),
        format!("{site}/activity"),
        "/api/sites".to_owned(),
    ]
    .into())
}

/// Makes `count` calls on a schedule, and returns the time of each answer from its place in the
/// schedule.
async fn client_of(
    deployment: &Deployment,
    process: &Process,
    calls: &[String],
    client: u64,
    count: u64,
) -> anyhow::Result<Vec<f64>> {
    let pause = Duration::from_millis(1_000 * CLIENTS / CALLS_PER_SECOND);
    let begun = Instant::now() + pause.mul_f64(client as f64 / CLIENTS as f64);
    let mut times = Vec::new();
    for number in 0..count {
        let due = begun + pause * u32::try_from(number)?;
        tokio::time::sleep_until(due.into()).await;
        let call = &calls[usize::try_from(number * CLIENTS + client)? % calls.len()];
        let (status, body) = deployment.get(process, call).await?;
        anyhow::ensure!(status == 200, "{call}: {status} {body}");
        times.push(due.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
