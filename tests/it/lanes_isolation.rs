//! Endpoints that hang, fail or ask for time, beside endpoints that are well: nobody waits for
//! somebody else.

use std::time::Duration;

use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::receiver::{Answer, Receiver};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Longest wait of a delivery for which its endpoint has room, on a machine that runs other tests.
const LONGEST_WAIT_MS: i64 = 2_500;

async fn webhook(deployment: &Deployment, process: &Process, site: &str, url: &str) -> String {
    let body =
        json!({"name": "goals", "url": url, "events": ["goal_completion"], "rate_limit_per_second": null});
    let answer = deployment.create_webhook(process, site, body).await;
    answer["id"].as_str().unwrap().to_owned()
}

async fn goal(deployment: &Deployment, site: &str, name: &str) {
    deployment
        .publish(json!({"site_id": site, "type": "goal", "name": name}))
        .await;
}

/// Time from the decision of each delivery of a site to the start of its first attempt, longest
/// first.
async fn waits_ms(deployment: &Deployment, site: &str) -> Vec<i64> {
    sqlx::query_scalar(
        "select (extract(epoch from first_attempt_at - created_at) * 1000)::bigint from deliveries
         where site_id = $1 and first_attempt_at is not null order by 1 desc",
    )
    .bind(site)
    .fetch_all(&deployment.database.pool)
    .await
    .unwrap()
}

