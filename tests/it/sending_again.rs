//! Tests of webhooks, and deliveries that are sent again: one by one, or all of a span.

use std::time::Duration;

use rdkafka::Message as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::goal_stage::{GoalStage, SITE};
use crate::support::receiver::Answer;
use crate::support::{eventually, http, kafka};

const TIMEOUT: Duration = Duration::from_secs(60);
const SECRET: &str = "a-rather-plain-secret-of-mine";

/// A process, and a webhook for goals at `/hook` with a known secret and `extra` fields.
async fn stage(settings: &[(&str, &str)], mut extra: Value) -> GoalStage {
    extra["secret"] = SECRET.into();
    GoalStage::start(settings, extra).await
}

impl GoalStage {
    fn path(&self, rest: &str) -> String {
        format!("/api/sites/{SITE}/webhooks/{}{rest}", self.webhook)
    }

    async fn call(&self, method: Method, rest: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.deployment
            .call(&self.process, method, &self.path(rest), body)
            .await
    }

    async fn get(&self, rest: &str) -> Value {
        let (status, answer) = self.call(Method::GET, rest, None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn post(&self, rest: &str, body: Value, wanted: StatusCode) -> Value {
        let (status, answer) = self.call(Method::POST, rest, Some(body)).await;
        assert_eq!(status, wanted, "{rest}: {answer}");
        answer
    }

    /// The same with a key; the answer's `Idempotent-Replayed` and `Location` come with it.
    async fn post_keyed(
        &self,
        rest: &str,
        key: &str,
        body: Value,
    ) -> (StatusCode, bool, Option<String>, Value) {
        let response = http()
            .post(format!("{}{}", self.process.api, self.path(rest)))
            .bearer_auth(&self.deployment.token)
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let status = response.status();
        let replayed = response.headers().contains_key("idempotent-replayed");
        let location = response.headers().get("location");
        let location = location.map(|value| value.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        (status, replayed, location, serde_json::from_str(&text).unwrap())
    }

    async fn patch(&self, body: Value) {
        let (status, answer) = self.call(Method::PATCH, "", Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        self.deployment.registry_is_read(&self.process).await;
    }

    /// Lets `count` goals fail for good, and returns their deliveries, oldest first.
    async fn failed(&self, count: usize) -> Vec<Value> {
        self.receiver.answer("hook", |_| Answer::status(500));
        for number in 0..count {
            self.goal(&format!("goal {number}")).await;
        }
        let failed = eventually("all have failed", TIMEOUT, || async {
            let page = self.get("/deliveries?status=failed&limit=250").await;
            let data = page["data"].as_array().unwrap().clone();
            (data.len() == count).then_some(data)
        })
        .await;
        failed.into_iter().rev().collect()
    }

    /// Adds failed deliveries to the one that there is, each as that one.
    async fn multiply_failed(&self, count: i32) {
        sqlx::query(
            "insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, attempts,
                 failure_reason, payload, created_at, inserted_at, updated_at)
             select overlay(id::text placing lpad(n::text, 12, '0') from 25)::uuid,
                 overlay(notification_id::text placing lpad(n::text, 12, '0') from 25)::uuid, webhook_id, site_id, event_type,
                 origin, status, attempts, failure_reason, payload, created_at, inserted_at, updated_at
             from deliveries, generate_series(1, $1) n",
        )
        .bind(count)
        .execute(self.pool())
        .await
        .unwrap();
    }

    async fn recover(&self, body: Value) -> String {
        let job = self.post("/recover", body, StatusCode::ACCEPTED).await;
        assert_eq!(job["status"], "running", "{job}");
        job["id"].as_str().unwrap().to_owned()
    }

    async fn job_is(&self, job: &str, wanted: Value) -> Value {
        let path = format!("/recoveries/{job}");
        eventually(&format!("the job is {wanted}"), TIMEOUT, || async {
            let job = self.get(&path).await;
            let is_wanted = wanted
                .as_object()
                .unwrap()
                .iter()
                .all(|(name, value)| job[name] == *value);
            is_wanted.then_some(job)
        })
        .await
    }
}

const ALL: &str = "2020-01-01T00:00:00Z";
/// No delay, so that one attempt is all.
const ONE_RETRY: [(&str, &str); 1] = [("webhooks.retry_schedules", "{default=[\"1s\"]}")];
const SLOW_RETRY: [(&str, &str); 1] = [("webhooks.retry_schedules", "{default=[\"8s\"]}")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_is_sent_now_signed_and_recorded() {
    let stage = stage(&[], json!({"headers": {"X-Own": "mine"}})).await;
    let answer = stage.post("/test", json!({}), StatusCode::OK).await;
    assert_eq!(
        (&answer["status"], &answer["response_code"], &answer["result"]),
        (&json!("delivered"), &json!(200), &json!("2xx")),
        "{answer}"
    );
    assert_eq!(
        (&answer["error"], &answer["response"]),
        (&Value::Null, &Value::Null)
    );
    assert!(answer["latency_ms"].is_u64(), "{answer}");

    let received = stage.receiver.wait_for("hook", 1).await.remove(0);
    let body = received.json();
    assert_eq!((&body["event"], &body["site_id"]), (&json!("test"), &json!(SITE)));
    assert_eq!(body["data"]["sample"]["event"], "goal_completion");
    assert!(body["data"]["sample"]["data"]["goal_name"].is_string(), "{body}");
    assert!(body["data"]["message"].is_string());
    assert_eq!(received.header("x-own"), "mine");
    assert_eq!(received.header("x-webhook-event"), "test");
    assert_eq!(received.header("x-webhook-attempt"), "1");
    assert_eq!(received.header("webhook-id"), body["id"]);
    assert_eq!(received.header("x-webhook-delivery"), answer["delivery_id"]);
    assert_eq!(received.header("x-webhook-signature"), signature(&received.body));

    let id = answer["delivery_id"].as_str().unwrap();
    let recorded = stage.get(&format!("/deliveries/{id}")).await;
    assert_eq!(
        (
            &recorded["status"],
            &recorded["event_type"],
            &recorded["attempts"]
        ),
        (&json!("delivered"), &json!("test"), &json!(1))
    );
    assert_eq!(recorded["payload"], body);
    assert_eq!(recorded["attempt_log"][0]["result"], "2xx");

    let chosen = stage
        .post("/test", json!({"event": "visitor_spike"}), StatusCode::OK)
        .await;
    assert_eq!(chosen["status"], "delivered");
    let second = stage.receiver.wait_for("hook", 2).await.remove(1).json();
    assert_eq!(second["data"]["sample"]["event"], "visitor_spike");
    for body in [
        json!({"event": "test"}),
        json!({"event": "nothing"}),
        json!({"event": 1}),
        json!({"what": 1}),
    ] {
        stage.post("/test", body, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
}

fn signature(body: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, body).unwrap();
    let file = file.to_str().unwrap();
    let (code, out, err) = crate::commands::run(&["signature", "sign", "--secret", SECRET, file], &[]);
    assert_eq!(code, 0, "{err}");
    out.trim()
        .strip_prefix("X-Webhook-Signature: ")
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_test_says_why_and_harms_nothing() {
    let stage = stage(&[("webhooks.timeout", "2s")], json!({"failure_threshold": 1})).await;
    stage.receiver.answer("hook", |_| Answer::status(410));
    let gone = stage.post("/test", json!({}), StatusCode::OK).await;
    assert_eq!(
        (&gone["status"], &gone["response_code"], &gone["result"]),
        (&json!("failed"), &json!(410), &json!("410"))
    );
    stage
        .receiver
        .answer("hook", |_| Answer::status(200).after(Duration::from_secs(20)));
    let late = stage.post("/test", json!({}), StatusCode::OK).await;
    assert_eq!(
        (&late["status"], &late["response_code"], &late["result"]),
        (&json!("failed"), &Value::Null, &json!("timeout"))
    );
    assert!(
        late["error"].is_string() && late["latency_ms"].as_u64().unwrap() >= 2_000,
        "{late}"
    );
    let webhook = stage.get("").await;
    assert_eq!(
        (&webhook["enabled"], &webhook["health"]["state"]),
        (&json!(true), &json!("new")),
        "{webhook}"
    );

    // Also to a webhook that is off; what was sent so is neither retried nor recovered.
    stage.receiver.answer("hook", |_| Answer::status(500));
    stage.patch(json!({"enabled": false})).await;
    let off = stage.post("/test", json!({}), StatusCode::OK).await;
    assert_eq!(
        (&off["status"], &off["response_code"]),
        (&json!("failed"), &json!(500))
    );
    stage.patch(json!({"enabled": true})).await;
    let id = off["delivery_id"].as_str().unwrap();
    let refused = stage
        .post(
            &format!("/deliveries/{id}/retry"),
            json!({}),
            StatusCode::CONFLICT,
        )
        .await;
    assert_eq!(refused["type"], "urn:bellwether:error:not-sendable");
    let job = stage.recover(json!({"since": ALL})).await;
    stage
        .job_is(
            &job,
            json!({"status": "finished", "total": 0, "sent": 0, "skipped": 0}),
        )
        .await;
    assert_eq!(stage.receiver.received("hook").len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_eleventh_test_of_a_minute_is_refused_everywhere() {
    let stage = stage(&[], json!({})).await;
    let other = stage.deployment.serve(&["--roles", "api"]).await;
    let (status, replayed, _, first) = stage.post_keyed("/test", "one", json!({})).await;
    assert_eq!((status, replayed), (StatusCode::OK, false));
    // A repetition is free, and sends nothing.
    let (status, replayed, _, again) = stage.post_keyed("/test", "one", json!({})).await;
    assert_eq!((status, replayed, again), (StatusCode::OK, true, first));
    for number in 1..10 {
        let process = if number % 2 == 0 { &stage.process } else { &other };
        let path = stage.path("/test");
        let (status, answer) = stage
            .deployment
            .call(process, Method::POST, &path, Some(json!({})))
            .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let response = http()
        .post(format!("{}{}", other.api, stage.path("/test")))
        .bearer_auth(&stage.deployment.token)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(stage.receiver.received("hook").len(), 10);
    sqlx::query("update webhook_tests set sent_at = array(select s - interval '1 minute' from unnest(sent_at) as u (s))")
        .execute(stage.pool())
        .await
        .unwrap();
    stage.post("/test", json!({}), StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_a_new_delivery_of_the_same_notification() {
    let stage = stage(&ONE_RETRY, json!({"failure_threshold": 100})).await;
    let failed = stage.failed(1).await.remove(0);
    let sent = stage.receiver.received("hook");
    stage.receiver.answer("hook", |_| Answer::status(200));
    let id = failed["id"].as_str().unwrap();
    let path = format!("/deliveries/{id}/retry");
    // A person who asks for something old wants it.
    stage.patch(json!({"max_age_seconds": 1})).await;
    let (status, _, location, made) = stage.post_keyed(&path, "again", json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{made}");
    assert_eq!(
        (&made["resend_of"], &made["notification_id"], &made["status"]),
        (&json!(id), &failed["notification_id"], &json!("pending"))
    );
    assert_eq!(
        (&made["origin"], &made["parked_reason"]),
        (&json!("resend"), &json!("resend"))
    );
    let new = made["id"].as_str().unwrap();
    assert_ne!(new, id);
    assert_eq!(location.unwrap(), stage.path(&format!("/deliveries/{new}")));
    let (_, replayed, _, same) = stage.post_keyed(&path, "again", json!({})).await;
    assert!(replayed);
    assert_eq!(same, made);

    let asked = std::time::Instant::now();
    let again = stage.receiver.wait_for("hook", sent.len() + 1).await;
    println!("sent again within {:?}", asked.elapsed());
    let last = again.last().unwrap();
    assert_eq!((last.header("x-webhook-delivery"), last.attempt()), (new, 1));
    assert_eq!(last.body, sent[0].body);
    assert_eq!(last.header("webhook-id"), sent[0].header("webhook-id"));
    let done = eventually("it is delivered", TIMEOUT, || async {
        let one = stage.get(&format!("/deliveries/{new}")).await;
        (one["status"] == "delivered").then_some(one)
    })
    .await;
    assert_eq!(done["resend_of"], id);
    assert_eq!(stage.get(&format!("/deliveries/{id}")).await["status"], "failed");
    assert_eq!(stage.count("select count(*) from parked").await, 0);
    assert_eq!(
        stage.receiver.received("hook").len(),
        sent.len() + 1,
        "the key repeats nothing"
    );

    let none = "/deliveries/dlv_00000000000000000000000000/retry";
    stage.post(none, json!({}), StatusCode::NOT_FOUND).await;
    stage
        .post(&path, json!({"what": 1}), StatusCode::UNPROCESSABLE_ENTITY)
        .await;
    stage.patch(json!({"enabled": false})).await;
    stage.post(&path, json!({}), StatusCode::CONFLICT).await;
    stage
        .post("/recover", json!({"since": ALL}), StatusCode::CONFLICT)
        .await;
    let (status, _) = stage.call(Method::DELETE, "", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    stage.post(&path, json!({}), StatusCode::CONFLICT).await;
    stage
        .post("/recover", json!({"since": ALL}), StatusCode::CONFLICT)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_finished_is_not_sent_again() {
    let stage = stage(
        &[],
        json!({"paused_until": chrono::Utc::now() + chrono::TimeDelta::hours(1)}),
    )
    .await;
    stage.goal("waits").await;
    stage
        .count_is("select count(*) from parked where reason = 'paused'", 1)
        .await;
    let page = stage.get("/deliveries").await;
    let id = page["data"][0]["id"].as_str().unwrap();
    stage
        .post(
            &format!("/deliveries/{id}/retry"),
            json!({}),
            StatusCode::CONFLICT,
        )
        .await;
    // A recovery of a paused webhook waits, and passes over what waits already.
    sqlx::query("update deliveries set status = 'failed', failure_reason = 'exhausted', parked_until = null, parked_reason = null")
        .execute(stage.pool())
        .await
        .unwrap();
    sqlx::query("delete from parked")
        .execute(stage.pool())
        .await
        .unwrap();
    let job = stage.recover(json!({"since": ALL})).await;
    stage
        .job_is(&job, json!({"status": "running", "total": 1, "sent": 0}))
        .await;
    let second = stage.recover(json!({"since": ALL})).await;
    stage
        .job_is(
            &second,
            json!({"status": "finished", "total": 1, "sent": 0, "skipped": 1}),
        )
        .await;
    stage.patch(json!({"paused_until": null})).await;
    stage.receiver.wait_for("hook", 1).await;
    stage
        .job_is(
            &job,
            json!({"status": "finished", "total": 1, "sent": 1, "skipped": 0}),
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_sends_each_missed_notification_once() {
    let stage = stage(
        &ONE_RETRY,
        json!({"failure_threshold": 100, "rate_limit_per_second": null}),
    )
    .await;
    let failed = stage.failed(6).await;
    let sent = stage.receiver.received("hook").len();
    stage.receiver.answer("hook", |_| Answer::status(200));
    // One of them was delivered since.
    let first = failed[0]["id"].as_str().unwrap();
    stage
        .post(
            &format!("/deliveries/{first}/retry"),
            json!({}),
            StatusCode::ACCEPTED,
        )
        .await;
    stage.receiver.wait_for("hook", sent + 1).await;
    stage
        .count_is("select count(*) from deliveries where status = 'delivered'", 1)
        .await;
    // Three jobs at once, of which two overlap wholly.
    let body = json!({"since": ALL});
    let (a, b) = tokio::join!(stage.recover(body.clone()), stage.recover(body.clone()));
    let (status, replayed, _, keyed) = stage.post_keyed("/recover", "k", body.clone()).await;
    assert_eq!((status, replayed), (StatusCode::ACCEPTED, false));
    let (_, replayed, location, same) = stage.post_keyed("/recover", "k", body).await;
    assert!(replayed);
    assert_eq!(same, keyed);
    let c = keyed["id"].as_str().unwrap().to_owned();
    assert_eq!(location.unwrap(), stage.path(&format!("/recoveries/{c}")));
    let mut totals = (0, 0);
    for job in [&a, &b, &c] {
        let ended = stage.job_is(job, json!({"status": "finished", "total": 6})).await;
        assert!(ended["ended_at"].is_string());
        let (job_sent, skipped) = (
            ended["sent"].as_i64().unwrap(),
            ended["skipped"].as_i64().unwrap(),
        );
        assert_eq!(job_sent + skipped, 6, "{ended}");
        totals = (totals.0 + job_sent, totals.1 + skipped);
    }
    assert_eq!(totals, (5, 13));
    let received = stage.receiver.received("hook");
    assert_eq!(received.len(), sent + 6);
    let mut ids: Vec<&str> = received[sent..]
        .iter()
        .map(|one| one.header("webhook-id"))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6, "each notification once");
    stage
        .count_is(
            "select count(*) from deliveries r join deliveries d on d.id = r.resend_of
             where r.origin = 'recover' and r.status = 'delivered' and d.status = 'failed'",
            5,
        )
        .await;
    // Today's partition, and nothing left.
    assert_eq!(stage.count("select count(*) from parked").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_recovery_is_taken_up_once_by_a_later_one() {
    let stage = stage(&ONE_RETRY, json!({"failure_threshold": 100})).await;
    stage.failed(8).await;
    let sent = stage.receiver.received("hook").len();
    stage
        .patch(json!({"paused_until": chrono::Utc::now() + chrono::TimeDelta::hours(1)}))
        .await;
    let job = stage.recover(json!({"since": ALL})).await;
    stage
        .count_is("select count(*) from parked where job_id is not null", 8)
        .await;
    let path = format!("/recoveries/{job}");
    for _ in 0..2 {
        let (status, answer) = stage.call(Method::DELETE, &path, None).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    }
    stage
        .job_is(&job, json!({"status": "cancelled", "total": 8, "sent": 0}))
        .await;
    stage
        .count_is(
            "select count(*) from deliveries where origin = 'recover' and status = 'cancelled' and failure_reason = 'withdrawn'",
            8,
        )
        .await;
    stage.count_is("select count(*) from parked", 0).await;
    assert_eq!(stage.receiver.received("hook").len(), sent);

    stage.receiver.answer("hook", |_| Answer::status(200));
    stage.patch(json!({"paused_until": null})).await;
    let later = stage.recover(json!({"since": ALL})).await;
    stage
        .job_is(
            &later,
            json!({"status": "finished", "total": 8, "sent": 8, "skipped": 0}),
        )
        .await;
    assert_eq!(stage.receiver.received("hook").len(), sent + 8);
    let (status, _) = stage
        .call(Method::DELETE, "/recoveries/job_00000000000000000000000000", None)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_a_queue_of_a_cancelled_recovery_is_not_sent() {
    let limits = json!({"failure_threshold": 100, "max_concurrency": 1, "rate_limit_per_second": null});
    let stage = stage(&ONE_RETRY, limits).await;
    stage.failed(1).await;
    stage.multiply_failed(99).await;
    let sent = stage.receiver.received("hook").len();
    let slow = Duration::from_millis(80);
    stage
        .receiver
        .answer("hook", move |_| Answer::status(200).after(slow));
    let job = stage.recover(json!({"since": ALL})).await;
    stage.receiver.wait_for("hook", sent + 2).await;
    // The process has claimed what waits for the endpoint.
    let claimed = "select count(*) from parked where job_id is not null and claimed_until > now()";
    eventually("rows are claimed", TIMEOUT, || async {
        (stage.count(claimed).await > 50).then_some(())
    })
    .await;
    let path = format!("/recoveries/{job}");
    let (status, answer) = stage.call(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    stage.count_is("select count(*) from parked", 0).await;
    let delivered = "select count(*) from deliveries where origin = 'recover' and status = 'delivered'";
    let withdrawn =
        "select count(*) from deliveries where origin = 'recover' and failure_reason = 'withdrawn'";
    let (delivered, withdrawn) = (stage.count(delivered).await, stage.count(withdrawn).await);
    // At this pace what is claimed would be sent within seconds.
    assert_eq!(delivered + withdrawn, 100);
    assert!(delivered < 45, "{delivered} were sent");
    stage
        .job_is(&job, json!({"status": "cancelled", "sent": delivered}))
        .await;
    assert_eq!(
        stage.receiver.received("hook").len() as i64,
        sent as i64 + delivered
    );

    stage.receiver.answer("hook", |_| Answer::status(200));
    let later = stage.recover(json!({"since": ALL})).await;
    stage
        .job_is(&later, json!({"status": "finished", "sent": withdrawn}))
        .await;
    let mut ids: Vec<String> = stage.receiver.received("hook")[sent..]
        .iter()
        .map(|one| one.header("webhook-id").to_owned())
        .collect();
    assert_eq!(ids.len(), 100);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100, "each notification once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_killed_while_it_queues_makes_nothing_twice() {
    let mut stage = stage(&ONE_RETRY, json!({"failure_threshold": 100})).await;
    stage.failed(1).await;
    stage.multiply_failed(7_999).await;
    stage
        .patch(json!({"paused_until": chrono::Utc::now() + chrono::TimeDelta::hours(1)}))
        .await;
    let job = stage.recover(json!({"since": ALL})).await;
    let queued = "select count(*) from deliveries where origin = 'recover'";
    for least in [500, 3_000] {
        eventually("some are queued", TIMEOUT, || async {
            (stage.count(queued).await >= least).then_some(())
        })
        .await;
        let killed = std::mem::replace(&mut stage.process, stage.deployment.spawn(&[]));
        killed.kill();
        println!("killed at {}", stage.count(queued).await);
        stage.process.ready().await;
    }
    stage.count_is(queued, 8_000).await;
    stage
        .job_is(
            &job,
            json!({"status": "running", "total": 8_000, "sent": 0, "skipped": 0}),
        )
        .await;
    let distinct = "select count(distinct notification_id) from deliveries where origin = 'recover'";
    assert_eq!(stage.count(distinct).await, 8_000);
    assert_eq!(
        stage
            .count("select count(*) from parked where job_id is not null")
            .await,
        8_000
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_goes_on_after_a_kill_within_the_rate() {
    let mut stage = stage(&ONE_RETRY, json!({"failure_threshold": 100})).await;
    stage.failed(1).await;
    let sent = stage.receiver.received("hook").len();
    stage.receiver.answer("hook", |_| Answer::status(200));
    stage.multiply_failed(1_199).await;
    stage.patch(json!({"rate_limit_per_second": 200})).await;
    let begun = std::time::Instant::now();
    let job = stage.recover(json!({"since": ALL})).await;
    stage.receiver.wait_for("hook", sent + 150).await;
    let killed = std::mem::replace(&mut stage.process, stage.deployment.spawn(&[]));
    killed.kill();
    stage.process.ready().await;
    stage
        .job_is(
            &job,
            json!({"status": "finished", "total": 1200, "sent": 1200, "skipped": 0}),
        )
        .await;
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(4_500), "200 a second: {took:?}");
    stage
        .count_is(
            "select count(*) from deliveries where origin = 'recover' and status = 'delivered'",
            1_200,
        )
        .await;
    let mut deliveries: Vec<String> = stage.receiver.received("hook")[sent..]
        .iter()
        .map(|one| one.header("x-webhook-delivery").to_owned())
        .collect();
    let all = deliveries.len();
    deliveries.sort_unstable();
    deliveries.dedup();
    assert_eq!(deliveries.len(), 1_200);
    println!("{} repeated by the kill", all - deliveries.len());
    // In flight, or answered and not yet written.
    assert!(all - deliveries.len() <= 200, "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overdue_deliveries_are_sent_again_and_never_twice() {
    let mut stage = stage(&SLOW_RETRY, json!({"failure_threshold": 100})).await;
    stage.receiver.answer("hook", |_| Answer::status(500));
    for number in 0..6 {
        stage.goal(&format!("goal {number}")).await;
    }
    stage
        .count_is("select count(*) from deliveries where status = 'retrying'", 6)
        .await;
    let waiting = stage.get("/deliveries?status=retrying").await;
    let one = waiting["data"][0]["id"].as_str().unwrap().to_owned();
    let retry = format!("/deliveries/{one}/retry");
    let refused = stage.post(&retry, json!({}), StatusCode::CONFLICT).await;
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("within an hour of its due time"), "{detail}");
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    // Half of the records are lost, the others come late.
    let (group, tier) = (
        stage.deployment.topic("deliver"),
        stage.deployment.topic("retry.8s"),
    );
    let records = kafka::read_all(&tier);
    assert_eq!(records.len(), 6);
    kafka::delete_before(&tier, records[0].partition(), 3).await;
    sqlx::query(
        "update deliveries set next_retry_at = now() - interval '2 h', updated_at = now() - interval '2 h'",
    )
    .execute(stage.pool())
    .await
    .unwrap();
    stage.process = stage.deployment.serve(&["--roles", "api"]).await;
    stage.post(&retry, json!({}), StatusCode::ACCEPTED).await;
    let job = stage.recover(json!({"since": ALL})).await;
    stage.job_is(&job, json!({"total": 6})).await;
    stage
        .count_is(
            "select count(*) from parked where reason in ('resend', 'recover')",
            6,
        )
        .await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    stage.receiver.answer("hook", |_| Answer::status(200));
    stage.process = stage.deployment.serve(&[]).await;
    stage
        .job_is(&job, json!({"status": "finished", "sent": 5, "skipped": 1}))
        .await;
    let missed = format!("bellwether_records_missed_total{{topic=\"{tier}\"}}");
    stage.process.metric_is(&missed, 3.0).await;
    eventually("the late records are done", TIMEOUT, || async {
        (kafka::uncommitted(&group, &tier) == 0).then_some(())
    })
    .await;
    assert_eq!(stage.receiver.received("hook").len(), 12);
    stage
        .count_is(
            "select count(*) from deliveries where failure_reason = 'overdue' and status = 'cancelled'",
            6,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_late_from_kafka_is_sent_by_itself() {
    let mut stage = stage(&SLOW_RETRY, json!({"failure_threshold": 100})).await;
    stage.receiver.answer("hook", |_| Answer::status(500));
    stage.goal("late").await;
    stage.receiver.wait_for("hook", 1).await;
    stage
        .count_is("select count(*) from deliveries where status = 'retrying'", 1)
        .await;
    stage.process.terminate();
    assert!(stage.process.ended(TIMEOUT).await.success());
    let made_late = sqlx::query(
        "update deliveries set next_retry_at = now() - interval '2 h', updated_at = now() - interval '2 h'
         where status = 'retrying'",
    );
    assert_eq!(made_late.execute(stage.pool()).await.unwrap().rows_affected(), 1);
    stage.receiver.answer("hook", |_| Answer::status(200));
    stage.process = stage.deployment.serve(&[]).await;
    stage
        .count_is(
            "select count(*) from deliveries where status = 'delivered' and attempts = 2",
            1,
        )
        .await;
    stage.count_is("select count(*) from parked", 0).await;
    assert_eq!(stage.receiver.received("hook").len(), 2);
}
