//! An intake thread: one group member that reads delivery records from `deliveries` and every tier.
//!
//! In: records. Out: `Work`, when it is due. Guaranteed: an offset is committed only when it and
//! all before it are complete; no delivery of a revoked partition begins after its requests under
//! way were claimed. A tier is never paused: records that are not due wait in a heap, and a
//! partition that has enough in the heap is not polled.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, mpsc as thread_mpsc};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::in_flight::InFlight;
use super::own_retries::OwnRetries;
use super::owned::OwnedPartitions;
use super::recent_firsts::RecentFirsts;
use crate::clock;
use crate::dispatch::offsets::{Completion, OffsetTracker};
use crate::dispatch::read_ahead::ReadAhead;
use crate::dispatch::record::{Coordinates, DeliveryRecord};
use crate::dispatch::tier::{self, Tier};
use crate::kafka::member::GroupMember;
use crate::kafka::producer::Publisher;
use crate::kafka::session::Session;
use crate::kafka::session::group_thread::GroupThread as _;
use crate::kafka::topic_partition::TopicPartition;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::{Health, Metrics};
use completions::{Completed, Completions};
use hand_over::{Suspicion, UnaskedSends};
use partition::IntakePartition;
use raw::IntakeRecord;
use work::{Assignment, OffsetToken, Work, WorkOrigin};

/// A delivery record on its way through the deliverer.
pub(crate) mod work;
/// Completed offsets.
pub(crate) mod completions;
/// A partition that a thread owns.
mod partition;
/// The note by which the next owner knows what may have been sent.
mod hand_over;
/// Waiting for what is due.
mod due;
/// Taking partitions and giving them back.
mod rebalance;
/// Commits of a thread.
mod committing;
/// Records as they were read.
mod raw;
/// Records that leave the stream for the dead-letter topic.
pub(super) mod dead_letters;
/// Gauges of a thread.
mod gauges;
/// Records that were removed before they were read.
mod missed;

/// Time parked before the deliverer's full queue is tried again.
const FULL_QUEUE_PARK_TIMEOUT: Duration = Duration::from_millis(1);
/// Most records that are due and wait for the deliverer. Others stay in the heap, which is bounded
/// for each partition.
const OUTBOX_SIZE: usize = 1_024;
/// Unreadable records on their way to the dead-letter topic beyond which nothing is read.
const MOST_UNPUBLISHED: usize = 64;
/// Approximate bytes of a record in the heap besides its body.
const RECORD_OVERHEAD_BYTES: usize = 300;

/// Settings of an intake thread.
#[derive(Debug)]
pub(crate) struct IntakeSettings {
    pub(crate) name: String,
    pub(crate) topics: Vec<String>,
    /// Tier of each topic, by its index; `None` for `deliveries`.
    pub(crate) tier_of_topic: Vec<Option<Tier>>,
    pub(crate) dead_letter_topic: String,
    /// Longest time between two polls in which no other owner can have come in between.
    pub(crate) max_gap: Duration,
}

/// Connections of an intake thread.
#[derive(Debug)]
pub(crate) struct IntakeLinks {
    pub(crate) work: mpsc::Sender<Work>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) own_retries: Arc<OwnRetries>,
    pub(crate) owned: Arc<OwnedPartitions>,
    pub(crate) publisher: Publisher,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    pub(crate) runtime: Handle,
    pub(crate) stop: CancellationToken,
    /// Cancelled at the end of the grace period.
    pub(crate) give_up: CancellationToken,
}

struct Intake {
    session: Session<TopicPartition, OffsetTracker>,
    settings: IntakeSettings,
    links: IntakeLinks,
    completed: Receiver<Completed>,
    completions: Completions,
    partitions: HashMap<TopicPartition, IntakePartition>,
    read_ahead: ReadAhead<TopicPartition, Work>,
    /// Work that is due and not yet handed out.
    outbox: VecDeque<Work>,
    assignment: Arc<Assignment>,
    recent_firsts: RecentFirsts,
    /// A range of unasked sends was committed, and not answered yet.
    has_announced: bool,
    /// Held by each unreadable record whose dead letter is not acknowledged.
    unpublished: Arc<()>,
    epochs: u64,
    /// Number of each topic's missed records when they were last told.
    missed_told: Vec<u64>,
    unreadable_logged: Throttle,
    clamped_logged: Throttle,
}

