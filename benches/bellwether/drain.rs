//! Part `drain`: a filled topic of deliveries, sent to a receiver and recorded in Postgres with
//! fsync, everything on this machine.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bellwether::clock;
use bellwether::dispatch::record::DeliveryRecord;
use bellwether::domain::delivery::Origin;
use bellwether::domain::event::EventType;
use bellwether::domain::id::{DeliveryId, NotificationId, NotificationKind, WebhookId};
use bellwether::domain::time::from_ms;
use rdkafka::message::{Header, OwnedHeaders};

use super::deployment::{CostsEach, Deployment, eventually};
use super::options::Options;
use super::receiver::Receiver;
use super::report::{Figure, across};
use super::{events, kafka};

/// The figures of one run.
pub struct Run {
    pub per_second: f64,
    pub costs: CostsEach,
}

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let runtime = kafka::runtime()?;
    let mut runs = Vec::new();
    for number in 0..options.runs {
        let run = runtime.block_on(drain(options))?;
        eprintln!("  run {}: {:.0} deliveries/s", number + 1, run.per_second);
        runs.push(run);
    }
    let [sent, service, others @ ..] = figures(&runs, 9_000.0);
    let mut figures = vec![sent, service.at_most(85.0)];
    figures.extend(others);
    Ok(figures)
}

/// Figures of runs that send and record.
pub fn figures(runs: &[Run], bar: f64) -> [Figure; 5] {
    let per_second = across(runs, |run| run.per_second);
    let costs: Vec<CostsEach> = runs.iter().map(|run| run.costs).collect();
    let sent = Figure::new("sent and recorded", "deliveries/s", per_second).at_least(bar);
    let [service, kafka, postgres, receiver] = cost_figures(&costs);
    [sent, service, kafka, postgres, receiver]
}

/// Figures of the processor time of a delivery, by process.
pub fn cost_figures(runs: &[CostsEach]) -> [Figure; 4] {
    let figure = |name: &str, of: fn(&CostsEach) -> f64| {
        Figure::new(format!("CPU a delivery: {name}"), "µs", across(runs, of))
    };
    [
        figure("the service", |costs| costs.service),
        figure("Kafka", |costs| costs.kafka),
        figure("Postgres", |costs| costs.postgres),
        figure("receiver and load", |costs| costs.receiver),
    ]
}

async fn drain(options: &Options) -> anyhow::Result<Run> {
    let deployment = Deployment::create(options).await?;
    let receiver = Receiver::start(|_| true)?;
    let api = deployment.serve("api").await?;
    let webhooks = deployment.register(&api, &receiver, options.webhooks).await?;
    drop(api);
    fill(&deployment, &webhooks, options.deliveries)?;

    let process = deployment.spawn("deliver")?;
    eventually(&process, async || (receiver.received() > 0).then_some(())).await?;
    let (begun, before, already) = (Instant::now(), deployment.costs(&process), receiver.received());
    deployment
        .all_recorded(&process, &receiver, options.deliveries, options.deliveries)
        .await?;
    let count = options.deliveries - already;
    let per_second = count as f64 / begun.elapsed().as_secs_f64();
    let costs = deployment.costs(&process).each_since(before, count);
    deployment.finish(process, options.deliveries).await?;
    Ok(Run { per_second, costs })
}

/// Publishes delivery records as a detector would.
fn fill(deployment: &Deployment, webhooks: &[WebhookId], deliveries: u64) -> anyhow::Result<()> {
    let producer = kafka::Producer::new(Duration::from_millis(20))?;
    let topic = deployment.topic("deliveries");
    let now_ms = clock::now_ms();
    for number in 0..deliveries {
        let place = usize::try_from(number)? % webhooks.len();
        let site = events::site_id(place as u64);
        let event = EventType::GoalCompletion;
        let key = number.to_be_bytes();
        let notification =
            NotificationId::derive(now_ms, &site, event.as_str(), NotificationKind::Each, &[&key]);
        let webhook = *webhooks.get(place).context("a webhook")?;
        let body = format!(
            r#"{{"id":"{notification}","event":"goal_completion","site_id":"{site}","timestamp":"{}","data":{{"goal_name":"Signup","visitor_count":1,"path":"/n/{number}"}}}}"#,
            from_ms(now_ms).format("%Y-%m-%dT%H:%M:%SZ"),
        );
        let record = DeliveryRecord {
            delivery_id: DeliveryId::derive(notification, webhook),
            notification_id: notification,
            webhook_id: webhook,
            site_id: site.parse()?,
            event_type: event,
            created_at_ms: now_ms,
            origin: Origin::Event,
            resend_of: None,
            step: 0,
            attempt: 1,
            due_at_ms: None,
            first_attempt_at_ms: None,
            reason: None,
            last_status: None,
            body: body.into(),
        };
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers() {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        producer.send(&topic, record.key().as_bytes(), &record.body, Some(headers))?;
    }
    producer.flush()
}
