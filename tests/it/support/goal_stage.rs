//! A process, and a webhook that hears of the goals of a site.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;

use super::app::{Deployment, Process};
use super::eventually;
use super::receiver::Receiver;

pub(crate) const SITE: &str = "example.com";

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

    pub(crate) fn pool(&self) -> &PgPool {
        &self.deployment.database.pool
    }

    /// Pauses every webhook until an instant of Postgres, and waits until the process knows.
    pub(crate) async fn pause(&self, until: &str) {
        let sql = format!("update webhooks set paused_until = {until}, updated_at = now()");
        sqlx::query(&sql).execute(self.pool()).await.unwrap();
        self.deployment.registry_is_read(&self.process).await;
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.pool()).await.unwrap()
    }

    pub(crate) async fn count_is(&self, query: &'static str, wanted: i64) {
        let patience = Duration::from_secs(60);
        eventually(&format!("{wanted} for {query}"), patience, || async {
            (self.count(query).await == wanted).then_some(())
        })
        .await;
    }
}
