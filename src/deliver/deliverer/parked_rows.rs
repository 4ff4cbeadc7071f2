//! Taking rows of `parked` back when their endpoints have room, and cancelling those of webhooks
//! that are off or deleted. One look a second finds the webhooks for which rows wait; between two
//! looks, rows are claimed as room appears.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;

use super::{Deliverer, now_of};
use crate::clock;
use crate::deliver::decide::WebhookState;
use crate::deliver::events::{LaneEvent, Looked};
use crate::deliver::intake::work::{Assignment, Work};
use crate::deliver::resume::{DeliveryProgress, Resume, resume};
use crate::deliver::rows;
use crate::domain::delivery::{DeliveryStatus, FailureReason};
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, WebhookId};
use crate::domain::time::from_ms;
use crate::record::jobs;
use crate::record::parked::{self, ClaimedRow, GivenBackRow, TakenRows};
use crate::record::pg_monitor::PgMonitor;
use crate::telemetry::Metrics;
use crate::telemetry::words::PostgresOp;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause between two claims, so that each finds room for many rows.
const REFILL_EVERY: Duration = Duration::from_millis(20);
/// Rows claimed at a time.
const MOST_ROWS: i32 = 1_000;
/// Time beyond a request's deadline until a claimed row has surely been sent or given back.
const CLAIM_SLACK: Duration = Duration::from_secs(60);

impl Deliverer {
    /// Looks and claims, when it is time.
    pub(super) fn look_after_parked(&mut self, now: Instant) {
        if self.looks.looking_since.is_none() && now >= self.looks.look_at {
            self.look(now);
        }
        let is_due = self.looks.wants_refill || self.backlog.next_due_ms(i64::MIN).is_some();
        if is_due && self.looks.may_refill(self.unsent.len(), now) {
            self.looks.refill_at = now + REFILL_EVERY;
            self.refill(now);
        }
    }

    /// Time at which `look_after_parked` has something to do, if nothing is reported before.
    pub(super) fn looks_wake(&self, now: Instant) -> Option<Instant> {
        let look = self.looks.looking_since.is_none().then_some(self.looks.look_at);
        let refill = (self.looks.wants_refill && !self.looks.is_taking).then_some(self.looks.refill_at);
        let now_ms = clock::now_ms();
        let due = self.backlog.next_due_ms(now_ms).map(|due_ms| {
            let wait_ms = u64::try_from(due_ms - now_ms).unwrap_or(0);
            // Due times may lie far away; a look comes before.
            now + Duration::from_millis(wait_ms.min(10_000))
        });
        [look, refill, due].into_iter().flatten().min()
    }

    fn look(&mut self, now: Instant) {
        let numbers = self.links.owned.numbers();
        if numbers.is_empty() {
            self.looks.look_at = now + LOOK_EVERY;
            return;
        }
        self.looks.looking_since = Some(now);
        self.backlog.begin_look();
        let (pool, monitor) = (self.links.pool.clone(), self.links.monitor.clone());
        let (events, give_up) = (self.links.events.clone(), self.links.give_up.clone());
        let claim = self.links.timeout + CLAIM_SLACK;
        self.links.tasks.spawn(async move {
            let look = monitor.once(PostgresOp::Unpark, async {
                let mut connection = pool.acquire().await?;
                let ended = parked::take_ended(&mut connection, &numbers, MOST_ROWS, claim).await?;
                // An error ends the claims in their own time.
                let waiting = parked::waiting_webhooks(&mut connection, &numbers).await?;
                let withdrawn = jobs::withdrawn_recoveries(&mut connection).await?;
                let withdrawn = withdrawn.into_iter().collect();
                Ok((Looked { waiting, withdrawn }, ended))
            });
            if let Some(looked) = give_up.run_until_cancelled(Box::pin(look)).await {
                let (found, ended) =
                    looked.map_or_else(|_| Default::default(), |(found, ended)| (Some(found), ended));
                drop(events.send(LaneEvent::Waiting { found, ended }));
            }
        });
    }