/// Runs an intake thread until it is to stop.
pub(crate) fn run(member: GroupMember, settings: IntakeSettings, links: IntakeLinks) -> anyhow::Result<()> {
    let (sender, completed) = thread_mpsc::channel();
    let completions = Completions::new(sender);
    let thread = std::thread::current();
    completions.wake_with(move || thread.unpark());
    let now = clock::monotonic();
    let session = Session::begin(member, &settings.name, Arc::clone(&links.health));
    let (nonce, now_ms) = (session.nonce().into(), clock::now_ms());
    let assignment = Arc::new(Assignment::new(nonce, settings.max_gap, now, now_ms));
    let mut intake = Intake {
        session,
        settings,
        links,
        completed,
        completions,
        partitions: HashMap::new(),
        read_ahead: ReadAhead::new(),
        outbox: VecDeque::new(),
        assignment,
        recent_firsts: RecentFirsts::default(),
        has_announced: false,
        unpublished: Arc::default(),
        epochs: 0,
        missed_told: Vec::new(),
        unreadable_logged: Throttle::default(),
        clamped_logged: Throttle::default(),
    };
    let result = intake.run_loop();
    intake.leave_group(());
    result
}

impl Intake {
    fn run_loop(&mut self) -> anyhow::Result<()> {
        while !self.links.stop.is_cancelled() {
            let begun = clock::monotonic();
            self.session.begin_turn(clock::now_ms())?;
            self.assignment.note_poll(begun, clock::now_ms());
            self.handle_rebalances(&())?;
            self.confirm_assignment();
            self.receive_completions();
            let has_more = self.read_partitions();
            self.release_due();
            self.hand_out();
            self.commit();
            self.show_gauges();
            self.session.add_busy_time(begun);
            if !has_more {
                std::thread::park_timeout(self.park_timeout());
            }
        }
        Ok(())
    }

    fn park_timeout(&self) -> Duration {
        if !self.outbox.is_empty() {
            return FULL_QUEUE_PARK_TIMEOUT;
        }
        due::park_timeout(self.read_ahead.next_due(), clock::now_ms())
    }

    fn receive_completions(&mut self) {
        while let Ok(done) = self.completed.try_recv() {
            let owned = self.partitions.get_mut(&done.at);
            let tracker = owned
                .map(|partition| &mut partition.tracker)
                .or_else(|| self.session.retained.get_mut(&done.at));
            if let Some(tracker) = tracker
                && tracker.complete(done.epoch, done.offset) == Completion::NotOpen
            {
                tracing::debug!(offset = done.offset, "completed twice");
            }
        }
    }

