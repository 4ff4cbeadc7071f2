//! The operator's webhook: what waits for it in Postgres is sent one by one, and again until it
//! arrives.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::context::AppContext;
use super::deliver;
use crate::clock;
use crate::config::OperatorWebhook;
use crate::deliver::http::client::{ClientOptions, WebhookClient};
use crate::deliver::request::AttemptFacts;
use crate::deliver::single_send::SingleSender;
use crate::domain::attempt::AttemptResult;
use crate::domain::id::{DeliveryId, WebhookId};
use crate::domain::operator::OperatorEvent;
use crate::domain::site::SiteId;
use crate::domain::webhook::{Format, Webhook};
use crate::record::notices::{self, OperatorNotice};
use crate::record::pg_monitor::PgMonitor;
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::words::NoticeOutcome;
use crate::telemetry::words::PostgresOp;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Delays after an attempt that failed, in seconds; the last one repeats.
const DELAYS: [i64; 6] = [1, 2, 4, 60, 300, 900];
/// Age at which a notification is given up.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::hours(24);
/// Time beyond a request's own deadline until its outcome is surely written.
const SLACK: TimeDelta = TimeDelta::seconds(30);
const CONNECTIONS: usize = 4;

struct OperatorSender {
    pool: PgPool,
    monitor: PgMonitor,
    metrics: Arc<Metrics>,
    sender: SingleSender,
    webhook: Webhook,
    timeout: Duration,
    failures: Throttle,
}

/// Starts the work, if the operator has a webhook.
pub(super) fn start(app: &AppContext, tasks: &mut Tasks) -> anyhow::Result<()> {
    let Some(configured) = app.config.operator.webhook(&app.config.webhooks) else {
        return Ok(());
    };
    let options = ClientOptions {
        max_connections: CONNECTIONS,
        ..deliver::client_options(app)?
    };
    let client = WebhookClient::new(options).context("starting the HTTP client of the operator's webhook")?;
    let mut work = OperatorSender {
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
        metrics: Arc::clone(&app.metrics),
        timeout: client.timeout(),
        sender: SingleSender::new(client),
        webhook: webhook_of(configured)?,
        failures: Throttle::new(),
    };
    let finished = app.lifecycle.finished.clone();
    tasks.spawn_background("operator", async move {
        Box::pin(finished.run_until_cancelled(work.run())).await;
        Ok(())
    });
    Ok(())
}

/// The operator's webhook as every other one.
fn webhook_of(configured: OperatorWebhook) -> anyhow::Result<Webhook> {
    // Names are looked up for a site; it shares with a site of this id at worst.
    let site_id: SiteId = "operator".parse()?;
    let id = WebhookId::from_uuid(uuid::Uuid::nil());
    Ok(Webhook::without_row(
        id,
        site_id,
        configured.url,
        configured.secret,
        Format::Json,
    ))
}

impl OperatorSender {
    async fn run(&mut self) {
        loop {
            let now = clock::now();
            let until = now + TimeDelta::from_std(self.timeout).unwrap_or(SLACK) + SLACK;
            let taken = self.monitor.once(PostgresOp::Circuits, async {
                let mut connection = self.pool.acquire().await?;
                notices::take_for_operator(&mut connection, now, until).await
            });
            match taken.await {
                Ok(Some(notice)) => self.send(notice).await,
                Ok(None) | Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn send(&mut self, notice: OperatorNotice) {
        let Ok(event) = notice.event_type.parse::<OperatorEvent>() else {
            // A newer version's is left to it; it is due again later.
            return;
        };
        let facts = AttemptFacts {
            delivery_id: DeliveryId::derive(notice.id, self.webhook.id),
            notification_id: notice.id,
            event: event.as_str(),
            attempt: u32::try_from(notice.attempts).unwrap_or(0) + 1,
            now_ms: clock::now_ms(),
            body: notice.body.clone().into(),
        };
        let attempt = self.sender.send(&self.webhook, facts).await;
        let now = clock::now();
        let next = match attempt.result {
            AttemptResult::Success => None,
            _ => next_attempt(&notice, now),
        };
        let outcome = match (attempt.result, next) {
            (AttemptResult::Success, _) => NoticeOutcome::Delivered,
            (_, Some(_)) => NoticeOutcome::Retried,
            (_, None) => NoticeOutcome::Failed,
        };
        self.metrics
            .operator_notices
            .with_label_values(&[outcome.as_str()])
            .inc();
        if attempt.result != AttemptResult::Success
            && let Some(suppressed) = self.failures.admit(clock::monotonic())
        {
            let (result, error) = (attempt.result.as_str(), attempt.error.as_deref());
            tracing::warn!(
                notification.id = %notice.id,
                outcome = result,
                error,
                suppressed,
                "the operator's webhook did not take a notification"
            );
        }
        self.monitor
            .until_done(PostgresOp::Circuits, || async {
                let mut connection = self.pool.acquire().await?;
                match next {
                    Some(due_at) => {
                        notices::put_off_for_operator(&mut connection, notice.id.uuid(), due_at).await
                    }
                    None => notices::remove_for_operator(&mut connection, notice.id.uuid()).await,
                }
            })
            .await;
    }
}

/// Time of the next attempt; none if the notification is too old for one.
fn next_attempt(notice: &OperatorNotice, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let step = usize::try_from(notice.attempts)
        .unwrap_or(0)
        .min(DELAYS.len() - 1);
    let due_at = now + TimeDelta::seconds(DELAYS[step]);
    (due_at - notice.inserted_at < GIVE_UP_AFTER).then_some(due_at)
}
