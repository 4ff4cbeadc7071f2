//! `kafka.instance_id`: where Postgres does not learn that a connection is dead, and where processes
//! come and go as planned.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::producer::FutureProducer;
use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::faults::Wire;
use crate::support::receiver::{Answer, Receiver};
use crate::support::{eventually, kafka};

const TIMEOUT: Duration = Duration::from_secs(40);

/// A deployment whose processes have one name and reach Postgres by a wire, and one of them with a
/// webhook.
async fn named(wire: &Wire, receiver: &Receiver) -> (Deployment, Process) {
    let mut deployment = Deployment::create(&[("kafka.instance_id", "one")]).await;
    let direct = deployment.database.url.clone();
    deployment.set("postgres.url", &wire.url(&direct));
    let process = deployment.serve(&[]).await;
    deployment
        .goal_webhook(&process, "hook.example", &receiver.url("hook"))
        .await;
    deployment.registry_is_read(&process).await;
    (deployment, process)
}

/// Sessions that hold the lock of a name in the deployment's database.
async fn holders(deployment: &Deployment) -> Vec<i32> {
    let sql = "select pid from pg_locks join pg_database here on here.oid = database
               where datname = current_database() and locktype = 'advisory' and classid = 1650814060::int4::oid";
    sqlx::query_scalar(sql)
        .fetch_all(&deployment.database.pool)
        .await
        .unwrap()
}

/// Ends what passes between a process and Postgres, without telling either of them.
async fn forsake(wire: &Wire, process: &Process) {
    wire.silence();
    eventually("the process hears nothing", TIMEOUT, || async {
        let (_, answer) = process.readyz().await?;
        (answer["checks"]["postgres"] != "ok").then_some(())
    })
    .await;
}

async fn is_notified(deployment: &Deployment, receiver: &Receiver, count: usize) {
    let event = json!({"site_id": "hook.example", "type": "goal", "name": format!("goal {count}")});
    deployment.publish(event).await;
    receiver.wait_for("hook", count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_process_on_a_dead_machine_is_free() {
    let (wire, receiver) = (Wire::to_postgres().await, Receiver::start().await);
    let (deployment, process) = named(&wire, &receiver).await;
    is_notified(&deployment, &receiver, 1).await;
    let before = holders(&deployment).await;
    // Nobody tells Postgres that the process is gone.
    forsake(&wire, &process).await;
    process.kill();
    wire.mend();
    assert_eq!(holders(&deployment).await, before, "Postgres knows nothing");
    let _process = deployment.serve(&[]).await;
    is_notified(&deployment, &receiver, 2).await;
    assert_ne!(holders(&deployment).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_takes_its_name_from_its_own_dead_connection() {
    let (wire, receiver) = (Wire::to_postgres().await, Receiver::start().await);
    let (deployment, process) = named(&wire, &receiver).await;
    let before = holders(&deployment).await;
    assert_eq!(before.len(), 1);
    forsake(&wire, &process).await;
    wire.mend();
    let after = eventually("another session has the name", TIMEOUT, || async {
        let after = holders(&deployment).await;
        (after.len() == 1 && after != before).then_some(after)
    })
    .await;
    is_notified(&deployment, &receiver, 1).await;
    // It is still the only one.
    let refused = deployment.refused(&[]).await;
    assert!(
        refused.contains("another process runs under the name"),
        "{refused}"
    );
    assert_eq!(holders(&deployment).await, after);
    assert!(
        process.log_text().contains("whose process is gone"),
        "the log says what was done"
    );
}

/// Starts a process under a name.
async fn serve_as(deployment: &mut Deployment, name: &str) -> Process {
    deployment.set("kafka.instance_id", name);
    deployment.serve(&[]).await
}

async fn holds(process: &Process, partitions: f64) {
    let series = "bellwether_consumer_partitions{group=\"deliver\"}";
    process.metric_is(series, partitions).await;
}

/// Publishes goals to a source until told to stop. Returns their number.
async fn publish(producer: FutureProducer, source: String, stop: &AtomicBool) -> usize {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let site = format!("{}.example", number % 4);
        let goal = json!({"site_id": site, "type": "goal", "name": format!("goal {number}")});
        kafka::publish(&producer, &source, &site, goal.to_string()).await;
        number += 1;
        // The pace of the load.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    number
}

/// Lets a process stop as planned.
async fn stop_process(mut process: Process) {
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_processes_that_come_and_go_lose_and_repeat_nothing() {
    let mut deployment = Deployment::create(&[]).await;
    let receiver = Receiver::start().await;
    let first = serve_as(&mut deployment, "first").await;
    for site in 0..4 {
        receiver.answer(&format!("hook-{site}"), |_| {
            Answer::status(200).after(Duration::from_millis(300))
        });
        let url = receiver.url(&format!("hook-{site}"));
        deployment
            .goal_webhook(&first, &format!("{site}.example"), &url)
            .await;
    }
    deployment.registry_is_read(&first).await;
    holds(&first, 4.0).await;
    let stop = AtomicBool::new(false);
    let publishing = publish(deployment.producer.clone(), deployment.source.clone(), &stop);
    let changing = async {
        let second = serve_as(&mut deployment, "second").await;
        holds(&first, 2.0).await;
        holds(&second, 2.0).await;
        stop_process(first).await;
        holds(&second, 4.0).await;
        stop_process(second).await;
        // The same name again, after a planned stop.
        let again = serve_as(&mut deployment, "second").await;
        holds(&again, 4.0).await;
        stop.store(true, Ordering::SeqCst);
        again
    };
    let (last, published) = tokio::join!(changing, publishing);
    let all = "select count(*) filter (where status = 'delivered'), count(*) filter (where attempts <> 1) from deliveries";
    let retried = eventually("all are delivered", TIMEOUT, || async {
        let (delivered, retried): (i64, i64) = sqlx::query_as(all)
            .fetch_one(&deployment.database.pool)
            .await
            .unwrap();
        (delivered == published as i64).then_some(retried)
    })
    .await;
    stop_process(last).await;
    let mut times: HashMap<String, usize> = HashMap::new();
    for one in receiver.all() {
        *times
            .entry(one.header("x-webhook-delivery").to_owned())
            .or_default() += 1;
    }
    times.retain(|_, times| *times > 1);
    assert_eq!((retried, times), (0, HashMap::new()));
    assert_eq!(receiver.all().len(), published);
    let flagged: i64 = sqlx::query_scalar("select count(*) from delivery_attempts where possible_repeat")
        .fetch_one(&deployment.database.pool)
        .await
        .unwrap();
    assert_eq!(flagged, 0);
}
