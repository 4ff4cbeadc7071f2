//! Several processes in one deployment, and one after the other: who goes on purpose repeats
//! nothing, who dies is replaced, and what the detector knows survives both.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use sqlx::PgPool;

use crate::support::app::{Deployment, Process};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{eventually, within};

const TIMEOUT: Duration = Duration::from_secs(60);
const SITES: u32 = 8;

/// Sites on all partitions, and endpoints that take their time.
async fn set_up(deployment: &Deployment, process: &Process, receiver: &Receiver) {
    for site in 0..SITES {
        for (name, fails, seconds) in [("slow", 0, 1), ("slower", 0, 2), ("flaky", 1, 1)] {
            let path = format!("{name}-{site}");
            receiver.answer(&path, move |attempt| {
                let status = if attempt <= fails { 500 } else { 200 };
                Answer::status(status).after(Duration::from_secs(seconds))
            });
            deployment
                .goal_webhook(process, &format!("{site}.example"), &receiver.url(&path))
                .await;
        }
    }
    deployment.registry_is_read(process).await;
}

/// Publishes goals until told to stop. Every one is for three webhooks.
async fn publish(deployment: &Deployment, published: &AtomicU32, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let n = published.fetch_add(1, Ordering::SeqCst);
        let site = format!("{}.example", n % SITES);
        deployment
            .publish(json!({"site_id": site, "type": "goal", "name": format!("goal {n}")}))
            .await;
        // The pace of the load.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a process holds so many partitions of the deliver group.
async fn holds(process: &Process, partitions: f64) {
    let series = "bellwether_consumer_partitions{group=\"deliver\"}";
    eventually(&format!("it holds {partitions} partitions"), TIMEOUT, || async {
        (process.try_metric(series).await? == partitions).then_some(())
    })
    .await;
}

/// Waits until so many requests of the slowest endpoints have begun and not ended since `begun`.
async fn under_load(published: &AtomicU32, receiver: &Receiver) {
    let (goals, requests) = (published.load(Ordering::SeqCst) + 20, receiver.all().len() + 40);
    eventually("requests are under way", TIMEOUT, || async {
        (published.load(Ordering::SeqCst) >= goals && receiver.all().len() >= requests).then_some(())
    })
    .await;
}

async fn all_delivered(deployment: &Deployment, goals: u32) {
    let pool = &deployment.database.pool;
    let all = within(TIMEOUT, || async {
        let (ended,): (i64,) = sqlx::query_as("select count(*) from deliveries where status = 'delivered'")
            .fetch_one(pool)
            .await
            .unwrap();
        (ended == i64::from(goals) * 3).then_some(())
    });
    if all.await.is_none() {
        let left = not_delivered(pool).await;
        panic!("{goals} goals are not delivered to three webhooks each; recorded: {left:#?}");
    }
}

/// Describes some of what is recorded and not delivered.
async fn not_delivered(pool: &PgPool) -> Vec<(String,)> {
    let query = "select jsonb_build_object('now', now(), 'delivery', to_jsonb(d) - 'payload',
            'parked', to_jsonb(p))::text
         from deliveries d left join parked p on p.delivery_id = d.id
         where d.status <> 'delivered' limit 5";
    sqlx::query_as(query).fetch_all(pool).await.unwrap()
}

/// Attempts that were received more than once.
fn repeated(receiver: &Receiver) -> HashMap<(String, u32), u32> {
    let mut seen: HashMap<(String, u32), u32> = HashMap::new();
    for one in receiver.all() {
        let attempt = (one.header("x-webhook-delivery").to_owned(), one.attempt());
        *seen.entry(attempt).or_default() += 1;
    }
    seen.retain(|_, times| *times > 1);
    seen
}

