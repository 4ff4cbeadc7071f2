//! A detector thread: one group member that reads every source, keeps an engine for each partition
//! number, and publishes what they decide.
//!
//! In: source records. Out: delivery records, detector states, rejects. Guaranteed: an offset is
//! committed only when every record that its record led to is acknowledged; an episode's state is
//! acknowledged before its deliveries are published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::engine::config::EngineConfig;
use super::history::{HistoryQueue, SavedRow};
use super::source_silence::SourceSilence;
use super::usual::past::HistoryAnswer;
use crate::clock;
use crate::config::KafkaConfig;
use crate::domain::registry::Registry;
use crate::domain::site::SiteId;
use crate::ingest::formats::RecordReader;
use crate::ingest::reject_publisher::RejectPublisher;
use crate::ingest::route::progress::RoutedUntil;
use crate::kafka::batch_reader::{Batch, BatchItem, BatchReader};
use crate::kafka::batch_record::BatchRecord;
use crate::kafka::client::ClientEvents;
use crate::kafka::commits::Commit;
use crate::kafka::error_words::in_words;
use crate::kafka::log_ends::LogEnds;
use crate::kafka::member::GroupMember;
use crate::kafka::producer::Publisher;
use crate::kafka::retrying_publisher::RetryingPublisher;
use crate::kafka::session::group_thread::GroupThread as _;
use crate::kafka::session::{CommitScope, Session};
use crate::kafka::topic_partition::TopicPartition;
use crate::telemetry::throttle::Throttle;
use crate::telemetry::{Health, Metrics};
use counts::{Counts, SharedLines};
use outbox::{Confirmed, Outbox, OutboxTopics};
use partition::OwnedPartition;
use turns::ThreadTurns;
use unrestored::Unrestored;

/// A partition number that a thread owns.
pub(crate) mod partition;
/// Position in a partition of a source.
pub(crate) mod position;
/// Taking partitions and giving them back.
mod rebalance;
/// Partitions that cannot be restored for now.
mod unrestored;
/// Choice among the records of the state topic.
mod latest_states;
/// Questions for the end of a partition.
pub(crate) mod end_question;
/// The end of a partition of the state topic.
pub(crate) mod state_log;
/// Restoring of assigned partitions.
pub(crate) mod restore;
/// Publishing in the right order.
pub(crate) mod outbox;
/// Batches whose records are not all acknowledged.
pub(crate) mod open_batches;
/// Counters of a thread.
pub(crate) mod counts;
/// The sites' past.
mod history;
/// Confirmations of episodes.
mod confirmations;
/// Work of each second.
mod tick;
/// Gauges of a thread.
mod gauges;
/// The watch over sources.
mod watch_sources;
/// Notices on `/readyz`.
mod notices;
/// Sources that are missing as a whole.
mod missing;
/// A guard for threads that were suspended.
mod suspended;
/// The turns of a thread.
mod turns;

/// Longest wait for a record, and so for noticing a rebalance.
const READ_TIMEOUT: Duration = Duration::from_millis(10);
/// Longest wait until a partition is read from elsewhere.
const SEEK_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time, in all, that a batch waits for its episodes' deliveries to be acknowledged.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of a detector thread.
#[derive(Debug, Clone)]
pub struct DetectSettings {
    pub name: String,
    pub kafka: KafkaConfig,
    /// Configuration of every engine; its `partition` is replaced.
    pub engine: EngineConfig,
    /// Readers of the sources' records, in the order of the engine's sources.
    pub readers: Arc<[RecordReader]>,
    /// Time before now at which a source without a commit begins: the longest window in use, or
    /// more.
    pub first_start_back: Duration,
    /// Time without a word of a member after which its group gives its partitions to others.
    pub session_timeout: Duration,
}

/// Connections of a detector thread.
#[derive(Debug)]
pub struct DetectLinks {
    pub publisher: Publisher,
    pub registry: watch::Receiver<Arc<Registry>>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    /// Shared by the threads of a process.
    pub lines: Arc<SharedLines>,
    pub client_events: ClientEvents,
    pub runtime: Handle,
    pub stop: CancellationToken,
    pub history: Arc<HistoryQueue>,
    /// Receives the sites that had events, now and then.
    pub active_sites: mpsc::Sender<Vec<SiteId>>,
    /// The instant up to which the source of routed events proves anything.
    pub routed_until: RoutedUntil,
}

