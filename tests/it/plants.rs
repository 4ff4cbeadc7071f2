//! Credentials planted wherever they may come in, and looked for wherever they must not come out.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::Deployment;
use crate::support::receiver::{Answer, Receiver};
use crate::support::{eventually, free_port};

const SITE: &str = "plants.example";
const IN_URL: &str = "T0PLANTEDURLPATH0001";
const IN_QUERY: &str = "PLANTEDQUERYVALUE002";
const IN_HEADER: &str = "Bearer-PLANTEDHEADER03";
const IN_SECRET: &str = "PLANTED-secret-of-04-chars";
/// In the path of the page that completes a goal.
const IN_GOAL_PATH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b";
const IN_VISITOR: &str = "PLANTEDVISITOR05";

const PLANTS: [&str; 6] = [IN_URL, IN_QUERY, IN_HEADER, IN_SECRET, IN_GOAL_PATH, IN_VISITOR];

/// The planted text that `text` holds.
fn found(text: &str) -> Option<&'static str> {
    PLANTS.into_iter().find(|plant| text.contains(plant))
}

/// Every table's rows as text, but the columns of ciphertext: bytes as text where they are text.
async fn tables(pool: &PgPool) -> Vec<(String, String)> {
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "select c.table_name::text, c.column_name::text, c.data_type::text from information_schema.columns c
         join pg_class t on t.oid = c.table_name::regclass
         where c.table_schema = 'public' and not t.relispartition order by 1, 2",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut all = Vec::new();
    for (table, column, kind) in columns {
        let as_text = match kind.as_str() {
            "bytea" => format!("encode({column}, 'escape')"),
            _ => format!("{column}::text"),
        };
        let statement = format!("select {as_text} from {table} where {column} is not null");
        let values: Vec<String> = sqlx::query_scalar(&statement).fetch_all(pool).await.unwrap();
        all.push((format!("{table}.{column}"), values.join("\n")));
    }
    all
}

/// A webhook whose every credential is planted, at an endpoint that repeats them all.
async fn plant(
    deployment: &Deployment,
    process: &crate::support::app::Process,
    receiver: &Receiver,
) -> Value {
    let path = format!("hook/{IN_URL}");
    receiver.answer(&path, |attempt| {
        let mut answer = Answer::status(if attempt == 1 { 500 } else { 200 });
        answer.body = format!("{IN_URL} {IN_QUERY} {IN_HEADER} {IN_SECRET}");
        answer.with("Retry-After", "1").with("X-Echo", IN_HEADER)
    });
    let body = json!({
        "name": "planted",
        "url": format!("{}?key={IN_QUERY}", receiver.url(&path)),
        "headers": {"X-Key": IN_HEADER},
        "secret": IN_SECRET,
        "events": ["goal_completion"],
    });
    deployment.create_webhook(process, SITE, body).await
}

#[tokio::test]
async fn planted_credentials_come_out_nowhere_but_at_the_endpoint() {
    let deployment = Deployment::create(&[]).await;
    let process = deployment.serve(&[]).await;
    let receiver = Receiver::start().await;
    let goals = format!("/api/sites/{SITE}/goals");
    let (_, created) = deployment
        .call(
            &process,
            Method::PUT,
            &format!("/api/sites/{SITE}"),
            Some(json!({})),
        )
        .await;
    assert_eq!(found(&created.to_string()), None);
    let goal = json!({"name": "Reset", "kind": "page", "path": "/reset/*"});
    deployment.call(&process, Method::POST, &goals, Some(goal)).await;
    let webhook = plant(&deployment, &process, &receiver).await;
    // Refused calls repeat nothing of what they were given.
    let bad =
        json!({"url": format!("https://user:{IN_SECRET}@x.example"), "secret": IN_SECRET, "events": []});
    let hooks = format!("/api/sites/{SITE}/webhooks");
    let (_, refused) = deployment.call(&process, Method::POST, &hooks, Some(bad)).await;
    assert_eq!(found(&refused.to_string()), None, "{refused}");
    // Nobody answers there: an error column and the log tell of it.
    let dead = json!({
        "url": format!("http://127.0.0.1:{}/{IN_URL}?key={IN_QUERY}", free_port()),
        "headers": {"X-Key": IN_HEADER},
        "secret": IN_SECRET,
        "events": ["goal_completion"],
    });
    let dead = deployment.create_webhook(&process, SITE, dead).await;
    deployment.registry_is_read(&process).await;
    deployment
        .publish(json!({
            "site_id": SITE, "type": "pageview", "visitor_id": IN_VISITOR, "path": format!("/reset/{IN_GOAL_PATH}"),
        }))
        .await;

    let history = |id: &Value| format!("{hooks}/{}/deliveries", id.as_str().unwrap());
    for (id, status) in [(&webhook["id"], "delivered"), (&dead["id"], "failed")] {
        eventually("the delivery ends", Duration::from_secs(60), || async {
            let (_, list) = deployment.call(&process, Method::GET, &history(id), None).await;
            (list["data"][0]["status"] == status).then_some(())
        })
        .await;
        let (_, list) = deployment.call(&process, Method::GET, &history(id), None).await;
        let one = format!("{}/{}", history(id), list["data"][0]["id"].as_str().unwrap());
        let (_, one) = deployment.call(&process, Method::GET, &one, None).await;
        assert_eq!(found(&list.to_string()), None, "{list}");
        assert_eq!(found(&one.to_string()), None, "{one}");
    }
    // The endpoint itself gets what is its own.
    let received = &receiver.received(&format!("hook/{IN_URL}"))[0];
    assert_eq!(received.header("x-key"), IN_HEADER);
    assert_eq!(found(&received.json().to_string()), None);

    assert_eq!(found(&process.metrics().await.unwrap()), None);
    let log = process.log_text();
    assert!(log.contains("127.0.0.1"), "the log tells of the attempts");
    let line = log.lines().find(|line| found(line).is_some());
    assert_eq!(line, None);
    for (column, values) in tables(&deployment.database.pool).await {
        assert_eq!(found(&values), None, "{column}");
    }
}
