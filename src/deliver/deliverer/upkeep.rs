//! Health in Postgres, and gauges.

use std::time::{Duration, Instant};

use super::{Deliverer, now_of};
use crate::clock;
use crate::deliver::events::LaneEvent;
use crate::deliver::health_book::health_of;
use crate::deliver::lanes::health::EndpointHealth;
use crate::deliver::lanes::scheduler::Wait;
use crate::domain::health::{HealthReason, HealthState, ParkReason};
use crate::domain::id::WebhookId;
use crate::domain::time::from_ms;
use crate::domain::webhook::DisableReason;
use crate::record::health::{self, HealthRow};
use crate::record::{parked, pauses, send_notes};
use crate::telemetry::words::PostgresOp;
use crate::telemetry::words::WaitCause;

const GAUGES_EVERY: Duration = Duration::from_secs(1);
/// Seconds between two counts of what is parked.
const COUNT_EVERY: u32 = 15;
/// Seconds between two looks for webhooks that should be disabled.
const DISABLE_EVERY: u32 = 5;
/// Time in which an endpoint's webhook is disabled in the ordinary way, in milliseconds.
const FORGOTTEN_AFTER_MS: i64 = 5_000;
/// Most of them at a look.
const MOST_FORGOTTEN: usize = 16;
/// Seconds between two rounds of forgetting endpoints that are idle.
const FORGET_EVERY: u32 = 600;

impl Deliverer {
    /// Reads the health that other owners have stored, once for each assignment.
    pub(super) fn read_health(&mut self) {
        let generation = self.links.owned.generation();
        if !self.health_reads.begin(generation) {
            return;
        }
        self.drop_revoked();
        let (pool, monitor) = (self.links.pool.clone(), self.links.monitor.clone());
        let (events, give_up) = (self.links.events.clone(), self.links.give_up.clone());
        let (dead, numbers) = (self.links.owned.take_dead(), self.links.owned.numbers());
        self.links.tasks.spawn(async move {
            let read = monitor.until_done(PostgresOp::Circuits, || async {
                let mut connection = pool.acquire().await?;
                let noted = match dead.partitions.is_empty() {
                    true => Vec::new(),
                    false => {
                        let partitions: Vec<i32> = dead.partitions.iter().copied().collect();
                        parked::end_claims(&mut connection, &partitions).await?;
                        send_notes::adopt(&mut connection, &dead.nonces).await?
                    }
                };
                let paused = pauses::marked_webhooks(&mut connection, &numbers).await?;
                Ok((health::notable(&mut connection).await?, noted, paused))
            });
            if let Some((rows, noted, paused)) = give_up.run_until_cancelled(Box::pin(read)).await {
                drop(events.send(LaneEvent::HealthRead {
                    generation,
                    rows,
                    noted,
                    paused,
                }));
            }
        });
    }

    /// Forgets what waits here of partitions that were given back.
    fn drop_revoked(&mut self) {
        let revoked = self.scheduler.remove_where(|work| work.assignment().is_revoked());
        for work in revoked {
            // Refused when it arrives again; then its delivery is free for another record.
            self.links.in_flight.requeue(*work);
        }
    }

    /// Adopts the health that other owners have stored.
    pub(super) fn take_health(&mut self, generation: u64, rows: &[HealthRow]) {
        let now = clock::monotonic();
        self.health_reads.answered(generation);
        self.stored_health = rows.iter().map(|row| (row.webhook_id, health_of(row))).collect();
        let known: Vec<WebhookId> = self.scheduler.known().collect();
        for id in known {
            // What is known here and not yet written is the latest.
            let stored = self.stored_health.remove(&id);
            if !self.links.health_book.has(id) {
                let health = stored.unwrap_or_else(|| EndpointHealth::new(clock::now_ms()));
                self.scheduler.set_health(id, health, now_of(now));
            }
        }
        self.backlog.clear();
    }

