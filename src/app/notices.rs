//! Changes of a webhook's health, told to the site's other webhooks and to the operator.
//!
//! The database writes a notice with the change; here each becomes deliveries in `parked`, in the
//! transaction that removes it. So a change is told of once, whichever process dies.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::watch;

use super::context::AppContext;
use crate::clock;
use crate::domain::delivery::Origin;
use crate::domain::event::EventType;
use crate::domain::health::{HealthState, ParkReason};
use crate::domain::id::{DeliveryId, NotificationId, NotificationKind};
use crate::domain::notification::{Notification, NotificationData};
use crate::domain::registry::{Registry, Site};
use crate::domain::site::SiteId;
use crate::domain::webhook::Subscription;
use crate::kafka::murmur2::partition_of;
use crate::record::notices::{self, HealthNotice, NoticedWebhook};
use crate::record::pg_monitor::PgMonitor;
use crate::record::resends::{self, QueuedBatch, QueuedDelivery};
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::telemetry::words::PostgresOp;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

struct Notices {
    pool: PgPool,
    monitor: PgMonitor,
    registry: watch::Receiver<Arc<Registry>>,
    metrics: Arc<Metrics>,
    partitions: i32,
    has_operator: bool,
}

/// Starts the work. A failure is logged and tried again; none of it stops the process.
pub(super) fn start(app: &AppContext, tasks: &mut Tasks) {
    let work = Notices {
        pool: app.pool.clone(),
        monitor: app.pg_monitor.clone(),
        registry: app.registry.clone(),
        metrics: Arc::clone(&app.metrics),
        partitions: app.config.kafka.partitions,
        has_operator: app.config.operator.webhook(&app.config.webhooks).is_some(),
    };
    let finished = app.lifecycle.finished.clone();
    tasks.spawn_background("notices", async move {
        Box::pin(finished.run_until_cancelled(work.run())).await;
        Ok(())
    });
}

impl Notices {
    async fn run(&self) {
        loop {
            let looked = self.monitor.once(PostgresOp::Circuits, async {
                let mut connection = self.pool.acquire().await?;
                self.pass_on(&mut connection).await
            });
            // After an error it is tried again; the monitor has logged it.
            if !looked.await.unwrap_or(false) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Passes a notice on; false if there is none.
    async fn pass_on(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        let mut tx = connection.begin().await?;
        let Some(notice) = notices::take(&mut tx).await? else {
            return Ok(false);
        };
        let site_id: Option<SiteId> = notice
            .webhook
            .as_ref()
            .and_then(|webhook| webhook.site_id.parse().ok());
        if let (Some(webhook), Some(site_id)) = (&notice.webhook, site_id) {
            let site = self.registry.borrow().sites.get(&site_id).cloned();
            let message = NoticeMessage::new(&notice, webhook, &site_id, site.as_deref());
            let subscribers = site.iter().flat_map(|site| subscribers(site, &notice));
            for subscriber in subscribers {
                self.queue(&mut tx, &notice, &message, &site_id, subscriber)
                    .await?;
            }
            if self.has_operator {
                let event = notice.event.as_str();
                notices::queue_for_operator(&mut tx, message.id, event, &message.body, clock::now()).await?;
            }
            let event = notice.event.as_str();
            self.metrics.notifications.with_label_values(&[event]).inc();
            tracing::info!(
                site.id = %site_id, webhook.id = %notice.webhook_id, notification.id = %message.id, event,
                "the health of a webhook has changed"
            );
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn queue(
        &self,
        connection: &mut PgConnection,
        notice: &HealthNotice,
        message: &NoticeMessage,
        site_id: &SiteId,
        subscriber: &Subscription,
    ) -> sqlx::Result<()> {
        let batch = QueuedBatch {
            webhook: subscriber.id,
            site_id: site_id.as_str(),
            partition: partition_of(subscriber.id.to_string().as_bytes(), self.partitions),
            origin: Origin::Event,
            reason: ParkReason::Queue,
            job: None,
            now: clock::now(),
        };
        let delivery = QueuedDelivery {
            id: DeliveryId::derive(message.id, subscriber.id),
            notification_id: message.id,
            event_type: notice.event.as_str().to_owned(),
            payload: message.body.clone(),
            created_at: notice.changed_at,
            resend_of: None,
        };
        resends::queue(connection, batch, &[delivery]).await?;
        Ok(())
    }
}

/// The webhooks of the site that hear of the change, in the order of their ids, in which everybody
/// locks their health. One that Bellwether has disabled is among them: what it misses is recorded.
fn subscribers<'a>(site: &'a Site, notice: &HealthNotice) -> Vec<&'a Subscription> {
    let changed_ms = notice.changed_at.timestamp_millis();
    let mut found: Vec<&Subscription> = site
        .webhooks
        .iter()
        .map(Arc::as_ref)
        .filter(|webhook| webhook.triggers.health.contains(&notice.event))
        .filter(|webhook| webhook.id != notice.webhook_id && webhook.enabled)
        .filter(|webhook| webhook.active_since_ms <= changed_ms)
        .collect();
    found.sort_unstable_by_key(|webhook| webhook.id);
    found
}

/// A notification, ready to be sent.
struct NoticeMessage {
    id: NotificationId,
    body: Vec<u8>,
}

impl NoticeMessage {
    fn new(notice: &HealthNotice, webhook: &NoticedWebhook, site_id: &SiteId, site: Option<&Site>) -> Self {
        let state = match notice.event {
            EventType::WebhookFailing => HealthState::Open,
            EventType::WebhookRecovered => HealthState::Ok,
            _ => HealthState::Disabled,
        };
        let id = NotificationId::derive(
            notice.changed_at.timestamp_millis(),
            site_id.as_str(),
            notice.event.as_str(),
            NotificationKind::Health,
            &[notice.webhook_id.uuid().as_bytes(), state.as_str().as_bytes()],
        );
        let body = Notification {
            id,
            event: notice.event,
            site_id: site_id.clone(),
            site_name: site.and_then(|site| site.name.as_deref()),
            link: site.and_then(|site| site.link.as_deref()),
            timestamp: notice.changed_at,
            data: NotificationData::WebhookHealth {
                webhook_id: notice.webhook_id,
                name: &webhook.name,
                reason: notice.reason.as_deref(),
                since: notice.since,
                waiting: webhook.waiting,
            },
        }
        .to_body();
        Self { id, body }
    }
}
