//! The performance: sites are set up, traffic flows, and arrivals are shown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::arguments::DemoArgs;
use super::arrival::{Arrival, ArrivalTally};
use super::introduction::Introduction;
use super::receiver::DemoReceiver;
use super::screen::Screen;
use super::setup::{self, SetUp};
use super::sites::Thresholds;
use super::stream::{SNAPSHOTS_PER_SECOND, Stream, TrafficSnapshot};
use crate::clock;
use crate::config::Config;
use crate::kafka::client::ClientEvents;

/// Time that deliveries under way get to arrive when the demo ends by itself: all retries of one
/// delivery, and some.
const ARRIVE_TIMEOUT: Duration = Duration::from_secs(12);
/// Seconds between two lines about the traffic where there is no terminal.
const SAY_SECONDS: u32 = 15;
/// Time after which the thresholds are read again: somebody may have changed one.
const THRESHOLDS_INTERVAL: Duration = Duration::from_secs(1);

/// The service's surroundings, as far as the performance needs them.
pub(super) struct Performance {
    pub(super) config: Config,
    pub(super) pool: PgPool,
    pub(super) client_events: ClientEvents,
    pub(super) folder: PathBuf,
    pub(super) receiver: Arc<DemoReceiver>,
    pub(super) receiver_address: SocketAddr,
    pub(super) stop: CancellationToken,
}

/// The screen, and the figures that are shown on it.
struct Show<'a> {
    screen: &'a mut Screen,
    tally: ArrivalTally,
    thresholds: Thresholds,
    speed: f64,
    snapshots: u32,
}

impl Performance {
    /// Sets the sites up and shows what arrives, until told to stop, the time is over or nobody
    /// reads the output.
    pub(super) async fn play(
        &self,
        args: &DemoArgs,
        screen: &mut Screen,
        mut arrived: mpsc::UnboundedReceiver<Arrival>,
    ) -> anyhow::Result<ArrivalTally> {
        let set_up = tokio::select! {
            set_up = setup::set_up(&self.config, &self.pool, &self.receiver, self.receiver_address) => set_up?,
            () = self.stop.cancelled() => return Ok(ArrivalTally::default()),
        };
        let introduction = self.introduction(args, &set_up, screen.has_narrow_lines());
        screen.say(&introduction);
        screen.begin_live();
        let mut show = Show {
            screen,
            tally: ArrivalTally::default(),
            thresholds: setup::thresholds(&self.pool).await?,
            speed: args.speed,
            snapshots: 0,
        };
        if self.watch(args, &mut show, &mut arrived).await? {
            self.let_arrive(&mut show, &mut arrived).await?;
        }
        Ok(show.tally)
    }

    /// Shows what arrives while the traffic flows. True if the time is over.
    async fn watch(
        &self,
        args: &DemoArgs,
        show: &mut Show<'_>,
        arrived: &mut mpsc::UnboundedReceiver<Arrival>,
    ) -> anyhow::Result<bool> {
        let (publish, mut snapshot) = watch::channel(None);
        let events = self.client_events.clone();
        let mut stream = Stream::new(&self.config, events, args.seed, args.speed, clock::now())?;
        let flowing = CancellationToken::new();
        let flow = stream.run(publish, flowing.clone());
        let over = async {
            match args.lasting {
                Some(lasting) => tokio::time::sleep(lasting).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(flow, over);
        let mut thresholds_due = tokio::time::interval(THRESHOLDS_INTERVAL);
        let is_over = loop {
            tokio::select! {
                Some(arrival) = arrived.recv() => show.arrival(&arrival),
                flowed = &mut flow => {
                    flowed?;
                    anyhow::bail!("the traffic ended by itself");
                }
                Ok(()) = snapshot.changed() => {
                    let now: Option<TrafficSnapshot> = *snapshot.borrow_and_update();
                    now.iter().for_each(|now| show.traffic(now));
                }
                _ = thresholds_due.tick() => show.thresholds = setup::thresholds(&self.pool).await?,
                () = self.stop.cancelled() => break false,
                () = &mut over => break true,
            }
            if show.screen.is_unread() {
                break false;
            }
        };
        flowing.cancel();
        flow.await?;
        Ok(is_over)
    }

    /// Shows what was still under way.
    async fn let_arrive(
        &self,
        show: &mut Show<'_>,
        arrived: &mut mpsc::UnboundedReceiver<Arrival>,
    ) -> anyhow::Result<()> {
        let deadline = clock::monotonic() + ARRIVE_TIMEOUT;
        // The last events that were published may not have been decided yet.
        let mut quiet = 0;
        while quiet < 3 && clock::monotonic() < deadline && !self.stop.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            while let Ok(arrival) = arrived.try_recv() {
                show.arrival(&arrival);
                quiet = 0;
            }
            quiet = if setup::open_deliveries(&self.pool).await? == 0 {
                quiet + 1
            } else {
                0
            };
        }
        Ok(())
    }

    fn introduction(&self, args: &DemoArgs, set_up: &SetUp, is_narrow: bool) -> String {
        Introduction {
            speed: args.speed,
            receiver: self.receiver_address,
            brokers: &self.config.kafka.brokers,
            folder: &self.folder,
            api: self.config.http.listen,
            admin: self.config.admin.listen,
            token: &set_up.token,
            link: &set_up.link,
            site_id: set_up.site_id,
            webhook: &set_up.webhook,
            is_narrow,
        }
        .text()
    }
}

impl Show<'_> {
    fn arrival(&mut self, arrival: &Arrival) {
        self.tally.count(arrival);
        self.screen.show(arrival);
    }

    fn traffic(&mut self, now: &TrafficSnapshot) {
        self.snapshots += 1;
        let is_said = self.snapshots.is_multiple_of(SAY_SECONDS * SNAPSHOTS_PER_SECOND);
        self.screen
            .show_traffic(now, &self.thresholds, &self.tally, self.speed, is_said);
    }
}
