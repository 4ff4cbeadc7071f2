//! One attempt outside of all queues, for a caller that waits for its outcome.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::http::client::WebhookClient;
use super::request::{AttemptFacts, WebhookRequest};
use super::rows;
use crate::clock;
use crate::domain::webhook::Webhook;
use crate::record::outcomes::AttemptRow;

/// Requests under way at a time; further ones wait. Endpoints of one site that hang, each tested as
/// often as it may be, take up a fifth.
const MOST_REQUESTS: usize = 256;

/// Sends single requests.
#[derive(Debug, Clone)]
pub(crate) struct SingleSender {
    client: WebhookClient,
    permits: Arc<Semaphore>,
}

impl SingleSender {
    pub(crate) fn new(client: WebhookClient) -> Self {
        Self {
            client,
            permits: Arc::new(Semaphore::new(MOST_REQUESTS)),
        }
    }

    /// Signs and sends a notification, and returns the attempt as it is recorded. It always ends.
    pub(crate) async fn send(&self, webhook: &Webhook, facts: AttemptFacts) -> AttemptRow {
        let due_at_ms = facts.now_ms;
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let facts = AttemptFacts {
            now_ms: clock::now_ms(),
            ..facts
        };
        let exchange = self
            .client
            .exchange(&WebhookRequest::build(webhook, &facts))
            .await;
        rows::attempt(due_at_ms, webhook.url.masked(), exchange, false)
    }
}
