//! Publishing the made-up traffic at its pace.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{DateTime, Days, NaiveTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::sites::SITES;
use super::traffic::{Published, Traffic};
use crate::clock;
use crate::config::Config;
use crate::kafka::client::ClientEvents;
use crate::kafka::producer::Publisher;
use crate::kafka::producer::outgoing::Outgoing;

/// Time between two batches: few of them, since the embedded broker walks through all it holds at
/// every fetch.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Longest stretch of real time published at once. A process that was stopped for longer goes on
/// from then, not faster.
const MOST_AT_ONCE: Duration = Duration::from_millis(400);
/// The window of current visitors, as the service has it.
const WINDOW_MS: i64 = 300_000;
/// Snapshots of the traffic in a second.
pub(super) const SNAPSHOTS_PER_SECOND: u32 = 4;

/// The traffic at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrafficSnapshot {
    /// Milliseconds since the Unix epoch, by the sites' clock.
    pub(super) now_ms: i64,
    /// Current visitors of each site.
    pub(super) visitors: [usize; SITES.len()],
    pub(super) events_per_second: u64,
}

/// The traffic on its way into Kafka.
pub(super) struct Stream {
    traffic: Traffic,
    publisher: Publisher,
    topic: String,
    speed: f64,
    /// The sites' time.
    now_ms: i64,
    last_seen: [LastSeen; SITES.len()],
    published: u64,
}

/// The time at which each visitor of a site was last seen. The demo counts for its picture; the
/// notifications say what the service has counted.
#[derive(Debug, Default)]
struct LastSeen(HashMap<u64, i64>);

impl LastSeen {
    fn visitors(&mut self, now_ms: i64) -> usize {
        self.0.retain(|_, seen_ms| *seen_ms >= now_ms - WINDOW_MS);
        self.0.len()
    }
}

impl Stream {
    /// Traffic for the first source, beginning at eight in the morning of the day before `now`.
    pub(super) fn new(
        config: &Config,
        client_events: ClientEvents,
        seed: u64,
        speed: f64,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Self> {
        let start_ms = eight_oclock(now).timestamp_millis();
        let source = config.sources.0.first().context("no source is configured")?;
        Ok(Self {
            traffic: Traffic::new(seed, start_ms, speed),
            publisher: Publisher::new(&config.kafka, client_events).context("starting the producer")?,
            topic: source.topic.clone(),
            speed,
            now_ms: start_ms,
            last_seen: Default::default(),
            published: 0,
        })
    }

    /// Publishes until told to stop, and hands out snapshots meanwhile.
    pub(super) async fn run(
        &mut self,
        snapshots: watch::Sender<Option<TrafficSnapshot>>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut before = clock::monotonic();
        let mut snapshot_at = before;
        let mut rate = Rate::new(before);
        while !stop.is_cancelled() {
            tokio::time::sleep(BATCH_INTERVAL).await;
            let now = clock::monotonic();
            let passed = now.duration_since(before).min(MOST_AT_ONCE);
            before = now;
            self.now_ms += (passed.as_secs_f64() * 1_000.0 * self.speed) as i64;
            for event in self.traffic.advance(self.now_ms) {
                self.publish(event).await;
            }
            if now.duration_since(snapshot_at) >= Duration::from_secs(1) / SNAPSHOTS_PER_SECOND {
                snapshot_at = now;
                let (now_ms, last_seen) = (self.now_ms, &mut self.last_seen);
                let snapshot = TrafficSnapshot {
                    now_ms,
                    visitors: std::array::from_fn(|place| last_seen[place].visitors(now_ms)),
                    events_per_second: rate.per_second(self.published, now),
                };
                snapshots.send_replace(Some(snapshot));
            }
        }
        let publisher = self.publisher.clone();
        tokio::task::spawn_blocking(move || publisher.flush(Duration::from_secs(2))).await?;
        Ok(())
    }

    async fn publish(&mut self, event: Published) {
        self.last_seen[event.site].0.insert(event.visitor, event.at_ms);
        self.published += 1;
        let record = Outgoing {
            topic: &self.topic,
            partition: None,
            key: Some(SITES[event.site].id.as_bytes()),
            value: Some(event.json.as_bytes()),
            passed_on: &[],
            headers: &[],
        };
        // A failure is logged by the producer; one event of made-up traffic is no loss.
        while !self.publisher.try_publish(record, |_| {}) {
            tokio::time::sleep(BATCH_INTERVAL).await;
        }
    }
}

/// Events a second over the last few.
#[derive(Debug)]
struct Rate {
    since: Instant,
    then: u64,
    last: u64,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            then: 0,
            last: 0,
        }
    }

    fn per_second(&mut self, published: u64, now: Instant) -> u64 {
        let seconds = now.duration_since(self.since).as_secs_f64();
        if seconds >= 1.0 {
            self.last = ((published - self.then) as f64 / seconds) as u64;
            self.since = now;
            self.then = published;
        }
        self.last
    }
}

/// Eight in the morning of the day before: in the past, so that the sites' clock does not pass ours
/// for hours.
fn eight_oclock(now: DateTime<Utc>) -> DateTime<Utc> {
    let yesterday = now.date_naive() - Days::new(1);
    yesterday
        .and_time(NaiveTime::from_hms_opt(8, 0, 0).unwrap_or_default())
        .and_utc()
}
