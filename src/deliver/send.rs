//! Makes attempts: one claim, one exchange, one outcome each.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::events::{LaneEvent, Turn};
use super::http::client::WebhookClient;
use super::http::exchange::Exchange;
use super::in_flight::InFlight;
use super::intake::work::{Work, WorkOrigin};
use super::lanes::health::{AttemptEnd, Ending};
use super::outcome::{self, EndedAttempt, Next};
use super::request::{AttemptFacts, WebhookRequest};
use super::rows::{self, Outcome};
use crate::chance;
use crate::clock;
use crate::dispatch::schedule::Schedules;
use crate::domain::attempt::{AttemptResult, Fault};
use crate::domain::delivery::FailureReason;
use crate::domain::webhook::Webhook;
use crate::record::health;
use crate::record::pg_monitor::PgMonitor;
use crate::telemetry::Metrics;
use crate::telemetry::words::{AttemptKind, Phase, PostgresOp, WaitedFor};

/// Time beyond a request's own deadline until its outcome is surely written or given up.
const CLAIM_SLACK_MS: i64 = 5_000;

/// Makes attempts, each in a task of its own.
#[derive(Debug)]
pub(crate) struct AttemptSender {
    pub(crate) client: WebhookClient,
    pub(crate) pool: PgPool,
    pub(crate) monitor: PgMonitor,
    pub(crate) schedules: Arc<Schedules>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) outcomes: mpsc::Sender<Outcome>,
    pub(crate) events: mpsc::UnboundedSender<LaneEvent>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: TaskTracker,
    /// Cancelled at the end of the grace period.
    pub(crate) give_up: CancellationToken,
}

impl AttemptSender {
    /// Starts an attempt, or hands the record back when its partition was given back meanwhile. The
    /// end is reported when the writer has room for the outcome, so that unwritten outcomes are
    /// bounded, too.
    pub(crate) fn start(
        self: &Arc<Self>,
        work: Box<Work>,
        webhook: Arc<Webhook>,
        possible_repeat: bool,
        turn: Turn,
    ) {
        if !self.in_flight.begin_sending(&work.record, self.deadline_ms()) {
            let (webhook, is_probe) = (webhook.id, turn.is_probe);
            if let Some(request) = work.request {
                self.report(LaneEvent::Recorded(request));
            }
            self.report(LaneEvent::GivenUp { webhook, is_probe });
            return self.in_flight.requeue(*work);
        }
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let (id, request) = (webhook.id, work.request);
            let attempt = async {
                let delivery_id = work.record.delivery_id;
                let (outcome, end) = this.attempt(work, &webhook, possible_repeat, turn).await;
                this.in_flight.end_sending(delivery_id);
                // Refused once the writer is gone; the next owner sends it again as a possible
                // repeat.
                drop(this.outcomes.send(outcome).await);
                end
            };
            tokio::select! {
                end = attempt => this.report(LaneEvent::Ended { webhook: id, request, end }),
                () = this.give_up.cancelled() => {}
            }
        });
    }

    fn report(&self, event: LaneEvent) {
        // The deliverer's loop is gone once the process is stopping.
        drop(self.events.send(event));
    }

    /// Returns when an attempt that starts now has surely ended, in milliseconds since the Unix
    /// epoch.
    fn deadline_ms(&self) -> i64 {
        let timeout_ms = i64::try_from(self.client.timeout().as_millis()).unwrap_or(i64::MAX);
        clock::now_ms() + timeout_ms + CLAIM_SLACK_MS
    }

    async fn attempt(
        &self,
        work: Box<Work>,
        webhook: &Webhook,
        possible_repeat: bool,
        turn: Turn,
    ) -> (Outcome, AttemptEnd) {
        let span = attempt_span(&work);
        let started_ms = clock::now_ms();
        let exchange = self.exchange(&work, webhook, started_ms);
        let exchange = exchange.instrument(span.clone()).await;
        self.count(&work, &exchange, started_ms, turn);
        if possible_repeat {
            self.metrics.possible_repeats.inc();
        }
        note_end(&span, &work, &exchange);
        let is_of_old_url = exchange.result == AttemptResult::Gone && self.has_other_url(webhook).await;
        let next = self.next(&work, webhook, &exchange, turn, is_of_old_url);
        let end = end_of(&exchange, &next, webhook, turn.is_probe);
        let outcome = Outcome {
            url_changed_at: webhook.url_changed_at,
            ..rows::attempted(*work, webhook.url.masked(), exchange, next, possible_repeat)
        };
        (outcome, end)
    }

    /// Asks Postgres if the URL was changed meanwhile: the registry may not know it yet, and that a
    /// URL is gone has consequences.
    async fn has_other_url(&self, webhook: &Webhook) -> bool {
        self.monitor
            .until_done(PostgresOp::Outcomes, || async {
                let mut connection = self.pool.acquire().await?;
                health::has_other_url(&mut connection, webhook.id, webhook.url_changed_at).await
            })
            .await
    }

    /// Builds and sends the request. A panic is our own fault and this attempt's outcome: passed
    /// on, it would take the record's token with it.
    async fn exchange(&self, work: &Work, webhook: &Webhook, started_ms: i64) -> Exchange {
        let facts = AttemptFacts::of(&work.record, started_ms);
        let exchange = async {
            let request = WebhookRequest::build(webhook, &facts);
            self.client.exchange(&request).await
        };
        AssertUnwindSafe(exchange)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Exchange::failed_by_us(started_ms, clock::now_ms()))
    }

    fn next(
        &self,
        work: &Work,
        webhook: &Webhook,
        exchange: &Exchange,
        turn: Turn,
        is_of_old_url: bool,
    ) -> Next {
        let ended = EndedAttempt {
            attempt: work.record.attempt,
            step: work.record.step,
            result: exchange.result,
            retry_after: exchange.retry_after.as_deref().filter(|_| !is_of_old_url),
            ended_at_ms: exchange.ended_at_ms,
            is_probe: turn.is_probe,
            due_at_ms: work.due_at_ms,
            is_row: work.parked().is_some(),
            is_of_old_url,
        };
        let schedule = self.schedules.get(&webhook.retry_schedule);
        match outcome::next(&ended, schedule, self.schedules.tiers(), chance::fraction()) {
            Next::Park(..) if turn.is_backlog_full && work.parked().is_none() => Next::Failed {
                reason: FailureReason::Overflow,
            },
            next => next,
        }
    }

    fn count(&self, work: &Work, exchange: &Exchange, started_ms: i64, turn: Turn) {
        let metrics = &self.metrics;
        let kind = if work.record.attempt == 1 {
            AttemptKind::First
        } else {
            AttemptKind::Retry
        };
        metrics
            .attempts
            .with_label_values(&[exchange.result.as_str(), exchange.fault().as_str(), kind.as_str()])
            .inc();
        let phases = &exchange.phases;
        for (phase, duration) in [
            (Phase::Dns, phases.dns),
            (Phase::Connect, phases.connect),
            (Phase::Tls, phases.tls),
            (Phase::Response, phases.response),
            (Phase::Total, phases.total),
        ] {
            if let Some(duration) = duration {
                metrics
                    .attempt_phases
                    .with_label_values(&[phase.as_str()])
                    .observe(duration.as_secs_f64());
            }
        }
        let seconds_since = |from_ms: i64| (started_ms - from_ms).max(0) as f64 / 1_000.0;
        if work.record.attempt == 1 {
            let waited = match turn.waited_for_endpoint || work.parked().is_some() {
                true => WaitedFor::Endpoint,
                false => WaitedFor::Nothing,
            };
            metrics
                .delivery_start
                .with_label_values(&[waited.as_str()])
                .observe(seconds_since(work.record_ms));
        }
        if let WorkOrigin::Record { tier: Some(tier), .. } = &work.origin {
            metrics
                .retry_lateness
                .with_label_values(&[&tier.to_string()])
                .observe(seconds_since(work.due_at_ms));
        }
    }
}

