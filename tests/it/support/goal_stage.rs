//! A process, and a webhook that hears of the goals of a site.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::app::{Deployment, Process};
use super::eventually;
use super::receiver::Receiver;

pub(crate) const SITE: &str = "example.com";
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct GoalStage {
    pub(crate) deployment: Deployment,
    pub(crate) process: Process,
    pub(crate) receiver: Receiver,
    pub(crate) webhook: String,
}

impl GoalStage {
    /// Starts a process with these settings, and makes a webhook for goals at `/hook` with `extra`
    /// fields.
    pub(crate) async fn start(settings: &[(&str, &str)], extra: Value) -> Self {
        let deployment = Deployment::create(settings).await;
        let process = deployment.serve(&[]).await;
        let receiver = Receiver::start().await;
        let mut body = json!({"name": "goals", "url": receiver.url("hook"), "events": ["goal_completion"]});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let webhook = deployment.create_webhook(&process, SITE, body).await;
        deployment.registry_is_read(&process).await;
        Self {
            webhook: webhook["id"].as_str().unwrap().to_owned(),
            deployment,
            process,
            receiver,
        }
    }

    pub(crate) async fn goal(&self, name: &str) {
        let goal = json!({"site_id": SITE, "type": "goal", "name": name});
        self.deployment.publish(goal).await;
    }

    pub(crate) async fn health(&self) -> Value {
        let path = format!("/api/sites/{SITE}/webhooks/{}", self.webhook);
        let (status, answer) = self
            .deployment
            .call(&self.process, Method::GET, &path, None)
            .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["health"].clone()
    }

    pub(crate) async fn state_is(&self, state: &str) -> Value {
        eventually(&format!("the health is {state}"), PATIENCE, || async {
            let health = self.health().await;
            (health["state"] == state).then_some(health)
        })
        .await
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.deployment.database.pool
    }

    /// Pauses every webhook until an instant of Postgres, and waits until the process knows.
    pub(crate) async fn pause(&self, until: &str) {
        let sql =
            format!("update webhooks set paused_until = {until}, paused_at = now(), updated_at = now()");
        sqlx::query(&sql).execute(self.pool()).await.unwrap();
        self.deployment.registry_is_read(&self.process).await;
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.pool()).await.unwrap()
    }

    pub(crate) async fn count_is(&self, query: &'static str, wanted: i64) {
        eventually(&format!("{wanted} for {query}"), PATIENCE, || async {
            (self.count(query).await == wanted).then_some(())
        })
        .await;
    }
}
