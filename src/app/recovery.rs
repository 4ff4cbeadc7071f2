//! Steps of a recovery: what a webhook has missed is counted, then queued in `parked` bit by bit,
//! then waited for.
//!
//! Each step is one transaction that also writes how far the job has come. So a process that dies
//! leaves nothing half done, and the next one goes on behind the last step. A step holds the rows
//! of the job and of its webhook: recoveries of one webhook take turns, and a notification that one
//! of them has queued is on its way for the others.

use std::collections::HashSet;

use anyhow::Context as _;
use chrono::TimeDelta;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::clock;
use crate::domain::delivery::Origin;
use crate::domain::health::ParkReason;
use crate::domain::id::{DeliveryId, JobId, NotificationId, WebhookId};
use crate::domain::site::SiteId;
use crate::kafka::murmur2::partition_of;
use crate::record::jobs::{self, JobStatus, RecoveryCounts, RecoveryProgress, TakenJob};
use crate::record::resends::{self, MissedDelivery, MissedSpan, QueuedBatch, QueuedDelivery, SendState};

/// Rows of a webhook in `parked` up to which a recovery adds more: what happens now needs room,
/// too.
const MOST_WAITING: i64 = 10_000;
/// Pause before a job is looked at again that waits for deliveries to end.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(1);

/// Does the next step of a recovery.
pub(super) async fn go_on(
    connection: &mut PgConnection,
    job: &TakenJob,
    partitions: i32,
) -> anyhow::Result<()> {
    let (webhook, (since, until)) = job.webhook.zip(job.span).context("a recovery without its span")?;
    let site: SiteId = job.site_id.parse().context("the site")?;
    let mut progress: RecoveryProgress = serde_json::from_value(job.progress.clone()).context("progress")?;
    let span = MissedSpan {
        webhook,
        since,
        until,
    };
    let mut tx = connection.begin().await?;
    // First the webhook, then the job: the order of everybody who takes both.
    let state = resends::lock_to_send(&mut tx, &site, webhook).await?;
    if !jobs::lock_running(&mut tx, job.id).await? {
        return Ok(());
    }
    let now = clock::now();
    if !progress.is_queued && state != SendState::On {
        jobs::end(&mut tx, job.id, JobStatus::Failed, now).await?;
        return Ok(tx.commit().await?);
    }
    let mut counts = RecoveryCounts::default();
    let mut due_at = now;
    if !progress.is_counted {
        counts.total = count_some(&mut tx, span, &mut progress).await?;
    } else if !progress.is_queued {
        if resends::waiting(&mut tx, webhook).await? >= MOST_WAITING {
            due_at = now + LOOK_AGAIN;
        } else {
            counts = queue_some(&mut tx, job, span, partitions, &mut progress).await?;
        }
    } else if jobs::unsent(&mut tx, job.id).await? == 0 {
        jobs::end(&mut tx, job.id, JobStatus::Finished, now).await?;
        return Ok(tx.commit().await?);
    } else {
        due_at = now + LOOK_AGAIN;
    }
    jobs::advance(&mut tx, job.id, &progress, counts, due_at).await?;
    Ok(tx.commit().await?)
}

/// Counts a part of what the span has missed. What is overdue comes first: it is cancelled, and so
/// is missed.
async fn count_some(
    connection: &mut PgConnection,
    span: MissedSpan,
    progress: &mut RecoveryProgress,
) -> anyhow::Result<i64> {
    if progress.counted_to.is_none() {
        let ended = resends::end_overdue(connection, span.webhook, span.ids(), clock::now()).await?;
        if ended > 0 {
            tracing::warn!(webhook.id = %span.webhook, deliveries = ended, "a recovery takes up what is overdue");
        }
        if i64::try_from(ended)? >= resends::STEP {
            return Ok(0);
        }
    }
    let (missed, last) = resends::count_missed(connection, span, progress.counted_to).await?;
    progress.counted_to = last;
    progress.is_counted = last.is_none();
    Ok(missed)
}

/// Queues the next deliveries of the span, but for those that the webhook got since or will get.
async fn queue_some(
    connection: &mut PgConnection,
    job: &TakenJob,
    span: MissedSpan,
    partitions: i32,
    progress: &mut RecoveryProgress,
) -> anyhow::Result<RecoveryCounts> {
    let missed = resends::missed(connection, span, progress.queued_to).await?;
    progress.is_queued = i64::try_from(missed.len())? < resends::STEP;
    progress.queued_to = missed.last().map(|one| one.id).or(progress.queued_to);
    let notifications: Vec<Uuid> = missed.iter().map(|one| one.notification_id).collect();
    let sent: HashSet<Uuid> = resends::sent_since(connection, span.webhook, &notifications)
        .await?
        .into_iter()
        .collect();
    let looked_at = i64::try_from(missed.len())?;
    let wanted: Vec<QueuedDelivery> = missed
        .into_iter()
        .filter(|one| !sent.contains(&one.notification_id))
        .filter_map(|one| queued(one, job.id, span.webhook))
        .collect();
    let batch = QueuedBatch {
        webhook: span.webhook,
        site_id: &job.site_id,
        partition: partition_of(span.webhook.to_string().as_bytes(), partitions),
        origin: Origin::Recover,
        reason: ParkReason::Recover,
        job: Some(job.id),
        now: clock::now(),
    };
    let resends = resends::queue(connection, batch, &wanted).await?;
    Ok(RecoveryCounts {
        total: 0,
        resends,
        skipped: looked_at - resends,
    })
}

/// Makes the delivery that sends `missed` again; none if its body is not stored any more.
fn queued(missed: MissedDelivery, job: JobId, webhook: WebhookId) -> Option<QueuedDelivery> {
    let notification_id = NotificationId::from_uuid(missed.notification_id);
    Some(QueuedDelivery {
        id: DeliveryId::derive_resend(job.millis(), job.uuid(), notification_id, webhook),
        notification_id,
        event_type: missed.event_type,
        payload: missed.payload?,
        created_at: missed.created_at,
        resend_of: Some(DeliveryId::from_uuid(missed.id)),
    })
}

/// Cancels the next part of what a cancelled recovery has queued.
pub(super) async fn withdraw(connection: &mut PgConnection, job: &TakenJob) -> anyhow::Result<()> {
    let recovery = job.progress.get("recovery").cloned().unwrap_or_default();
    let recovery = JobId::from_uuid(serde_json::from_value(recovery).context("the recovery")?);
    let mut tx = connection.begin().await?;
    let (cancelled, left) = resends::withdraw(&mut tx, recovery).await?;
    jobs::count_withdrawn(&mut tx, recovery, cancelled).await?;
    let now = clock::now();
    match (cancelled, left) {
        (_, 0) => {
            jobs::end(&mut tx, job.id, JobStatus::Finished, now).await?;
        }
        // What is left is on its way; what comes back of it is cancelled then.
        (0, _) => jobs::put_off(&mut tx, job.id, Some(now + LOOK_AGAIN), now).await?,
        _ => jobs::put_off(&mut tx, job.id, Some(now), now).await?,
    }
    Ok(tx.commit().await?)
}