#[tokio::test]
async fn processes_that_join_and_leave_lose_and_repeat_nothing() {
    let deployment = Deployment::create(&[]).await;
    let receiver = Receiver::start().await;
    let mut first = deployment.serve(&[]).await;
    set_up(&deployment, &first, &receiver).await;
    let (published, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let changing = async {
        holds(&first, 4.0).await;
        under_load(&published, &receiver).await;
        // One joins: both have half.
        let mut second = deployment.serve(&[]).await;
        holds(&first, 2.0).await;
        holds(&second, 2.0).await;
        under_load(&published, &receiver).await;
        // One goes: the other has all, at once and while what was under way still is.
        first.terminate();
        let (status, answer) = eventually("readyz says that it stops", TIMEOUT, || async {
            first
                .readyz()
                .await
                .filter(|(status, _)| *status != StatusCode::OK)
        })
        .await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer["checks"]["stopping"], "the process is stopping");
        holds(&second, 4.0).await;
        assert!(first.ended(TIMEOUT).await.success());
        under_load(&published, &receiver).await;
        // The last one goes and another comes.
        second.terminate();
        let third = deployment.serve(&[]).await;
        holds(&third, 4.0).await;
        assert!(second.ended(TIMEOUT).await.success());
        under_load(&published, &receiver).await;
        stop.store(true, Ordering::SeqCst);
        third
    };
    let (mut last, ()) = tokio::join!(changing, publish(&deployment, &published, &stop));
    all_delivered(&deployment, published.load(Ordering::SeqCst)).await;
    last.terminate();
    assert!(last.ended(TIMEOUT).await.success());
    assert_eq!(repeated(&receiver), HashMap::new());
    let (attempts, flagged): (i64, i64) =
        sqlx::query_as("select count(*), count(*) filter (where possible_repeat) from delivery_attempts")
            .fetch_one(&deployment.database.pool)
            .await
            .unwrap();
    assert_eq!(attempts as usize, receiver.all().len());
    assert_eq!(flagged, 0);
}

#[tokio::test]
async fn of_two_processes_one_takes_over_from_one_that_was_killed() {
    let deployment = Deployment::create(&[
        ("kafka.properties.session.timeout.ms", "3000"),
        ("kafka.properties.heartbeat.interval.ms", "500"),
    ])
    .await;
    let receiver = Receiver::start().await;
    let first = deployment.serve(&[]).await;
    set_up(&deployment, &first, &receiver).await;
    let second = deployment.serve(&[]).await;
    let (published, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let changing = async {
        holds(&first, 2.0).await;
        holds(&second, 2.0).await;
        under_load(&published, &receiver).await;
        first.kill();
        holds(&second, 4.0).await;
        under_load(&published, &receiver).await;
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(changing, publish(&deployment, &published, &stop));
    all_delivered(&deployment, published.load(Ordering::SeqCst)).await;
    for ((delivery, attempt), times) in repeated(&receiver) {
        let id: bellwether::domain::id::DeliveryId = delivery.parse().unwrap();
        let (flagged,): (bool,) = sqlx::query_as(
            "select possible_repeat from delivery_attempts where delivery_id = $1 and attempt = $2",
        )
        .bind(id.uuid())
        .bind(attempt.cast_signed())
        .fetch_one(&deployment.database.pool)
        .await
        .unwrap();
        assert!(flagged && times == 2, "{delivery} {attempt} {times}");
    }
}

/// How a process ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Planned,
    Killed,
}

impl End {
    async fn of(self, mut process: Process) {
        match self {
            Self::Planned => {
                process.terminate();
                assert!(process.ended(TIMEOUT).await.success());
            }
            Self::Killed => process.kill(),
        }
    }
}

async fn visitors(deployment: &Deployment, names: std::ops::Range<u32>) {
    for n in names {
        deployment
            .publish(json!({"site_id": "spike.example", "type": "pageview", "visitor_id": format!("v{n}"), "path": "/"}))
            .await;
    }
}

/// Waits until a process has counted so many visitors.
async fn counted(process: &Process, visitors: u32) {
    eventually(&format!("{visitors} visitors are counted"), TIMEOUT, || async {
        (process.try_metric("bellwether_visitors").await? == f64::from(visitors)).then_some(())
    })
    .await;
}

async fn a_spike_outlives_a_process(end: End) {
    let deployment = Deployment::create(&[
        ("kafka.properties.session.timeout.ms", "3000"),
        ("kafka.properties.heartbeat.interval.ms", "500"),
    ])
    .await;
    let receiver = Receiver::start().await;
    let process = deployment.serve(&[]).await;
    deployment
        .create_webhook(
            &process,
            "spike.example",
            json!({"name": "spike", "url": receiver.url("spike"), "events": ["visitor_spike"],
                   "triggers": {"visitor_spike": {"threshold": 10, "window_seconds": 3600}}}),
        )
        .await;
    deployment.registry_is_read(&process).await;
    // Six before, one of them again and three more after: nine are no spike, however often they are
    // read.
    visitors(&deployment, 0..6).await;
    counted(&process, 6).await;
    end.of(process).await;
    let process = deployment.serve(&[]).await;
    visitors(&deployment, 5..9).await;
    counted(&process, 9).await;
    assert_eq!(
        process
            .metric("bellwether_episodes{event=\"visitor_spike\"}")
            .await,
        0.0
    );
    // The tenth is.
    visitors(&deployment, 9..10).await;
    let received = receiver.wait_for("spike", 1).await;
    let data = &received[0].json()["data"];
    assert_eq!(
        (&data["current_visitors"], &data["threshold"]),
        (&json!(10), &json!(10))
    );
    end.of(process).await;
    // The episode goes on: no second notification, neither for those read again nor for new ones.
    visitors(&deployment, 10..14).await;
    let mut process = deployment.serve(&[]).await;
    counted(&process, 14).await;
    assert_eq!(
        process
            .metric("bellwether_episodes{event=\"visitor_spike\"}")
            .await,
        1.0
    );
    // A goal behind them on the same partition has come through, so nothing of theirs is still to
    // come.
    deployment
        .goal_webhook(&process, "spike.example", &receiver.url("goal"))
        .await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({"site_id": "spike.example", "type": "goal", "name": "after"}))
        .await;
    receiver.wait_for("goal", 1).await;
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
    let (notifications,): (i64,) = sqlx::query_as(
        "select count(distinct notification_id) from deliveries where event_type = 'visitor_spike'",
    )
    .fetch_one(&deployment.database.pool)
    .await
    .unwrap();
    assert_eq!(notifications, 1, "{end:?}");
    let spikes: Vec<_> = receiver
        .received("spike")
        .iter()
        .map(|one| one.header("webhook-id").to_owned())
        .collect();
    assert!(spikes.iter().all(|id| *id == spikes[0]), "{spikes:?}");
}