struct Detector {
    session: Session<i32, OwnedPartition>,
    settings: DetectSettings,
    links: DetectLinks,
    outbox: Outbox,
    confirmed: Receiver<Confirmed>,
    answers: Receiver<HistoryAnswer>,
    /// For the questions, whose answers come back by it.
    answer_to: Sender<HistoryAnswer>,
    saved_rows: Receiver<SavedRow>,
    /// For the rows of episodes, which are reported by it once they are written.
    report_to: Sender<SavedRow>,
    /// By partition number.
    owned: Vec<Option<Box<OwnedPartition>>>,
    /// Assigned partition numbers that cannot be restored for now.
    unrestored: BTreeMap<i32, Unrestored>,
    /// Partitions of the sources of which the group has a commit, or had one.
    seen: BTreeSet<TopicPartition>,
    /// For each source, true if it was missing as a whole when partitions were last assigned.
    missing: Vec<bool>,
    log_ends: LogEnds,
    turns: ThreadTurns,
    last_replay_line: Instant,
    failed_seeks: Throttle,
    counts: Counts,
    /// For each source, what is known of its silence.
    silences: Vec<SourceSilence>,
    /// For each source, true if it was silent at the last look.
    silent: Vec<bool>,
    /// End of the time that the current batch may wait for confirmations.
    confirm_until: Instant,
    last_activity_report: Instant,
}

/// Runs a detector thread until it is to stop.
pub fn run(member: GroupMember, settings: DetectSettings, links: DetectLinks) -> anyhow::Result<()> {
    let (sender, confirmed) = channel();
    let (answer_to, answers) = channel();
    let (report_to, saved_rows) = channel();
    let kafka = &settings.kafka;
    let (publisher, runtime) = (links.publisher.clone(), links.runtime.clone());
    let now = clock::monotonic();
    let turns = ThreadTurns::new(settings.session_timeout, now, clock::now_ms());
    let outbox = Outbox {
        rejects: RejectPublisher::new(publisher.clone(), runtime.clone(), &kafka.topic("rejected")),
        records: RetryingPublisher { publisher, runtime },
        topics: OutboxTopics {
            deliveries: kafka.topic("deliveries").into(),
            detector_state: kafka.topic("detector-state").into(),
        },
        confirmed: sender,
        turns: turns.clone(),
    };
    let state_topic = kafka.topic("detector-state");
    let log_ends = member.log_ends(&[state_topic]);
    let sources = settings.engine.sources.iter();
    let sources = sources.map(|source| source.topic.clone()).collect();
    let mut batch_reader = member.batch_reader();
    let mut detector = Detector {
        session: Session::begin(member, &settings.name, Arc::clone(&links.health)),
        outbox,
        confirmed,
        answers,
        answer_to,
        saved_rows,
        report_to,
        owned: Vec::new(),
        silences: settings
            .engine
            .sources
            .iter()
            .map(|_| SourceSilence::new(clock::now_ms()))
            .collect(),
        silent: vec![false; settings.engine.sources.len()],
        unrestored: BTreeMap::new(),
        seen: BTreeSet::new(),
        missing: vec![false; settings.engine.sources.len()],
        log_ends,
        turns,
        last_replay_line: now,
        failed_seeks: Throttle::default(),
        counts: Counts::new(sources, Arc::clone(&links.metrics), Arc::clone(&links.lines)),
        confirm_until: now,
        last_activity_report: now,
        settings,
        links,
    };
    let result = detector.run_loop(&mut batch_reader);
    detector.leave_group(batch_reader);
    result
}

impl Detector {
    fn run_loop(&mut self, batch_reader: &mut BatchReader) -> anyhow::Result<()> {
        // The first read does not wait, so that the first event of the group is served at once.
        let mut timeout = Duration::ZERO;
        while !self.links.stop.is_cancelled() {
            self.session.begin_turn(clock::now_ms())?;
            self.handle_rebalances(batch_reader)?;
            if !self.is_member() {
                std::thread::park_timeout(READ_TIMEOUT);
                continue;
            }
            self.update_registry();
            self.receive_confirmations();
            self.receive_history();
            let mut busy_since = None;
            if !self.links.publisher.pause_if_crowded(READ_TIMEOUT) {
                let batch = batch_reader.read(timeout);
                if !batch.is_empty() {
                    let now = clock::monotonic();
                    busy_since = Some(now);
                    self.handle_batch(batch, now);
                }
            }
            if !self.is_member() {
                continue;
            }
            self.receive_ends();
            self.settle();
            self.tick();
            self.commit();
            if let Some(busy_since) = busy_since {
                self.session.add_busy_time(busy_since);
            }
            timeout = READ_TIMEOUT;
        }
        Ok(())
    }