/// Tells what the end of an attempt says of its endpoint.
fn end_of(exchange: &Exchange, next: &Next, webhook: &Webhook, is_probe: bool) -> AttemptEnd {
    use AttemptResult::{Connect, Dns, Reset, Success, Timeout, Tls};

    let fault = exchange.fault();
    let ending = match exchange.result {
        Success => Ending::Success,
        _ if fault == Fault::Own => Ending::Own,
        Dns | Connect | Tls | Timeout | Reset if exchange.status.is_none() => Ending::Unanswered,
        _ => Ending::Answered,
    };
    AttemptEnd {
        ending,
        is_gone: matches!(
            next,
            Next::Failed {
                reason: FailureReason::Gone
            }
        ),
        is_final_failure: matches!(next, Next::Failed { .. }) && fault == Fault::Endpoint,
        is_probe,
        url_changed_at: webhook.url_changed_at,
    }
}

/// Opens the span of an attempt; its end is noted by [`note_end`].
fn attempt_span(work: &Work) -> tracing::Span {
    let (record, read_from) = (&work.record, work.read_from());
    tracing::debug_span!(
        "deliver.attempt",
        site.id = %record.site_id,
        webhook.id = %record.webhook_id,
        delivery.id = %record.delivery_id,
        notification.id = %record.notification_id,
        attempt = record.attempt,
        topic = read_from.map(|place| place.topic.as_str()),
        partition = work.partition,
        offset = read_from.map(|place| place.offset),
        outcome = Empty,
        fault = Empty,
        duration_ms = Empty,
        error = Empty,
    )
}

/// Notes on the span, and in the log, how an attempt ended.
fn note_end(span: &tracing::Span, work: &Work, exchange: &Exchange) {
    let record = &work.record;
    let (outcome, fault) = (exchange.result.as_str(), exchange.fault().as_str());
    let duration_ms = exchange.ended_at_ms - exchange.started_at_ms;
    span.record("outcome", outcome)
        .record("fault", fault)
        .record("duration_ms", duration_ms);
    if let Some(error) = &exchange.error {
        span.record("error", error);
    }
    // Outside of the span, whose fields would stand in the line twice.
    tracing::debug!(
        site.id = %record.site_id, webhook.id = %record.webhook_id, delivery.id = %record.delivery_id,
        notification.id = %record.notification_id, attempt = record.attempt, outcome, fault, duration_ms,
        error = exchange.error.as_deref(), "attempted"
    );
}

#[cfg(test)]
mod tests;
