//! Outages of Postgres or Kafka: nothing is sent that could not be recorded, nothing is lost, and
//! the process goes on by itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::faults::Wire;
use crate::support::kafka::{self, Raw};
use crate::support::receiver::{Answer, Receiver};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Form of an outage, as the service meets it.
#[derive(Debug, Clone, Copy)]
enum Outage {
    /// Connections are refused.
    Refused,
    /// New connections are silent and so are old ones, as if a router had forgotten them.
    Silent,
}

impl Outage {
    fn begin(self, wire: &Wire) {
        match self {
            Self::Refused => wire.cut(),
            Self::Silent => wire.silence(),
        }
    }
}

/// Waits until so many deliveries have a status.
async fn recorded(deployment: &Deployment, status: &str, count: i64) {
    eventually(&format!("{count} deliveries are {status}"), TIMEOUT, || async {
        let (found,): (i64,) = sqlx::query_as("select count(*) from deliveries where status = $1")
            .bind(status)
            .fetch_one(&deployment.database.pool)
            .await
            .unwrap();
        (found == count).then_some(())
    })
    .await;
}

async fn publish_goals(deployment: &Deployment, site: &str, names: std::ops::Range<u32>) {
    for n in names {
        deployment
            .publish(json!({"site_id": site, "type": "goal", "name": format!("goal {n}")}))
            .await;
    }
}

/// Waits until `/readyz` says no because of `check`, and returns the reason.
async fn unready(process: &Process, check: &str) -> String {
    eventually(&format!("{check} makes it unready"), TIMEOUT, || async {
        let (status, answer) = process.readyz().await?;
        let reason = answer["checks"][check].as_str()?.to_owned();
        (status == StatusCode::SERVICE_UNAVAILABLE && reason != "ok").then_some(reason)
    })
    .await
}

/// Asserts that no attempt was received twice.
fn nothing_was_repeated(receiver: &Receiver) {
    let mut seen: HashMap<(String, u32), u32> = HashMap::new();
    for one in receiver.all() {
        let attempt = (one.header("x-webhook-delivery").to_owned(), one.attempt());
        *seen.entry(attempt).or_default() += 1;
    }
    seen.retain(|_, times| *times > 1);
    assert_eq!(seen, HashMap::new());
}

async fn postgres_goes_away_and_comes_back(outage: Outage) {
    let wire = Wire::to_postgres().await;
    let mut deployment = Deployment::create(&[("postgres.statement_timeout", "3s")]).await;
    deployment.set("postgres.url", &wire.url(&deployment.database.url));
    let mut process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("slow", |_| Answer::status(200).after(Duration::from_secs(2)));
    for name in ["slow", "hook"] {
        deployment
            .goal_webhook(&process, &format!("{name}.example"), &receiver.url(name))
            .await;
    }
    deployment.registry_is_read(&process).await;
    publish_goals(&deployment, "hook.example", 0..1).await;
    recorded(&deployment, "delivered", 1).await;
    publish_goals(&deployment, "slow.example", 0..1).await;
    receiver.wait_for("slow", 1).await;

    outage.begin(&wire);
    publish_goals(&deployment, "hook.example", 1..6).await;
    let reason = unready(&process, "postgres").await;
    assert!(!reason.is_empty());
    // The new ones have been read, and Postgres was asked about them without an answer.
    let known = "bellwether_postgres_errors_total{kind=\"timeout\",op=\"known\"}";
    let known_too = "bellwether_postgres_errors_total{kind=\"connection\",op=\"known\"}";
    eventually("what is known of the new ones was asked", TIMEOUT, || async {
        let errors = process.metric(known).await + process.metric(known_too).await;
        (errors > 0.0).then_some(())
    })
    .await;
    assert_eq!(receiver.received("hook").len(), 1, "{outage:?}");
    assert_eq!(process.metric("bellwether_postgres_up").await, 0.0);
    // It is alive nevertheless: a restart would not help.
    assert!(deployment_is_alive(&process).await);

    wire.mend();
    recorded(&deployment, "delivered", 7).await;
    process.ready().await;
    nothing_was_repeated(&receiver);
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
}

async fn deployment_is_alive(process: &Process) -> bool {
    let url = format!("{}/healthz", process.admin);
    let response = crate::support::http().get(url).send().await.unwrap();
    response.status() == StatusCode::OK
}

