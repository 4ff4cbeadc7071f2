//! The loop between reading and sending: hands what arrives to the scheduler, and does what it
//! says.
//!
//! Nothing here waits for anything but the next report, so no delivery waits in line behind another
//! one. What takes time runs in tasks, and reports back as a `LaneEvent`. While Postgres does not
//! answer nothing is taken and nothing is started, so that nothing is sent that could not be
//! recorded. Every wait is bounded by `give_up`, which ends the grace period.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backlog::ParkedBacklog;
use super::decide::{Action, WebhookSnapshot, WebhookState, decide};
use super::events::{LaneEvent, Question};
use super::health_book::HealthBook;
use super::in_flight::InFlight;
use super::intake::work::Work;
use super::lanes::LaneLimits;
use super::lanes::flow::{FlowLimit, RequestNumber};
use super::lanes::health::{AttemptEnd, EndpointHealth};
use super::lanes::scheduler::{Now, Scheduler};
use super::outcome_publisher::OutcomePublisher;
use super::owned::OwnedPartitions;
use super::progress::ProgressReader;
use super::rows::Outcome;
use super::send::AttemptSender;
use crate::clock;
use crate::domain::health::{HealthReason, HealthState};
use crate::domain::id::{DeliveryId, JobId, WebhookId};
use crate::domain::registry::Registry;
use crate::domain::webhook::DisableReason;
use crate::record::pg_monitor::PgMonitor;
use crate::telemetry::Metrics;
use crate::telemetry::throttle::Throttle;
use gauge_times::GaugeTimes;
use health_reads::HealthReads;
use looks::Looks;

/// Records that were read, and rows that were claimed, on their way to the scheduler.
mod arriving;
/// Acting on what the scheduler says: look-ups, sending, settling.
mod acting;
/// Taking rows of `parked` back, and cancelling them.
mod parked_rows;
/// Rows of `parked` whose webhooks are paused.
mod pauses;
/// Rows of `parked` whose recovery was cancelled.
mod withdrawing;
/// Health in Postgres, and gauges.
mod upkeep;
/// Endpoints as the scheduler knows them.
mod endpoints;

/// Times and states of looking at `parked`.
mod looks;
/// The end: what is under way ends, and nothing begins.
mod finishing;
/// Times of the gauges.
mod gauge_times;
/// Reads of stored health, one for each assignment.
mod health_reads;

/// Reports and records handled in one turn.
const BATCH: usize = 256;
/// Records waiting to be published beyond which nothing is taken: while the brokers refuse them.
const MOST_UNPUBLISHED: usize = 8_192;
/// Pause before Postgres is looked at again while it does not answer.
const DOWN_POLL: Duration = Duration::from_millis(100);

/// Connections of the deliverer.
#[derive(Debug)]
pub(crate) struct DelivererLinks {
    pub(crate) pool: PgPool,
    pub(crate) monitor: PgMonitor,
    pub(crate) progress: ProgressReader,
    pub(crate) registry: watch::Receiver<Arc<Registry>>,
    /// Time of the last read of the registry, in milliseconds since the Unix epoch.
    pub(crate) registry_read_at: Arc<AtomicI64>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) owned: Arc<OwnedPartitions>,
    pub(crate) attempts: Arc<AttemptSender>,
    pub(crate) publisher: Arc<OutcomePublisher>,
    pub(crate) outcomes: mpsc::Sender<Outcome>,
    pub(crate) events: mpsc::UnboundedSender<LaneEvent>,
    pub(crate) health_book: Arc<HealthBook>,
    /// Somebody has queued rows of `parked`.
    pub(crate) parked_hint: Arc<Notify>,
    pub(crate) metrics: Arc<Metrics>,
    /// Republications, look-ups and waiting records.
    pub(crate) tasks: TaskTracker,
    /// Cancelled at the end of the grace period.
    pub(crate) give_up: CancellationToken,
    /// Time that a request may take.
    pub(crate) timeout: Duration,
}