    /// Handles what a look has found.
    pub(super) fn looked(&mut self, found: Option<Looked>, ended: TakenRows) {
        // Neither its endpoint's health nor a pause nor its rate holds back what needs no request.
        self.arrange(ended);
        let now = clock::monotonic();
        let took = self
            .looks
            .looking_since
            .take()
            .map_or(Duration::ZERO, |since| now.duration_since(since));
        // A look that takes long comes seldom.
        self.looks.look_at = now + LOOK_EVERY.max(took * 10);
        let Some(Looked { waiting, withdrawn }) = found else {
            return;
        };
        self.withdraw(withdrawn);
        for gone in self.backlog.looked(&waiting) {
            self.scheduler.note_parked(gone, false);
        }
        for one in &waiting {
            if let WebhookState::There(webhook) = self.snapshot(one.webhook_id).webhook {
                self.set_up(&webhook, now_of(now));
                self.scheduler.note_parked(one.webhook_id, true);
            }
        }
        self.mark_paused(&waiting);
        self.looks.want_refill();
    }

    /// Claims rows of the endpoints that have room.
    fn refill(&mut self, now: Instant) {
        self.looks.wants_refill = false;
        let due: Vec<WebhookId> = self.backlog.due(clock::now_ms()).collect();
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        let mut left = MOST_ROWS;
        for id in due {
            let reason = match self.snapshot(id).webhook {
                WebhookState::There(webhook) if webhook.enabled && !webhook.disabled => {
                    self.set_up(&webhook, now_of(now));
                    let claimed = usize::try_from(MOST_ROWS - left).unwrap_or(0);
                    let room = self.scheduler.room_for_parked(id, claimed, now_of(now));
                    let room = i32::try_from(room).unwrap_or(i32::MAX).min(left);
                    if room > 0 {
                        left -= room;
                        wanted.push((id, room));
                    }
                    continue;
                }
                WebhookState::There(_) => FailureReason::Disabled,
                WebhookState::Absent => FailureReason::Deleted,
                WebhookState::Unreadable => continue,
            };
            unwanted.push((id, reason));
        }
        if !wanted.is_empty() {
            self.take(wanted);
        }
        if !unwanted.is_empty() && !self.looks.is_cancelling {
            self.cancel(unwanted);
        }
    }

    fn take(&mut self, asked: Vec<(WebhookId, i32)>) {
        self.looks.is_taking = true;
        let (pool, monitor) = (self.links.pool.clone(), self.links.monitor.clone());
        let (events, give_up) = (self.links.events.clone(), self.links.give_up.clone());
        let claim = self.links.timeout + CLAIM_SLACK;
        self.links.tasks.spawn(async move {
            let take = take_rows(&pool, &monitor, &asked, claim);
            if let Some(rows) = give_up.run_until_cancelled(Box::pin(take)).await {
                drop(events.send(LaneEvent::Taken { asked, rows }));
            }
        });
    }

    /// Lets claimed rows wait for their turn.
    pub(super) fn taken(&mut self, asked: &[(WebhookId, i32)], rows: TakenRows) {
        self.looks.is_taking = false;
        self.looks.want_refill();
        for (id, room) in asked {
            let readable = rows.readable.iter().map(|row| row.webhook_id);
            let newer = rows.newer.iter().map(|row| row.webhook_id);
            let came = readable.chain(newer).filter(|webhook| webhook == id).count();
            if came < usize::try_from(*room).unwrap_or(0) {
                self.backlog.taken_all(*id);
                self.scheduler.note_parked(*id, false);
            }
        }
        self.arrange(rows);
    }

    /// Goes on with claimed rows, each by what is recorded of its delivery.
    fn arrange(&mut self, rows: TakenRows) {
        let (now, now_ms) = (clock::monotonic(), clock::now_ms());
        if let Some(newer) = rows.newer.first()
            && let Some(suppressed) = self.newer_logged.admit(now)
        {
            tracing::error!(
                delivery.id = %newer.delivery_id,
                webhook.id = %newer.webhook_id,
                deliveries = rows.newer.len(),
                suppressed,
                "parked deliveries of a newer version are held back: finish the upgrade"
            );
        }
        let (mut given_back, mut orphans) = (Vec::new(), Vec::new());
        // What owners that died have noted of the rows may be unknown yet.
        let has_health = self.has_health();
        for row in rows.readable {
            let id = row.delivery_id;
            match self.links.owned.assignment(row.partition) {
                None => given_back.push(row.given_back()),
                Some(assignment) if assignment.is_revoked() || !has_health => {
                    given_back.push(row.given_back());
                }
                Some(assignment) => match self.work_of(row, assignment, now, now_ms) {
                    None => orphans.push(id),
                    Some((work, progress)) => {
                        let decision = resume(work.record.attempt, true, Some(&progress), now_ms);
                        if let Resume::Send { possible_repeat } = decision {
                            let mut work = work;
                            work.suspect |= possible_repeat;
                            self.arrive(work);
                        } else if let Some(work) = self.admit(work) {
                            self.resume_unsent(work, decision, Some(progress));
                        }
                    }
                },
            }
        }
        if !orphans.is_empty() {
            tracing::warn!(
                deliveries = orphans.len(),
                "deliveries that waited are not sent: their history is gone, as they waited longer than \
                 postgres.retention or their site was erased"
            );
        }
        self.clean_up(given_back, orphans);
    }