#[tokio::test]
async fn windows_and_episodes_outlive_a_planned_restart() {
    a_spike_outlives_a_process(End::Planned).await;
}

#[tokio::test]
async fn windows_and_episodes_outlive_a_kill() {
    a_spike_outlives_a_process(End::Killed).await;
}

#[tokio::test]
async fn windows_and_episodes_move_to_another_process_and_back() {
    let deployment = Deployment::create(&[]).await;
    let receiver = Receiver::start().await;
    let first = deployment.serve(&[]).await;
    // Sites on all partitions: some of them move when a process joins, and come back when it goes.
    for site in 0..SITES {
        deployment
            .create_webhook(
                &first,
                &format!("{site}.example"),
                json!({"name": "spike", "url": receiver.url(&format!("spike-{site}")), "events": ["visitor_spike"],
                       "triggers": {"visitor_spike": {"threshold": 9, "window_seconds": 3600}}}),
            )
            .await;
    }
    deployment.registry_is_read(&first).await;
    let visit = async |names: std::ops::Range<u32>| {
        for (site, n) in (0..SITES).flat_map(|site| names.clone().map(move |n| (site, n))) {
            deployment
                .publish(json!({"site_id": format!("{site}.example"), "type": "pageview", "visitor_id": format!("v{n}"), "path": "/"}))
                .await;
        }
    };
    let counted = async |processes: &[&Process], visitors: u32| {
        eventually(
            &format!("{visitors} visitors a site are counted"),
            TIMEOUT,
            || async {
                let mut sum = 0.0;
                for process in processes {
                    sum += process.metric("bellwether_visitors").await;
                }
                (sum == f64::from(visitors * SITES)).then_some(())
            },
        )
        .await;
    };
    visit(0..4).await;
    counted(&[&first], 4).await;
    let mut second = deployment.serve(&[]).await;
    holds(&second, 2.0).await;
    visit(4..8).await;
    counted(&[&first, &second], 8).await;
    second.terminate();
    holds(&first, 4.0).await;
    visit(8..9).await;
    counted(&[&first], 9).await;
    for site in 0..SITES {
        let received = receiver.wait_for(&format!("spike-{site}"), 1).await;
        assert_eq!(received[0].json()["data"]["current_visitors"], 9);
    }
    assert!(second.ended(TIMEOUT).await.success());
    assert_eq!(receiver.all().len(), SITES as usize);
}