async fn parked(deployment: &Deployment, reason: &str) -> i64 {
    sqlx::query_scalar("select count(*) from parked where reason = $1")
        .bind(reason)
        .fetch_one(&deployment.database.pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_hang_delay_nobody_else() {
    let deployment =
        Deployment::create(&[("webhooks.max_per_site", "100"), ("webhooks.max_in_flight", "64")]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("hung", |_| Answer::status(200).after(Duration::from_secs(600)));
    for _ in 0..60 {
        webhook(&deployment, &process, "hung.example", &receiver.url("hung")).await;
    }
    for number in 0..10 {
        let site = format!("well-{number}.example");
        webhook(&deployment, &process, &site, &receiver.url("well")).await;
    }
    deployment.registry_is_read(&process).await;
    for round in 0..12 {
        goal(&deployment, "hung.example", &format!("hung {round}")).await;
    }
    // One site holds seven eighths of what the process may have in flight, and no more.
    let in_flight = "bellwether_in_flight{endpoint=\"ok\"}";
    process.metric_is(in_flight, 56.0).await;
    for round in 0..20 {
        for number in 0..10 {
            let site = format!("well-{number}.example");
            goal(&deployment, &site, &format!("well {round}")).await;
        }
    }
    receiver.wait_for("well", 200).await;
    // What hangs is parked after five seconds, and the site's place is all it has.
    eventually("what waits in vain is parked", TIMEOUT, || async {
        (parked(&deployment, "queue").await >= 300).then_some(())
    })
    .await;
    let mut longest = Vec::new();
    for number in 0..10 {
        let site = format!("well-{number}.example");
        let waits = eventually("everything is recorded", TIMEOUT, || async {
            let waits = waits_ms(&deployment, &site).await;
            (waits.len() == 20).then_some(waits)
        });
        longest.push(waits.await[0]);
    }
    println!("the healthy sites waited {longest:?} ms at most");
    // Whoever waited for one that hangs would have done so for five seconds, until it is parked.
    assert!(longest.iter().all(|wait| *wait < LONGEST_WAIT_MS), "{longest:?}");
    let waits = process.metrics().await.unwrap();
    for cause in ["endpoint", "site", "host"] {
        let series = format!("bellwether_queue_wait_seconds_count{{cause=\"{cause}\"}}");
        assert!(waits.contains(&series), "{series}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_after_of_an_hour_delays_nobodys_retry() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("busy", |_| Answer::status(429).with("retry-after", "3600"));
    receiver.answer("flaky", |attempt| {
        Answer::status(if attempt == 1 { 500 } else { 200 })
    });
    let busy = webhook(&deployment, &process, "busy.example", &receiver.url("busy")).await;
    for _ in 1..5 {
        webhook(&deployment, &process, "busy.example", &receiver.url("busy")).await;
    }
    // So many that more than one partition's read-ahead would be filled by them, and fewer for each
    // webhook than the cap of a minute.
    deployment.registry_is_read(&process).await;
    for number in 0..520 {
        goal(&deployment, "busy.example", &format!("busy {number}")).await;
    }
    eventually("all are told to come back in an hour", 4 * TIMEOUT, || async {
        (parked(&deployment, "far_due").await == 2_600).then_some(())
    })
    .await;
    let tier = sqlx::query_as::<_, (i64, f64)>(
        "select count(*), min(extract(epoch from p.due_at - a.ended_at))::float8
         from parked p join delivery_attempts a on a.delivery_id = p.delivery_id",
    );
    let (rows, least) = tier.fetch_one(&deployment.database.pool).await.unwrap();
    assert_eq!(rows, 2_600);
    assert!(least >= 3_600.0, "never early: {least}");
    webhook(&deployment, &process, "flaky.example", &receiver.url("flaky")).await;
    deployment.registry_is_read(&process).await;
    goal(&deployment, "flaky.example", "flaky").await;
    let requests = receiver.wait_for("flaky", 2).await;
    let pause = requests[1].at - requests[0].at;
    assert!(
        (Duration::from_secs(1)..Duration::from_secs(3)).contains(&pause),
        "{pause:?}"
    );
    let reason: String =
        sqlx::query_scalar("select distinct parked_reason from deliveries where webhook_id = $1")
            .bind(busy.parse::<bellwether::domain::id::WebhookId>().unwrap().uuid())
            .fetch_one(&deployment.database.pool)
            .await
            .unwrap();
    assert_eq!(reason, "far_due");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_kept_and_what_waits_longer_is_parked() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let body = json!({"name": "slow", "url": receiver.url("slow"), "events": ["goal_completion"],
                      "rate_limit_per_second": 4});
    deployment.create_webhook(&process, "slow.example", body).await;
    deployment.registry_is_read(&process).await;
    for number in 0..60 {
        goal(&deployment, "slow.example", &format!("goal {number}")).await;
    }
    let requests = receiver.wait_for("slow", 60).await;
    // A second's worth at once, then four a second, also while what was parked drains.
    for (index, request) in requests.iter().enumerate().skip(4) {
        let least = Duration::from_millis(250 * (index as u64 - 4) + 100);
        let took = request.at - requests[0].at;
        assert!(took >= least, "request {index} came after {took:?}");
    }
    let took = requests[59].at - requests[0].at;
    assert!(
        took < Duration::from_secs(22),
        "the drain reaches the rate: {took:?}"
    );
    let reasons: i64 = sqlx::query_scalar("select count(*) from deliveries where status = 'delivered'")
        .fetch_one(&deployment.database.pool)
        .await
        .unwrap();
    assert!(reasons >= 59);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_max_concurrency_are_in_flight() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    receiver.answer("narrow", |_| {
        Answer::status(200).after(Duration::from_millis(400))
    });
    let body = json!({"name": "narrow", "url": receiver.url("narrow"), "events": ["goal_completion"],
                      "max_concurrency": 2, "rate_limit_per_second": null});
    deployment.create_webhook(&process, "narrow.example", body).await;
    deployment.registry_is_read(&process).await;
    for number in 0..10 {
        goal(&deployment, "narrow.example", &format!("goal {number}")).await;
    }
    let requests = receiver.wait_for("narrow", 10).await;
    for (index, request) in requests.iter().enumerate().skip(2) {
        let pause = request.at - requests[index - 2].at;
        assert!(
            pause >= Duration::from_millis(395),
            "request {index} came after {pause:?}"
        );
    }
}