#[tokio::test]
async fn while_postgres_refuses_nothing_is_sent_and_nothing_is_lost() {
    postgres_goes_away_and_comes_back(Outage::Refused).await;
}

#[tokio::test]
async fn while_postgres_is_silent_nothing_is_sent_and_nothing_is_lost() {
    postgres_goes_away_and_comes_back(Outage::Silent).await;
}

async fn kafka_goes_away_and_comes_back(outage: Outage) {
    let wire = Wire::to_kafka().await;
    let mut deployment = Deployment::create(&[]).await;
    deployment.set("kafka.brokers", &wire.address());
    let mut process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("slow", |attempt| {
        Answer::status(if attempt < 2 { 500 } else { 200 }).after(Duration::from_secs(2))
    });
    for name in ["slow", "hook"] {
        deployment
            .goal_webhook(&process, &format!("{name}.example"), &receiver.url(name))
            .await;
    }
    deployment.registry_is_read(&process).await;
    publish_goals(&deployment, "hook.example", 0..1).await;
    recorded(&deployment, "delivered", 1).await;
    publish_goals(&deployment, "slow.example", 0..1).await;
    receiver.wait_for("slow", 1).await;

    outage.begin(&wire);
    publish_goals(&deployment, "hook.example", 1..6).await;
    // What was in flight is recorded; its next record waits for the broker.
    recorded(&deployment, "retrying", 1).await;
    let reason = unready(&process, "kafka").await;
    assert!(!reason.is_empty());
    assert!(deployment_is_alive(&process).await);

    wire.mend();
    recorded(&deployment, "delivered", 7).await;
    process.ready().await;
    nothing_was_repeated(&receiver);
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
}

#[tokio::test]
async fn while_kafka_refuses_attempts_are_recorded_and_none_is_lost() {
    kafka_goes_away_and_comes_back(Outage::Refused).await;
}

#[tokio::test]
async fn while_kafka_is_silent_attempts_are_recorded_and_none_is_lost() {
    kafka_goes_away_and_comes_back(Outage::Silent).await;
}

/// Short time limits, so that a test of stopping need not wait for the usual ones.
const SHORT: [(&str, &str); 3] = [
    ("webhooks.timeout", "2s"),
    ("shutdown.grace", "12s"),
    ("postgres.statement_timeout", "3s"),
];

/// A deployment with short time limits whose processes reach Kafka by a wire.
async fn behind_kafka(wire: &Wire) -> Deployment {
    let mut deployment = Deployment::create(&SHORT).await;
    deployment.set("kafka.brokers", &wire.address());
    deployment
}

/// The same with Postgres.
async fn behind_postgres(wire: &Wire) -> Deployment {
    let mut deployment = Deployment::create(&SHORT).await;
    deployment.set("postgres.url", &wire.url(&deployment.database.url.clone()));
    deployment
}

/// Makes a webhook, and waits until it has had a goal.
async fn one_is_delivered(deployment: &Deployment, process: &Process) -> Receiver {
    let receiver = deployment.goal_receiver(process, "hook.example").await;
    publish_goals(deployment, "hook.example", 0..1).await;
    recorded(deployment, "delivered", 1).await;
    receiver
}

#[tokio::test]
async fn a_process_that_stops_while_kafka_is_away_ends_in_order() {
    for outage in [Outage::Refused, Outage::Silent] {
        let wire = Wire::to_kafka().await;
        let deployment = behind_kafka(&wire).await;
        let mut process = deployment.serve(&[]).await;
        let _receiver = one_is_delivered(&deployment, &process).await;
        outage.begin(&wire);
        process.terminate();
        let status = process.ended(TIMEOUT).await;
        assert!(status.success(), "{outage:?}: {status}");
    }
}

#[tokio::test]
async fn a_process_that_stops_waits_for_no_look_up_in_vain() {
    let wire = Wire::to_postgres().await;
    let deployment = behind_postgres(&wire).await;
    let mut process = deployment.serve(&[]).await;
    let receiver = one_is_delivered(&deployment, &process).await;
    wire.silence();
    // What Postgres has just answered is enough to send without a question.
    let silent_since = Instant::now();
    eventually("its last answer is too old", TIMEOUT, || async {
        (silent_since.elapsed() > Duration::from_millis(300)).then_some(())
    })
    .await;
    publish_goals(&deployment, "hook.example", 1..4).await;
    four_deliveries_are_there(&deployment).await;
    ends_before_the_grace_period_is_over(&mut process).await;
    assert_eq!(receiver.received("hook").len(), 1);
}

