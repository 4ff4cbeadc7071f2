//! A steady load of goals on all partitions, beside which something happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use super::app::{Deployment, Process};
use super::evidence::{Evidence, Tally};
use super::receiver::{Answer, Receiver};
use super::{eventually, kafka, within};

/// Sites on all four partitions.
const SITES: u32 = 8;
/// A bound that only decides how long a failure takes.
const TIMEOUT: Duration = Duration::from_secs(120);

/// An endpoint of each site.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    /// Attempts of a delivery that fail.
    pub(crate) fails: u32,
    pub(crate) delay: Duration,
}

impl Endpoint {
    /// Lets a site's endpoint answer, and returns its path.
    fn answers(self, receiver: &Receiver, site: u32) -> String {
        let path = format!("{}-{site}", self.name);
        receiver.answer(&path, move |attempt| {
            let status = if attempt <= self.fails { 503 } else { 200 };
            Answer::status(status).after(self.delay)
        });
        path
    }
}

/// One that answers well and at once, and one that fails first.
pub(crate) const QUICK: [Endpoint; 2] = [
    Endpoint {
        name: "well",
        fails: 0,
        delay: Duration::ZERO,
    },
    Endpoint {
        name: "flaky",
        fails: 1,
        delay: Duration::from_millis(20),
    },
];

/// Goals of eight sites, of which every endpoint of the site hears.
pub(crate) struct Load {
    endpoints: &'static [Endpoint],
    published: Arc<AtomicU32>,
    stopped: Arc<AtomicBool>,
    publishing: JoinHandle<()>,
}

/// Every site with each of its endpoints.
fn every(endpoints: &'static [Endpoint]) -> impl Iterator<Item = (u32, Endpoint)> {
    (0..SITES).flat_map(move |site| endpoints.iter().map(move |one| (site, *one)))
}

impl Load {
    /// Makes the endpoints, each with a webhook, and publishes a goal every `pace`.
    pub(crate) async fn begin(
        deployment: &Deployment,
        process: &Process,
        receiver: &Receiver,
        endpoints: &'static [Endpoint],
        pace: Duration,
    ) -> Self {
        for (site, endpoint) in every(endpoints) {
            let path = endpoint.answers(receiver, site);
            let body = json!({"name": path, "url": receiver.url(&path), "events": ["goal_completion"],
                              "rate_limit_per_second": null});
            deployment
                .create_webhook(process, &format!("{site}.example"), body)
                .await;
        }
        deployment.registry_is_read(process).await;
        let (published, stopped) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop) = (Arc::clone(&published), Arc::clone(&stopped));
        let (producer, source) = (
            kafka::careful_producer(&deployment.brokers),
            deployment.source.clone(),
        );
        let publishing = tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let site = format!("{}.example", number % SITES);
                let goal = json!({"site_id": site, "type": "goal", "name": format!("goal {number}")});
                kafka::publish(&producer, &source, &site, goal.to_string()).await;
                // The pace of the load.
                tokio::time::sleep(pace).await;
            }
        });
        Self {
            endpoints,
            published,
            stopped,
            publishing,
        }
    }

    /// Goals so far.
    pub(crate) fn published(&self) -> u32 {
        self.published.load(Ordering::SeqCst)
    }

    /// Waits until so many more goals are published.
    pub(crate) async fn goes_on(&self, goals: u32) {
        let wanted = self.published() + goals;
        eventually("the load goes on", TIMEOUT, || async {
            (self.published() >= wanted).then_some(())
        })
        .await;
    }

    /// Lets every endpoint answer at once from now on.
    pub(crate) fn quicken(&self, receiver: &Receiver) {
        for (site, endpoint) in every(self.endpoints) {
            let delay = Duration::ZERO;
            Endpoint { delay, ..endpoint }.answers(receiver, site);
        }
    }

    /// Waits until every site's endpoints have heard something since `begun`, and returns how long
    /// that took.
    pub(crate) async fn flows_again(&self, receiver: &Receiver, begun: Instant) -> Duration {
        eventually("every site's deliveries flow", TIMEOUT, || async {
            let all = receiver.all();
            let late = all.iter().filter(|one| one.at > begun && one.attempt() == 1);
            let mut first = vec![None; SITES as usize];
            for one in late {
                let (_, site) = one.path.rsplit_once('-')?;
                first[site.parse::<usize>().ok()?].get_or_insert(one.at);
            }
            let last = first
                .into_iter()
                .collect::<Option<Vec<Instant>>>()?
                .into_iter()
                .max()?;
            Some(last - begun)
        })
        .await
    }

    /// Ends the load, waits until everything is delivered, and returns what it came to.
    pub(crate) async fn end(self, deployment: &Deployment, receiver: &Receiver) -> Tally {
        self.stopped.store(true, Ordering::SeqCst);
        self.publishing.await.unwrap();
        let goals = self.published.load(Ordering::SeqCst);
        let expected = goals as usize * self.endpoints.len();
        let pool = &deployment.database.pool;
        let all = within(TIMEOUT, || async {
            let ended: i64 = sqlx::query_scalar("select count(*) from deliveries where status = 'delivered'")
                .fetch_one(pool)
                .await
                .unwrap();
            (ended >= expected as i64).then_some(())
        });
        let is_all = all.await.is_some();
        let tally = Evidence::gather(deployment, receiver).await.tally(expected);
        assert!(is_all, "not everything is delivered: {tally}");
        tally
    }
}
