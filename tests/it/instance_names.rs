//! `kafka.instance_id` where Postgres does not learn that a connection is dead.

use std::time::Duration;

use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::faults::Wire;
use crate::support::receiver::Receiver;

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