#[tokio::test]
async fn a_stop_long_after_kafka_went_away_waits_for_nothing() {
    for outage in [Outage::Refused, Outage::Silent] {
        let wire = Wire::to_kafka().await;
        let deployment = behind_kafka(&wire).await;
        let mut process = deployment.serve(&[]).await;
        let _receiver = one_is_delivered(&deployment, &process).await;
        outage.begin(&wire);
        unready(&process, "kafka").await;
        ends_before_the_grace_period_is_over(&mut process).await;
    }
}

#[tokio::test]
async fn a_stop_long_after_postgres_went_away_waits_for_nothing() {
    for outage in [Outage::Refused, Outage::Silent] {
        let wire = Wire::to_postgres().await;
        let deployment = behind_postgres(&wire).await;
        let mut process = deployment.serve(&[]).await;
        let receiver = one_is_delivered(&deployment, &process).await;
        outage.begin(&wire);
        unready(&process, "postgres").await;
        publish_goals(&deployment, "hook.example", 1..4).await;
        four_deliveries_are_there(&deployment).await;
        ends_before_the_grace_period_is_over(&mut process).await;
        assert_eq!(receiver.received("hook").len(), 1);
    }
}

/// Waits until four deliveries are on their topic.
async fn four_deliveries_are_there(deployment: &Deployment) {
    let topic = deployment.topic("deliveries");
    eventually("four deliveries are there", TIMEOUT, || async {
        (kafka::read_all(&topic).len() == 4).then_some(())
    })
    .await;
}

/// Tells a process to stop.
async fn ends_before_the_grace_period_is_over(process: &mut Process) {
    process.terminate();
    let told = Instant::now();
    let status = process.ended(TIMEOUT).await;
    let took = told.elapsed();
    assert!(status.success(), "{status}");
    assert!(
        took < Duration::from_secs(11),
        "{took:?}: no less than the grace period"
    );
}

/// Tells a process to stop while it waits for answers, with Postgres cut off. Each goal is of all
/// webhooks.
async fn stopped_amid_requests(
    deployment: &Deployment,
    process: &Process,
    wire: &Wire,
    webhooks: usize,
    goals: u32,
) -> Receiver {
    let receiver = Receiver::start().await;
    receiver.answer("hook", |_| Answer::status(200).after(Duration::from_secs(1)));
    for _ in 0..webhooks {
        let url = receiver.url("hook");
        deployment.goal_webhook(process, "hook.example", &url).await;
    }
    deployment.registry_is_read(process).await;
    publish_goals(deployment, "hook.example", 0..goals).await;
    receiver.wait_for("hook", webhooks).await;
    wire.cut();
    process.terminate();
    receiver
}