    /// Reads a turn of every partition that may have something. Returns `true` if there may be more
    /// at once.
    fn read_partitions(&mut self) -> bool {
        let mut has_more = false;
        let mut read = Vec::new();
        let outbox_is_full = !self.outbox.is_empty();
        // Nothing is read meanwhile, of any partition: what is not acknowledged stays in memory.
        if Arc::strong_count(&self.unpublished) > MOST_UNPUBLISHED {
            return false;
        }
        for (at, partition) in &mut self.partitions {
            let is_full = partition.tracker.is_full()
                || if self.settings.tier_of_topic[at.topic].is_some() {
                    // What is due far away goes to the deliverer at once.
                    self.read_ahead.is_full(*at) || self.outbox.len() >= OUTBOX_SIZE
                } else {
                    outbox_is_full
                };
            // A partition without room keeps its mark, so that it is read when there is room.
            if is_full || partition.is_held || !partition.take_ready() {
                continue;
            }
            let each = |record| read.push((*at, record));
            match partition.read_turn(*at, self.session.member(), &self.links.metrics, each) {
                Ok(more) => has_more |= more,
                Err(error) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                    self.session.report_read_error(code, Some(*at));
                }
            }
        }
        if !read.is_empty() {
            self.session.end_pause();
        }
        let now_ms = clock::now_ms();
        for (at, record) in read {
            self.accept(at, record, now_ms);
        }
        has_more
    }

    /// Brings a record on its way: into the heap, to the deliverer, or to the dead letters.
    fn accept(&mut self, at: TopicPartition, record: IntakeRecord, now_ms: i64) {
        let Some(partition) = self.partitions.get(&at) else {
            return;
        };
        let token = OffsetToken::new(
            at,
            partition.tracker.epoch(),
            record.offset,
            Arc::clone(&self.assignment),
            self.completions.clone(),
        );
        let read_from = Coordinates {
            topic: self.session.member().topic(at.topic).to_string(),
            partition: at.partition,
            offset: record.offset,
        };
        let record_ms = record.timestamp_ms.unwrap_or(now_ms);
        match record.decoded {
            Ok(record) => self.bring(token, read_from, record, record_ms, now_ms),
            Err((unreadable, _)) if unreadable.is_newer() => {
                // Its offset stays open: nothing from here on is committed, whoever reads the
                // partition next.
                drop(token);
                self.show_held_records();
                tracing::error!(
                    topic = read_from.topic,
                    partition = read_from.partition,
                    offset = read_from.offset,
                    error = %unreadable,
                    "a record of a newer version is held back, and what follows it: finish the upgrade"
                );
            }
            Err((unreadable, original)) => self.publish_unreadable(token, read_from, unreadable, original),
        }
    }

    /// Brings a record that was read into the heap, or to the deliverer.
    fn bring(
        &mut self,
        token: OffsetToken,
        read_from: Coordinates,
        record: DeliveryRecord,
        record_ms: i64,
        now_ms: i64,
    ) {
        let at = token.at();
        let tier = self.settings.tier_of_topic[at.topic];
        let due_at_ms = self.due_at_ms(&record, &read_from, tier, record_ms, now_ms);
        let Some(partition) = self.partitions.get(&at) else {
            return;
        };
        // A record that was not yet due when the predecessor stopped cannot have been sent by it.
        let suspicion = partition.suspicion(read_from.offset, record_ms.max(due_at_ms));
        let is_unasked = |unasked: &UnaskedSends| unasked.contains(read_from.offset);
        let must_be_noted = partition
            .unasked
            .as_ref()
            .is_some_and(|unasked| !is_unasked(unasked));
        let is_own = match tier {
            None => self.is_own_first(&record, now_ms) && !must_be_noted,
            Some(_) => self.links.own_retries.take(record.delivery_id, record.attempt),
        };
        let is_far_due = due::is_far_due(tier, due_at_ms, now_ms);
        let bytes = record.body.len() + RECORD_OVERHEAD_BYTES;
        let work = Work {
            record,
            origin: WorkOrigin::Record {
                token,
                read_from,
                tier,
                is_far_due,
            },
            partition: at.partition,
            record_ms,
            due_at_ms,
            suspect: suspicion == Suspicion::Sent,
            is_suspect_if_noted: suspicion == Suspicion::IfNoted,
            needs_look_up: !is_own,
            must_be_noted,
            read_at: clock::monotonic(),
            paused_ms: 0,
            request: None,
        };
        if tier.is_some() && !is_far_due {
            self.read_ahead.push(at, due_at_ms, bytes, work);
        } else {
            self.outbox.push_back(work);
        }
    }

    /// True if nobody else has read a record of `deliveries`: it was written since the assignment
    /// began, and is no copy of what was decided before. One that must be noted is remembered too,
    /// for its copies.
    fn is_own_first(&mut self, record: &DeliveryRecord, now_ms: i64) -> bool {
        let begun_ms = self.assignment.begun_ms();
        self.recent_firsts
            .is_first(record.delivery_id, record.created_at_ms, begun_ms, now_ms)
    }

    /// Time at which a record's attempt is due.
    fn due_at_ms(
        &mut self,
        record: &DeliveryRecord,
        read_from: &Coordinates,
        tier: Option<Tier>,
        record_ms: i64,
        now_ms: i64,
    ) -> i64 {
        let (Some(_), Some(due_at_ms)) = (tier, record.due_at_ms) else {
            return record_ms.min(now_ms);
        };
        let time = tier::due_time(due_at_ms, record_ms, now_ms);
        if time.clamped {
            self.links.metrics.due_clamped.inc();
            if let Some(suppressed) = self.clamped_logged.admit(clock::monotonic()) {
                tracing::warn!(
                    topic = read_from.topic,
                    partition = read_from.partition,
                    offset = read_from.offset,
                    due_at_ms,
                    suppressed,
                    "an absurd due time was clamped"
                );
            }
        }
        time.at_ms
    }

    fn release_due(&mut self) {
        let now_ms = clock::now_ms();
        while self.outbox.len() < OUTBOX_SIZE
            && let Some(mut due) = self.read_ahead.pop_due(now_ms)
        {
            due.payload.read_at = clock::monotonic();
            self.outbox.push_back(due.payload);
        }
    }

    fn hand_out(&mut self) {
        while let Some(work) = self.outbox.pop_front() {
            if let Err(TrySendError::Full(work) | TrySendError::Closed(work)) = self.links.work.try_send(work)
            {
                self.outbox.push_front(work);
                break;
            }
        }
    }
}
