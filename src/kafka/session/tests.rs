use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::group_thread::GroupThread;
use super::*;
use crate::config::KafkaConfig;
use crate::kafka::batch_reader::BatchReader;
use crate::kafka::settings;
use crate::telemetry::health::Readiness;
use crate::telemetry::metrics::Labels;
use crate::telemetry::words::ReadyCheck;

/// Bound of each wait, reached only when the test fails.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A thread that takes its partitions and reads nothing.
struct Idle {
    session: Session<i32, ()>,
    health: Arc<Health>,
    count: usize,
}

impl GroupThread for Idle {
    type Partition = i32;
    type State = ();
    type Queue = BatchReader;

    fn session(&mut self) -> &mut Session<i32, ()> {
        &mut self.session
    }

    fn into_session(self) -> Session<i32, ()> {
        self.session
    }

    fn take_partitions(&mut self, list: &[TopicPartition], queue: &BatchReader) -> anyhow::Result<()> {
        let starts: Vec<_> = list.iter().map(|at| (*at, 0)).collect();
        self.session.member().assign_to_batch_reader(&starts, queue)?;
        self.count = list.len();
        self.session.report_assigned(self.count, Duration::ZERO);
        Ok(())
    }

    fn forget_partitions(&mut self) {}

    fn give_back_partitions(&mut self, lost: bool) {
        self.session.report_given_back(self.count, lost);
        self.count = 0;
    }
}

/// Threads, each with what it reads from. They leave the group also when a test fails: without
/// somebody who answers the group, closing a client takes for ever.
struct Threads(Vec<(Idle, BatchReader)>);

impl Drop for Threads {
    fn drop(&mut self) {
        for (thread, queue) in self.0.drain(..) {
            thread.leave_group(queue);
        }
    }
}

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Two brokers, of which the second coordinates the group and leads no partition of its topic.
fn cluster() -> Cluster {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("events", 1, 1).unwrap();
    cluster.partition_leader("events", 0, Some(1)).unwrap();
    cluster
        .coordinator(MockCoordinator::Group("g".to_owned()), 2)
        .unwrap();
    cluster
}

fn idle(cluster: &Cluster) -> (Idle, BatchReader) {
    // Longer than the 3 s for which the mock waits for further members.
    let short_session = [("session.timeout.ms", "4000"), ("heartbeat.interval.ms", "100")];
    let config = KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        properties: short_session
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..KafkaConfig::default()
    };
    let metrics = Arc::new(Metrics::new(&Labels::default()));
    let client_events = ClientEvents::new(Arc::clone(&metrics));
    let client = settings::detect_member(&config, "g");
    let member = GroupMember::join(&client, "detect", &["events".to_owned()], None, client_events).unwrap();
    let queue = member.batch_reader();
    let health = Arc::new(Health::new(metrics, &[ReadyCheck::Assignment]));
    health.member_joins("detect-0");
    let idle = Idle {
        session: Session::begin(member, "detect-0", Arc::clone(&health)),
        health,
        count: 0,
    };
    (idle, queue)
}

impl Threads {
    fn join(cluster: &Cluster, count: usize) -> Self {
        Self((0..count).map(|_| idle(cluster)).collect())
    }

    /// Lets each thread take a turn, by a clock that is `ahead`. Returns the `/readyz` of each.
    fn turn(&mut self, ahead: Duration) -> Vec<Readiness> {
        let said = self.0.iter_mut().map(|(thread, queue)| {
            thread.handle_rebalances(queue).unwrap();
            drop(queue.read(Duration::from_millis(5)));
            thread.session.due_tick(clock::monotonic() + ahead);
            thread.health.readiness(0)
        });
        said.collect()
    }

    /// Takes turns until `/readyz` of every thread is as wanted.
    fn until(&mut self, ahead: Duration, is_wanted: impl Fn(&Readiness) -> bool) -> Vec<Readiness> {
        let deadline = clock::monotonic() + TIMEOUT;
        loop {
            let said = self.turn(ahead);
            if said.iter().all(&is_wanted) {
                return said;
            }
            assert!(clock::monotonic() < deadline, "in vain, {said:?}");
        }
    }
}

#[test]
fn a_member_that_was_lost_is_no_standby_and_is_named() {
    let cluster = cluster();
    let mut threads = Threads::join(&cluster, 2);
    let deadline = clock::monotonic() + TIMEOUT;
    let are_joined = |said: &[Readiness]| {
        said.iter().all(|said| said.ready) && said.iter().filter(|said| said.standby).count() == 1
    };
    while !are_joined(&threads.turn(Duration::ZERO)) {
        assert!(clock::monotonic() < deadline, "one of two has the only partition");
    }

    cluster.broker_down(2).unwrap();
    let is_lost = |said: &Readiness| said.checks["assignment"].starts_with("detect-0: its membership");
    let both = threads.until(Duration::ZERO, is_lost);
    assert!(both.iter().all(|said| !said.ready && !said.standby), "{both:?}");

    cluster.broker_up(2).unwrap();
    threads.until(Duration::ZERO, |said| said.ready);
}

#[test]
fn a_member_that_joins_for_long_is_not_ready() {
    let cluster = cluster();
    let mut threads = Threads::join(&cluster, 1);
    threads.until(Duration::ZERO, |said| said.ready);

    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    cluster.request_errors(RDKafkaApiKey::JoinGroup, &[refused; 1_000]);
    let rebalance = RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    cluster.request_errors(RDKafkaApiKey::Heartbeat, &[rebalance]);
    let deadline = clock::monotonic() + TIMEOUT;
    while threads.0[0].0.session.joining_since.is_none() {
        // A rebalance that has just begun is the group's daily business.
        assert!(threads.turn(Duration::ZERO)[0].ready);
        assert!(clock::monotonic() < deadline, "no rebalance");
    }
    let said = threads.until(JOIN_TIMEOUT, |said| !said.ready);
    assert!(said[0].checks["assignment"].contains("none since"), "{said:?}");
    assert!(!said[0].standby);

    cluster.clear_request_errors(RDKafkaApiKey::JoinGroup);
    threads.until(Duration::ZERO, |said| said.ready);
}