/// Waits until a process says that it waits for Postgres.
async fn says_what_it_waits_for(process: &Process) {
    eventually("it says what it waits for", TIMEOUT, || async {
        process
            .log_text()
            .contains("PostgreSQL, which is away, to record ")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_process_that_stops_waits_for_postgres_and_says_so() {
    let wire = Wire::to_postgres().await;
    let deployment = behind_postgres(&wire).await;
    let mut process = deployment.serve(&[]).await;
    let receiver = stopped_amid_requests(&deployment, &process, &wire, 1, 1).await;
    says_what_it_waits_for(&process).await;
    wire.mend();
    assert!(process.ended(TIMEOUT).await.success());
    recorded(&deployment, "delivered", 1).await;
    assert_eq!(receiver.received("hook").len(), 1);
}

#[tokio::test]
async fn what_is_recorded_after_all_makes_nothing_a_possible_repeat() {
    const GOALS: u32 = 200;
    let wire = Wire::to_postgres().await;
    let deployment = behind_postgres(&wire).await;
    let mut process = deployment.serve(&[]).await;
    let receiver = stopped_amid_requests(&deployment, &process, &wire, 1, GOALS).await;
    says_what_it_waits_for(&process).await;
    wire.mend();
    assert!(process.ended(TIMEOUT).await.success());
    assert!(
        receiver.received("hook").len() < GOALS as usize,
        "some were queued"
    );
    let _next = deployment.serve(&[]).await;
    recorded(&deployment, "delivered", i64::from(GOALS)).await;
    nothing_was_repeated(&receiver);
    let flagged =
        sqlx::query_scalar::<_, i64>("select count(*) from delivery_attempts where possible_repeat");
    assert_eq!(flagged.fetch_one(&deployment.database.pool).await.unwrap(), 0);
}

#[tokio::test]
async fn a_stop_amid_an_outage_leaves_nothing_to_be_sent_twice() {
    // So many that both processes have some.
    const WEBHOOKS: usize = 30;
    let wire = Wire::to_postgres().await;
    let mut deployment = behind_postgres(&wire).await;
    deployment.set("webhooks.max_per_site", "30");
    let mut process = deployment.serve(&[]).await;
    let _other = deployment.serve(&[]).await;
    process
        .metric_is("bellwether_consumer_partitions{group=\"deliver\"}", 2.0)
        .await;
    let receiver = stopped_amid_requests(&deployment, &process, &wire, WEBHOOKS, 3).await;
    says_what_it_waits_for(&process).await;
    wire.mend();
    assert!(process.ended(TIMEOUT).await.success());
    recorded(&deployment, "delivered", 3 * WEBHOOKS as i64).await;
    nothing_was_repeated(&receiver);
}

#[tokio::test]
async fn what_a_process_could_not_record_is_sent_again_and_flagged() {
    let wire = Wire::to_postgres().await;
    let mut deployment = Deployment::create(&SHORT).await;
    let direct = deployment.database.url.clone();
    deployment.set("postgres.url", &wire.url(&direct));
    let mut process = deployment.serve(&[]).await;
    let receiver = stopped_amid_requests(&deployment, &process, &wire, 1, 1).await;
    let status = process.ended(TIMEOUT).await;
    assert_eq!(status.code(), Some(1));
    assert!(process.log_text().contains("not everything could be written"));

    deployment.set("postgres.url", &direct);
    let _next = deployment.serve(&[]).await;
    recorded(&deployment, "delivered", 1).await;
    assert_eq!(receiver.received("hook").len(), 2);
    let (flagged,): (bool,) = sqlx::query_as("select possible_repeat from delivery_attempts")
        .fetch_one(&deployment.database.pool)
        .await
        .unwrap();
    assert!(flagged);
}

#[tokio::test]
async fn while_postgres_is_away_reading_from_the_tiers_is_bounded() {
    const RECORDS: usize = 20_000;
    let wire = Wire::to_postgres().await;
    let mut deployment = Deployment::create(&[]).await;
    deployment.set("postgres.url", &wire.url(&deployment.database.url));
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let webhook = deployment
        .goal_webhook(&process, "hook.example", &receiver.url("hook"))
        .await;
    wire.cut();
    unready(&process, "postgres").await;
    let (tier, id) = (deployment.topic("retry.1s"), webhook["id"].as_str().unwrap());
    // All at once, each on its own partition, due long ago.
    let publishing = (0..RECORDS).map(|n| {
        let mut record = Raw::delivery(&tier, id, "hook.example", 1)
            .with("bw-attempt", "2")
            .with("bw-due-at-ms", "1");
        record.partition = (n % 4) as i32;
        let producer = &deployment.producer;
        async move { record.publish(producer).await }
    });
    futures_util::future::join_all(publishing).await;
    // Records of four partitions that the heap may hold, and those between the heap and the query.
    let most = 4 * 2_000 + 4 * 64 + 1_024 + 1_024 + 256;
    let open = "bellwether_open_offsets{group=\"deliver\"}";
    // All are on the topic by now. (The lag would not say so: its end is that of the last fetch,
    // and nothing more is fetched.)
    eventually("the deliverer is full", TIMEOUT, || async {
        (process.metric(open).await >= 1_024.0).then_some(())
    })
    .await;
    // Looked at twice, with an update of the gauges in between: the number stays there.
    for _ in 0..2 {
        let polled = process
            .metric("bellwether_thread_busy_seconds_total{role=\"deliver\"}")
            .await;
        eventually("the thread makes a turn", TIMEOUT, || async {
            let busy = process
                .metric("bellwether_thread_busy_seconds_total{role=\"deliver\"}")
                .await;
            (busy > polled + 0.05).then_some(())
        })
        .await;
        let open = process.metric(open).await;
        assert!(
            open <= f64::from(most),
            "{open} of {RECORDS} records were read, at most {most} may be"
        );
    }
}