    fn handle_batch(&mut self, batch: Batch<'_>, now: Instant) {
        let _span = tracing::debug_span!("detect.batch", records = batch.len()).entered();
        self.confirm_until = now + CONFIRM_TIMEOUT;
        let now_ms = clock::now_ms();
        // A change that was published while the thread waited applies to the records that came
        // after it.
        self.update_registry();
        let mut has_records = false;
        batch.for_each(|item| {
            has_records |= matches!(item, BatchItem::Records(..));
            self.handle_item(item, now_ms);
        });
        if self.is_member() {
            self.flush();
        }
        if has_records {
            self.session.end_pause();
        }
    }

    fn handle_item(&mut self, item: BatchItem<'_>, now_ms: i64) {
        match item {
            BatchItem::Records(..) | BatchItem::End(..) if !self.is_member() => self.leave_records(),
            BatchItem::Records(partition, records) => self.handle_records(partition, records, now_ms),
            BatchItem::End(at, offset) => {
                let member = self.session.member();
                if let Some(owned) = owned_mut(&mut self.owned, at.partition) {
                    let beginning_of = |_| member.cached_beginning(at);
                    owned.end_reached(at.topic, offset, now_ms, beginning_of, &mut self.counts);
                }
            }
            BatchItem::Error(code, at) => self.session.report_read_error(code, at),
        }
    }

    fn handle_records(&mut self, partition: i32, all: &[(usize, BatchRecord<'_>)], now_ms: i64) {
        let Some(owned) = owned_mut(&mut self.owned, partition) else {
            return;
        };
        let sources = 0..self.silences.len();
        let before: Vec<Option<i64>> = sources.map(|source| owned.completeness().next(source)).collect();
        let mut records = all;
        while !records.is_empty() {
            let member = self.session.member();
            let beginning_of = |topic| member.cached_beginning(TopicPartition { topic, partition });
            let Some(owned) = owned_mut(&mut self.owned, partition) else {
                return;
            };
            records = owned.handle_records(records, now_ms, beginning_of, &self.outbox, &mut self.counts);
            if owned.engine.wants_flush() {
                owned.flush(now_ms, &self.outbox, &mut self.counts);
                self.wait_for_confirmations(partition);
                if !self.is_member() {
                    self.leave_records();
                    break;
                }
            }
        }
        self.note_records(partition, all, &before, now_ms);
    }

    /// Lets partitions go on that stopped: those whose sources have rebuilt their windows, and
    /// those whose offsets went back.
    fn settle(&mut self) {
        if self
            .owned
            .iter()
            .flatten()
            .any(|owned| owned.went_back().is_some())
        {
            self.restore_those_gone_back();
        }
        for owned in self.owned.iter_mut().flatten() {
            let from = owned.reread_from();
            if from.is_empty() {
                continue;
            }
            match self.session.member().seek(&from, SEEK_TIMEOUT) {
                Ok(()) => owned.read_again(&from),
                Err(error) => {
                    if let Some(suppressed) = self.failed_seeks.admit(clock::monotonic()) {
                        tracing::warn!(
                            partition = owned.partition,
                            error = in_words(&error),
                            suppressed,
                            "a partition cannot be read from where it stands; trying again"
                        );
                    }
                }
            }
        }
    }

    /// Publishes what the last records led to.
    fn flush(&mut self) {
        let now_ms = clock::now_ms();
        for owned in self.owned.iter_mut().flatten() {
            owned.flush(now_ms, &self.outbox, &mut self.counts);
        }
        self.counts.flush();
    }

    fn update_registry(&mut self) {
        if self.links.registry.has_changed().unwrap_or(false) {
            let registry = Arc::clone(&self.links.registry.borrow_and_update());
            for owned in self.owned.iter_mut().flatten() {
                owned.engine.set_registry(Arc::clone(&registry));
            }
            self.flush();
        }
    }

    fn commit(&mut self) {
        if let Some(scope) = self.session.due_commit(clock::monotonic()) {
            let commits = self.commits(scope);
            self.session.commit(&commits);
        }
    }

    fn commits(&mut self, scope: CommitScope) -> Vec<Commit> {
        let nonce = self.session.nonce();
        self.owned
            .iter_mut()
            .flatten()
            .flat_map(|owned| owned.commits(nonce, scope))
            .collect()
    }
}

fn owned_mut(owned: &mut [Option<Box<OwnedPartition>>], partition: i32) -> Option<&mut OwnedPartition> {
    owned.get_mut(usize::try_from(partition).ok()?)?.as_deref_mut()
}