/// Brings records to an outcome.
#[derive(Debug)]
pub(crate) struct Deliverer {
    links: DelivererLinks,
    scheduler: Scheduler<Box<Work>>,
    flow: FlowLimit,
    backlog: ParkedBacklog,
    /// Records that were read and not yet looked at.
    arrivals: VecDeque<Work>,
    /// Deliveries to be asked about, and queries under way.
    questions: Vec<Question>,
    asking: u32,
    /// Bound of the log lines about what a newer version wrote.
    newer_logged: Throttle,
    /// Outcomes without a request that the writer has no room for yet.
    unsent: VecDeque<Outcome>,
    /// Deliveries that owners which died had noted as being sent, and not recorded.
    maybe_sent: HashSet<DeliveryId>,
    /// Requests of noted sends that are not recorded.
    noted: BTreeSet<RequestNumber>,
    /// Recoveries that were cancelled: of their rows none is begun.
    withdrawn: HashSet<JobId>,
    /// Health that other owners have stored, of endpoints that are not set up yet.
    stored_health: HashMap<WebhookId, EndpointHealth>,
    health_reads: HealthReads,
    /// Postgres did not answer at the last turn.
    was_down: bool,
    looks: Looks,
    gauges: GaugeTimes,
}

impl Deliverer {
    pub(crate) fn new(links: DelivererLinks, limits: LaneLimits) -> Self {
        let now = clock::monotonic();
        Self {
            links,
            scheduler: Scheduler::new(limits),
            flow: FlowLimit::new(limits.in_flight as usize, now),
            backlog: ParkedBacklog::default(),
            arrivals: VecDeque::new(),
            questions: Vec::new(),
            asking: 0,
            newer_logged: Throttle::default(),
            unsent: VecDeque::new(),
            maybe_sent: HashSet::new(),
            noted: BTreeSet::new(),
            withdrawn: HashSet::new(),
            stored_health: HashMap::new(),
            health_reads: HealthReads::default(),
            was_down: false,
            looks: Looks::new(now),
            gauges: GaugeTimes::new(now),
        }
    }

