//! Replicas that come and go while two sources are read: every notification of an undisturbed run
//! is given, and none twice.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::detect_completeness::two_sources;
use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::receiver::Receiver;

const TIMEOUT: Duration = Duration::from_secs(90);
const SITES: u32 = 12;

fn site(n: u32) -> String {
    format!("{}.example", n % SITES)
}

/// Publishes goals of all sites to both sources until told to stop.
async fn publish(deployment: &Deployment, topics: [&str; 2], published: &AtomicU32, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let n = published.fetch_add(1, Ordering::SeqCst);
        let goal = json!({"site_id": site(n), "type": "goal", "name": format!("goal {n}"), "visitor_id": format!("v{}", n % 97)});
        deployment
            .publish_to(topics[(n / SITES % 2) as usize], goal)
            .await;
        // The pace of the load.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn holds(process: &Process, partitions: impl Fn(f64) -> bool) {
    let series = "bellwether_consumer_partitions{group=\"detect\"}";
    eventually("it holds its partitions", TIMEOUT, || async {
        partitions(process.try_metric(series).await?).then_some(())
    })
    .await;
}

async fn more_goals(published: &AtomicU32) {
    let goals = published.load(Ordering::SeqCst) + 100;
    eventually("more goals are published", TIMEOUT, || async {
        (published.load(Ordering::SeqCst) >= goals).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_three_one_replicas_give_every_notification_once() {
    let (deployment, more) = two_sources(&[]).await;
    let topics = [deployment.source.as_str(), more.as_str()];
    let receiver = Receiver::start().await;
    let first = deployment.serve(&[]).await;
    for n in 0..SITES {
        deployment
            .create_webhook(
                &first,
                &site(n),
                json!({"name": "all", "url": receiver.url("hook"), "events": ["goal_completion", "visitor_spike"],
                       "triggers": {"visitor_spike": {"threshold": 20, "window_seconds": 3600}}}),
            )
            .await;
    }
    deployment.registry_is_read(&first).await;
    let (published, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let changing = async {
        more_goals(&published).await;
        let mut second = deployment.serve(&[]).await;
        let third = deployment.serve(&[]).await;
        holds(&first, |held| held < 4.0).await;
        holds(&third, |held| held > 0.0).await;
        more_goals(&published).await;
        third.kill();
        more_goals(&published).await;
        second.terminate();
        assert!(second.ended(TIMEOUT).await.success());
        holds(&first, |held| held == 4.0).await;
        more_goals(&published).await;
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(changing, publish(&deployment, topics, &published, &stop));
    let goals = i64::from(published.load(Ordering::SeqCst));
    let count = async |event: &str| {
        let (all, distinct): (i64, i64) = sqlx::query_as(
            "select count(*), count(distinct notification_id) from deliveries \
             where event_type = $1 and status = 'delivered'",
        )
        .bind(event)
        .fetch_one(&deployment.database.pool)
        .await
        .unwrap();
        assert_eq!(all, distinct);
        all
    };
    eventually("every goal is delivered", TIMEOUT, || async {
        (count("goal_completion").await >= goals).then_some(())
    })
    .await;
    assert_eq!(count("goal_completion").await, goals);
    assert_eq!(count("visitor_spike").await, i64::from(SITES));
}
