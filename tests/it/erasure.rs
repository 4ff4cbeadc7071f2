//! A site that is deleted, and what is left of it.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::kafka;
use crate::support::receiver::{Answer, Receiver};

const SITE: &str = "erased.example";
const KEPT: &str = "kept.example";
const ALIAS: &str = "alias-of-the-erased.example";
/// Tables that keep the id of an erased site: who did it and when; the job itself; changes that
/// replicas still have to read, for half an hour; the scope of tokens.
const KEEPERS: [&str; 4] = ["audit_log", "jobs", "config_changes", "api_tokens"];

/// Tables with a row that holds one of these texts in a column.
async fn tables_with(pool: &PgPool, texts: &[String]) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
         where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace
         order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut found = Vec::new();
    for table in tables {
        // As text, bytes come in hexadecimal digits.
        let statement = format!(
            "select exists (select from {table} t, unnest($1::text[]) as wanted (word)
             where position(word in t::text) > 0 or position(encode(word::bytea, 'hex') in t::text) > 0)"
        );
        let is_there: bool = sqlx::query_scalar(&statement)
            .bind(texts)
            .fetch_one(pool)
            .await
            .unwrap();
        if is_there {
            found.push(table);
        }
    }
    found
}

async fn post(deployment: &Deployment, process: &Process, path: &str, body: Value) -> Value {
    let (status, answer) = deployment.call(process, Method::POST, path, Some(body)).await;
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

/// Rows that a detector or a deliverer writes only after a while.
async fn plant(pool: &PgPool, webhook: &str) {
    for statement in [
        "insert into site_activity (site_id, hour, minutes, covered, events, goals, updated_at)
         select site_id, date_trunc('hour', now(), 'UTC'), '', 0, 1, '{}', now() from planted
         on conflict do nothing",
        "insert into site_now (site_id, current_visitors, as_of, triggers, updated_at)
         select site_id, 1, now(), '[]', now() from planted on conflict do nothing",
        "insert into episodes (id, site_id, event_type, trigger, webhook_ids, started_at, peak, updated_at)
         select gen_random_uuid(), site_id, 'visitor_spike', '{}', array[webhook], now(), 5, now() from planted",
        "insert into operator_notices (id, event_type, body, due_at)
         select gen_random_uuid(), 'webhook_failing', convert_to(format('{\"site_id\":\"%s\"}', site_id), 'UTF8'),
             now() + interval '1 day'
         from planted",
    ] {
        let planted = "with planted as (select $1 as site_id, $2::uuid as webhook) ";
        sqlx::query(&format!("{planted}{statement}"))
            .bind(SITE)
            .bind(webhook)
            .execute(pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_erased_site_leaves_nothing_behind() {
    let deployment = Deployment::create(&[("kafka.partitions", "1")]).await;
    let receiver = Receiver::start().await;
    receiver.answer("failing", |_| Answer::status(500));
    let process = deployment.serve(&[]).await;
    let pool = deployment.database.pool.clone();
    let site = format!("/api/sites/{SITE}");
    let (status, _) = deployment
        .call(&process, Method::PUT, &site, Some(json!({"aliases": [ALIAS]})))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    let goal = json!({"name": "Signup", "kind": "event", "event": "signup"});
    post(&deployment, &process, &format!("{site}/goals"), goal).await;
    let until = bellwether::clock::now() + chrono::TimeDelta::days(1);
    let mut ids = Vec::new();
    for (path, extra) in [
        ("well", json!({})),
        ("failing", json!({"failure_threshold": 1})),
        ("paused", json!({"paused_until": until})),
    ] {
        let mut body =
            json!({"url": receiver.url(path), "events": ["goal_completion"], "headers": {"X-Key": "k"}});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let made = deployment.create_webhook(&process, SITE, body).await;
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    deployment
        .goal_webhook(&process, KEPT, &receiver.url("kept"))
        .await;
    deployment.registry_is_read(&process).await;
    for site_id in [SITE, KEPT] {
        let event = json!({"site_id": site_id, "type": "goal", "name": "Signup", "visitor_id": "v"});
        deployment.publish(event).await;
    }
    let uuids: Vec<String> = sqlx::query_scalar("select id::text from webhooks where site_id = $1")
        .bind(SITE)
        .fetch_all(&pool)
        .await
        .unwrap();
    let count =
        async |query: &'static str| -> i64 { sqlx::query_scalar(query).fetch_one(&pool).await.unwrap() };
    eventually("everything is there", Duration::from_secs(60), || async {
        let ended = count("select count(*) from deliveries where status in ('delivered', 'failed')").await;
        let waiting = count("select count(*) from parked").await;
        (ended == 3 && waiting == 1).then_some(())
    })
    .await;
    let of_webhook = |id: &str, call: &str| format!("{site}/webhooks/{id}/{call}");
    post(&deployment, &process, &of_webhook(&ids[0], "test"), json!({})).await;
    post(
        &deployment,
        &process,
        &of_webhook(&ids[0], "rotate-secret"),
        json!({}),
    )
    .await;
    let since = json!({"since": "2020-01-01T00:00:00Z"});
    post(&deployment, &process, &of_webhook(&ids[2], "recover"), since).await;
    post(&deployment, &process, &format!("{site}/portal-links"), json!({})).await;
    plant(&pool, &uuids[0]).await;

    // Without a deliverer, so that records of the site lie in Kafka while it is erased.
    let mut process = process;
    process.terminate();
    process.ended(Duration::from_secs(60)).await;
    let process = deployment.serve(&["--roles", "detect,api"]).await;
    deployment
        .publish(json!({"site_id": SITE, "type": "goal", "name": "Signup", "visitor_id": "w"}))
        .await;
    let decided = r#"bellwether_notifications_total{event="goal_completion"}"#;
    eventually("the goal is decided", Duration::from_secs(60), || async {
        (process.metric(decided).await > 0.0).then_some(())
    })
    .await;
    let mut wanted = uuids;
    wanted.extend(ids);
    wanted.extend([SITE, ALIAS].map(str::to_owned));
    let found = tables_with(&pool, &wanted).await;
    for table in [
        "sites",
        "goals",
        "webhooks",
        "webhook_secrets",
        "webhook_tests",
        "webhook_health",
        "deliveries",
        "parked",
        "site_activity",
        "site_now",
        "episodes",
        "operator_notices",
    ] {
        assert!(
            found.iter().any(|one| one == table),
            "{table} has rows of it before"
        );
    }
    let (status, _) = deployment.call(&process, Method::DELETE, &site, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _) = deployment.call(&process, Method::GET, &site, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    eventually("nothing is left", Duration::from_secs(30), || async {
        let left = tables_with(&pool, &wanted).await;
        left.iter()
            .all(|table| KEEPERS.contains(&table.as_str()))
            .then_some(())
    })
    .await;

    // The deliverer reads the record that is left, and then one of another site.
    sqlx::query("create table rows_made (site_id text)")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::raw_sql(
        "create function note_row() returns trigger language plpgsql as
             $$ begin insert into rows_made values (new.site_id); return null; end $$;
         create trigger row_made after insert on deliveries for each row execute function note_row();",
    )
    .execute(&pool)
    .await
    .unwrap();
    let _deliverer = deployment.serve(&["--roles", "deliver"]).await;
    deployment
        .publish(json!({"site_id": KEPT, "type": "goal", "name": "Signup", "visitor_id": "w"}))
        .await;
    eventually(
        "the other site's is delivered",
        Duration::from_secs(60),
        || async {
            let made: Vec<String> = sqlx::query_scalar("select site_id from rows_made")
                .fetch_all(&pool)
                .await
                .unwrap();
            made.contains(&KEPT.to_owned()).then_some(())
        },
    )
    .await;
    // An offset is committed once its outcome is written, or needs no row.
    let (group, topic) = (deployment.topic("deliver"), deployment.topic("deliveries"));
    eventually("every record is complete", Duration::from_secs(60), || async {
        (kafka::uncommitted(&group, &topic) == 0).then_some(())
    })
    .await;
    let made: Vec<String> = sqlx::query_scalar("select distinct site_id from rows_made")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(made, [KEPT]);
    let left = tables_with(&pool, &wanted).await;
    assert!(
        left.iter().all(|table| KEEPERS.contains(&table.as_str())),
        "{left:?}"
    );
    assert_eq!(receiver.received("kept").len(), 2);
}