    fn work_of(
        &self,
        row: ClaimedRow,
        assignment: Arc<Assignment>,
        now: Instant,
        now_ms: i64,
    ) -> Option<(Work, DeliveryProgress)> {
        let paused_to_ms = match self.snapshot(row.webhook_id).webhook {
            WebhookState::There(webhook) => webhook.paused_to_ms(now_ms),
            WebhookState::Unreadable | WebhookState::Absent => now_ms,
        };
        rows::work_of(row, assignment, now, paused_to_ms)
    }

    /// Gives rows of other owners back, and removes those whose delivery's history is gone.
    pub(super) fn clean_up(&self, given_back: Vec<GivenBackRow>, orphans: Vec<DeliveryId>) {
        if given_back.is_empty() && orphans.is_empty() {
            return;
        }
        let (pool, monitor) = (self.links.pool.clone(), self.links.monitor.clone());
        self.links.tasks.spawn(async move {
            // After an error their claims end by themselves.
            drop(
                monitor
                    .once(PostgresOp::Unpark, async {
                        let mut connection = pool.acquire().await?;
                        parked::release(&mut connection, &given_back).await?;
                        parked::remove(&mut connection, &orphans).await
                    })
                    .await,
            );
        });
    }

    /// Cancels what waits for webhooks that are off or deleted, in batches.
    fn cancel(&mut self, webhooks: Vec<(WebhookId, FailureReason)>) {
        self.looks.is_cancelling = true;
        let (pool, monitor) = (self.links.pool.clone(), self.links.monitor.clone());
        let (events, give_up) = (self.links.events.clone(), self.links.give_up.clone());
        let (metrics, claim) = (self.links.metrics.clone(), self.links.timeout + CLAIM_SLACK);
        for (id, _) in &webhooks {
            self.backlog.taken_all(*id);
        }
        self.links.tasks.spawn(async move {
            let left: Vec<_> = webhooks.iter().map(|(id, _)| (*id, MOST_ROWS)).collect();
            let cancel = async {
                for (id, reason) in webhooks {
                    let cancel = || async {
                        let mut connection = pool.acquire().await?;
                        parked::cancel_batch(&mut connection, id, reason).await
                    };
                    cancel_all(&monitor, &metrics, reason, cancel).await;
                }
                // What failed for good may still need its dead letter.
                take_rows(&pool, &monitor, &left, claim).await
            };
            let rows = give_up.run_until_cancelled(Box::pin(cancel)).await;
            drop(events.send(LaneEvent::Cancelled(rows.unwrap_or_default())));
        });
    }

    /// Notes that a round of cancelling is over, and goes on with what it left.
    pub(super) fn cancelled(&mut self, rows: TakenRows) {
        self.looks.is_cancelling = false;
        self.arrange(rows);
    }
}

/// Claims rows that are due, for `claim`. After an error there are none: the next look finds them.
async fn take_rows(
    pool: &PgPool,
    monitor: &PgMonitor,
    asked: &[(WebhookId, i32)],
    claim: Duration,
) -> TakenRows {
    let now = from_ms(clock::now_ms());
    let take = monitor.once(PostgresOp::Unpark, async {
        let mut connection = pool.acquire().await?;
        parked::take(&mut connection, asked, now, claim).await
    });
    take.await.unwrap_or_default()
}

/// Cancels batch after batch until none is left or Postgres refuses, and counts.
async fn cancel_all<F>(
    monitor: &PgMonitor,
    metrics: &Metrics,
    reason: FailureReason,
    mut cancel_batch: impl FnMut() -> F,
) where
    F: Future<Output = sqlx::Result<(Vec<(EventType, i64)>, bool)>>,
{
    while let Ok((cancelled, has_more)) = monitor.once(PostgresOp::Unpark, cancel_batch()).await {
        for (event, count) in cancelled {
            let count = count.unsigned_abs();
            metrics
                .deliveries
                .with_label_values(&[event.as_str(), DeliveryStatus::Cancelled.as_str()])
                .inc_by(count);
            metrics
                .delivery_failures
                .with_label_values(&[reason.as_str()])
                .inc_by(count);
        }
        if !has_more {
            break;
        }
    }
}