    /// Disables webhooks that are on though their endpoints are known as disabled for a while: the
    /// process died between the two, or what was to disable them was cancelled. Else every delivery
    /// would be cancelled, and nothing would say why.
    fn disable_the_forgotten(&self) {
        let before_ms = clock::now_ms() - FORGOTTEN_AFTER_MS;
        let registry = self.links.registry.borrow();
        let forgotten = self.scheduler.disabled().filter_map(|(id, health)| {
            let webhook = registry.webhooks.get(&id)?;
            let is_forgotten = webhook.enabled && !webhook.disabled && health.since_ms < before_ms;
            let reason = match health.reason? {
                HealthReason::Gone => DisableReason::Gone,
                HealthReason::OpenTooLong => DisableReason::OpenTooLong,
                _ => return None,
            };
            is_forgotten.then_some((id, reason, *health))
        });
        for (id, reason, health) in forgotten.take(MOST_FORGOTTEN) {
            self.disable(id, reason, health);
        }
    }

    /// Disables a webhook whose endpoint has got this health.
    pub(super) fn disable(&self, webhook: WebhookId, reason: DisableReason, health: EndpointHealth) {
        let (pool, monitor) = (self.links.pool.clone(), self.links.monitor.clone());
        let metrics = self.links.metrics.clone();
        self.links.tasks.spawn(async move {
            let disabled = monitor.until_done(PostgresOp::Circuits, || async {
                let mut connection = pool.acquire().await?;
                let since = from_ms(health.since_ms);
                health::disable(&mut connection, webhook, reason, since, health.url_changed_at).await
            });
            if disabled.await {
                metrics
                    .webhooks_disabled
                    .with_label_values(&[reason.as_str()])
                    .inc();
                tracing::warn!(webhook.id = %webhook, reason = reason.as_str(), "the webhook was disabled");
            }
        });
    }

    pub(super) fn observe_wait(&self, waited: Duration, cause: Option<Wait>) {
        let cause = cause.map_or(WaitCause::Process, Wait::cause);
        self.links
            .metrics
            .queue_wait
            .with_label_values(&[cause.as_str()])
            .observe(waited.as_secs_f64());
    }

    /// Shows the gauges, once a second.
    pub(super) fn show_gauges(&mut self, now: Instant) {
        if now < self.gauges.next {
            return;
        }
        self.gauges.next = now + GAUGES_EVERY;
        self.gauges.ended_before = std::mem::take(&mut self.gauges.ended);
        self.gauges.round += 1;
        self.show_in_flight();
        let metrics = &self.links.metrics;
        let queued = i64::try_from(self.scheduler.queued() + self.arrivals.len()).unwrap_or(i64::MAX);
        metrics.thread_gauges.sum("deliver", &metrics.queued, queued);
        for (state, count) in self.scheduler.states() {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            metrics.endpoints.with_label_values(&[state.as_str()]).set(count);
        }
        if self.gauges.round % COUNT_EVERY == 1 {
            self.count_parked();
        }
        let is_answering = self.links.monitor.is_answering(now);
        if is_answering && self.gauges.round.is_multiple_of(DISABLE_EVERY) {
            self.disable_the_forgotten();
        }
        if self.gauges.round.is_multiple_of(FORGET_EVERY) {
            self.scheduler.forget_idle(now_of(now));
        }
    }

    /// Shows how many requests are in flight.
    pub(super) fn show_in_flight(&self) {
        let (careful, ok) = self.scheduler.in_flight();
        for (state, count) in [(HealthState::Careful, careful), (HealthState::Ok, ok)] {
            let in_flight = &self.links.metrics.in_flight;
            in_flight
                .with_label_values(&[state.as_str()])
                .set(i64::from(count));
        }
    }

    fn count_parked(&self) {
        let (pool, monitor) = (self.links.pool.clone(), self.links.monitor.clone());
        let metrics = self.links.metrics.clone();
        let numbers = self.links.owned.numbers();
        self.links.tasks.spawn(async move {
            let counted = monitor.once(PostgresOp::Unpark, async {
                let mut connection = pool.acquire().await?;
                parked::summary(&mut connection, &numbers).await
            });
            let Ok(counted) = counted.await else { return };
            for reason in ParkReason::ALL {
                let count = counted.iter().find(|(one, ..)| *one == reason);
                metrics
                    .parked
                    .with_label_values(&[reason.as_str()])
                    .set(count.map_or(0, |(_, rows, _)| *rows));
            }
            let oldest = counted.iter().map(|(.., oldest)| *oldest).min();
            let age_ms = oldest.map_or(0, |oldest| clock::now_ms() - oldest.timestamp_millis());
            metrics.parked_oldest.set(age_ms.max(0) as f64 / 1_000.0);
        });
    }
}