    /// Runs until the intake threads are gone, then until every attempt has ended or the grace
    /// period has.
    pub(crate) async fn run(
        mut self,
        mut work: mpsc::Receiver<Work>,
        mut requeued: mpsc::UnboundedReceiver<Work>,
        mut events: mpsc::UnboundedReceiver<LaneEvent>,
    ) -> anyhow::Result<()> {
        let mut registry = self.links.registry.clone();
        let (owned, outcomes) = (Arc::clone(&self.links.owned), self.links.outcomes.clone());
        let parked_hint = Arc::clone(&self.links.parked_hint);
        let mut batch = Vec::with_capacity(BATCH);
        // Asked, since a channel from which nothing is received for want of room does not tell.
        while !work.is_closed() {
            let wake = self.turn();
            tokio::select! {
                Some(event) = events.recv() => {
                    self.handle(event);
                    for _ in 1..BATCH {
                        let Ok(event) = events.try_recv() else { break };
                        self.handle(event);
                    }
                }
                Some(one) = requeued.recv() => {
                    self.arrivals.push_back(one);
                    for _ in 1..BATCH {
                        let Ok(one) = requeued.try_recv() else { break };
                        self.arrivals.push_back(one);
                    }
                }
                Ok(()) = registry.changed() => self.apply_settings(),
                () = owned.changed() => {}
                () = parked_hint.notified() => self.looks.look_now(clock::monotonic()),
                Ok(permit) = outcomes.reserve(), if !self.unsent.is_empty() => {
                    if let Some(outcome) = self.unsent.pop_front() {
                        permit.send(outcome);
                    }
                }
                _ = work.recv_many(&mut batch, BATCH), if self.has_room() => {
                    self.arrivals.extend(batch.drain(..));
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
        self.finish(events).await;
        Ok(())
    }

    /// Does what can be done now. Returns when the next turn is due, at the latest.
    fn turn(&mut self) -> Instant {
        let now = clock::monotonic();
        self.show_gauges(now);
        if !self.links.monitor.is_answering(now) {
            self.was_down = true;
            return now + DOWN_POLL;
        }
        if std::mem::take(&mut self.was_down) {
            self.scheduler.forgive_waits(now_of(now));
        }
        self.read_health();
        if self.has_health() {
            while let Some(work) = self.arrivals.pop_front() {
                self.arrive(work);
            }
            if self.can_publish() {
                self.look_after_parked(now);
            }
        }
        let room = self.flow.room(now);
        for action in self.scheduler.run(now_of(now), room) {
            self.act(action);
        }
        self.ask();
        self.hand_on_outcomes();
        let lanes = self.scheduler.next_wake();
        let looks = match self.has_health() && self.can_publish() {
            true => self.looks_wake(now),
            false => Some(now + DOWN_POLL),
        };
        let flow = self.flow.next_room().filter(|_| self.scheduler.queued() > 0);
        [lanes, flow, looks, Some(self.gauges.next())]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + DOWN_POLL)
    }

    fn has_health(&self) -> bool {
        self.health_reads.has(self.links.owned.generation())
    }

    /// True if more records may be taken from the intake threads.
    fn has_room(&self) -> bool {
        !self.was_down
            && self.can_publish()
            && self.arrivals.is_empty()
            && self.unsent.len() < BATCH
            && self.scheduler.has_room(self.gauges.ended_per_second())
    }

    /// True unless so much waits to be published that nothing more is begun.
    fn can_publish(&self) -> bool {
        self.links.publisher.tasks.len() < MOST_UNPUBLISHED
    }

    fn handle(&mut self, event: LaneEvent) {
        match event {
            LaneEvent::Ended {
                webhook,
                request,
                end,
            } => {
                if let Some(request) = request {
                    self.flow.answered(request);
                }
                self.gauges.count_end();
                self.looks.want_refill();
                self.ended(webhook, end);
            }
            LaneEvent::GivenUp { webhook, is_probe } => self.give_up_turn(webhook, is_probe),
            LaneEvent::LookedUp { asked, known } => {
                self.asking -= 1;
                for question in asked {
                    let id = question.work.record.delivery_id;
                    match known.newer.contains(&id) {
                        true => self.hold_newer(question),
                        false => self.answer(question, known.by_delivery.get(&id).copied()),
                    }
                }
            }
            LaneEvent::Recorded(request) => self.request_is_over(request),
            LaneEvent::SetAside(request) => self.flow.set_aside(request),
            LaneEvent::Parked {
                webhook,
                reason,
                is_new,
            } => {
                self.looks.parked(webhook, reason);
                if is_new {
                    self.backlog.parked(webhook);
                }
            }
            LaneEvent::NotParked(webhook) => self.backlog.not_parked(webhook),
            LaneEvent::Unparked(webhook) => self.backlog.unparked(webhook),
            LaneEvent::HealthRead {
                generation,
                rows,
                noted,
                paused,
            } => {
                self.maybe_sent.extend(noted);
                self.take_health(generation, &rows);
                self.looks.assigned(paused, clock::monotonic());
            }
            LaneEvent::Waiting { found, ended } => self.looked(found, ended),
            LaneEvent::Taken { asked, rows } => self.taken(&asked, rows),
            LaneEvent::PausesChanged(done) => self.looks.pauses_changed(done),
            LaneEvent::Cancelled(rows) => self.cancelled(rows),
        }
    }

    fn decide(&self, work: &Work) -> Action {
        decide(work, &self.snapshot(work.record.webhook_id), clock::now_ms())
    }

    fn snapshot(&self, id: WebhookId) -> WebhookSnapshot {
        // Read before the registry: a registry that is published in between is newer than the time
        // says.
        let read_at_ms = self.links.registry_read_at.load(Ordering::Acquire);
        let registry = self.links.registry.borrow();
        let webhook = match registry.webhooks.get(&id) {
            Some(webhook) => WebhookState::There(Arc::clone(webhook)),
            None if registry.unreadable.contains(&id) => WebhookState::Unreadable,
            None => WebhookState::Absent,
        };
        WebhookSnapshot { webhook, read_at_ms }
    }

    fn ended(&mut self, webhook: WebhookId, end: AttemptEnd) {
        let now = now_of(clock::monotonic());
        let change = self.scheduler.ended(webhook, end, now);
        let Some(health) = self.scheduler.health(webhook).copied() else {
            return;
        };
        let is_urgent = change.is_some_and(|change| change.from != HealthState::New);
        self.links.health_book.note(webhook, &health, is_urgent);
        if is_urgent {
            tracing::info!(webhook.id = %webhook, state = health.state.as_str(),
                reason = health.reason.map(HealthReason::as_str), "the health of an endpoint has changed");
        }
        if health.state == HealthState::Disabled && health.reason == Some(HealthReason::OpenTooLong) {
            self.disable(webhook, DisableReason::OpenTooLong, health);
        }
    }

    fn give_up_turn(&mut self, webhook: WebhookId, is_probe: bool) {
        let now = now_of(clock::monotonic());
        self.scheduler.given_up(webhook, is_probe, now);
    }

    fn requeue_after(&self, work: Box<Work>, pause: Duration) {
        let in_flight = Arc::clone(&self.links.in_flight);
        self.links.tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            in_flight.requeue(*work);
        });
    }
}

/// The time by both clocks.
fn now_of(instant: Instant) -> Now {
    Now {
        instant,
        wall_ms: clock::now_ms(),
    }
}
