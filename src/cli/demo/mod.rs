//! `demo`: the whole of Bellwether in one process, with everything around it: a Kafka, a PostgreSQL, sites with visitors, and a
//! receiver. For a look at it, and for nothing that matters.
//!
//! Guaranteed: when it ends, by whatever cause, no process, port or folder of it stays.

mod postgres;
mod receiver;
mod screen;
mod setup;
mod sites;
mod stream;
mod traffic;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use sqlx::PgPool;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::postgres::{PrivatePostgres, Programs};
use self::receiver::{Arrival, Receiver};
use self::screen::{Lag, Screen, Tally};
use crate::app::{self, Host, Roles};
use crate::clock;
use crate::config::Config;
use crate::kafka::client::ClientEvents;
use crate::kafka::embedded::EmbeddedKafka;
use crate::kafka::topics::plan;
use crate::record::pool::ConnectionEpoch;
use crate::tasks::Tasks;
use crate::telemetry::metrics::{Labels, Metrics};

/// Where API and metrics are looked for first: their usual ports.
const API_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9464;
/// How long what is under way may take to arrive when the demo ends by itself: all retries of one delivery, and some.
const ARRIVE: Duration = Duration::from_secs(12);
/// How long the service may take to stop.
const STOP: Duration = Duration::from_secs(10);
/// How often a line about how things stand is said where there is no terminal.
const STANDING_EVERY: u32 = 15;

/// Run everything in one process, with made-up traffic, and watch webhooks arrive.
///
/// Starts an embedded Kafka broker, a private PostgreSQL, the whole of Bellwether with three made-up sites, and a receiver that
/// verifies every signature and fails now and then, so that retries are seen. Reads no configuration and touches nothing on
/// this machine but a temporary folder, which goes when the demo does.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// How many times faster than life the sites' days pass, 1 to 240
    #[arg(long, default_value_t = 60.0, value_parser = speed, value_name = "TIMES")]
    speed: f64,
    /// The same number gives the same visitors
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// End after so long, as in 40s or 10m, when all that is under way has arrived; fails if a signature was wrong
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasting: Option<Duration>,
    /// Where PostgreSQL's programs are; by default the newest under /usr/lib/postgresql, else those on PATH
    #[arg(long, value_name = "FOLDER")]
    postgres_bin: Option<PathBuf>,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (1.0..=240.0).contains(&value) => Ok(value),
        _ => Err("allowed: 1 to 240".into()),
    }
}

pub(super) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let (stop, finished) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = Tasks::new(stop.clone(), finished.clone());
    tasks.spawn_background("signals", watch_signals(stop.clone(), finished.clone()));
    let mut screen = Screen::new();
    screen.say(
        "bellwether demo: everything is started now, and all of it goes when the demo does (Ctrl-C ends it)",
    );
    let result = perform(&args, &mut screen, stop).await;
    finished.cancel();
    tasks.join().await?;
    result
}

async fn perform(args: &DemoArgs, screen: &mut Screen, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let programs = Programs::find(args.postgres_bin.as_deref())?;
    screen.say(&format!("  starting PostgreSQL {} …", programs.release));
    // Never cut off in the middle: what was begun is then known, and can be removed.
    let mut database = tokio::task::spawn_blocking(move || PrivatePostgres::start(&programs)).await??;
    let result = with_database(args, screen, stop, &mut database).await;
    tokio::task::spawn_blocking(move || drop(database)).await?;
    let Some((code, tally)) = result? else {
        screen.say("the demo was stopped before it began; nothing of it is left");
        return Ok(ExitCode::SUCCESS);
    };
    screen.say(&format!("\nthe demo is over, and nothing of it is left\n{tally}"));
    Ok(code)
}

/// `None` when it was stopped before it began.
async fn with_database(
    args: &DemoArgs,
    screen: &mut Screen,
    stop: CancellationToken,
    database: &mut PrivatePostgres,
) -> anyhow::Result<Option<(ExitCode, Tally)>> {
    if stop.is_cancelled() {
        return Ok(None);
    }
    screen.say("  starting Kafka, embedded …");
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let kafka = EmbeddedKafka::start(client_events.clone()).context("starting the embedded Kafka")?;
    let (api, admin, receiver) = (listen(API_PORT)?, listen(ADMIN_PORT)?, listen(0)?);
    let config = setup::config(database, &kafka, api.local_addr()?, admin.local_addr()?);
    kafka
        .create(&plan(&config, &app::schedules(&config)?.tier_names()))
        .context("making the topics")?;
    let pool = app::open_pool(&config, &ConnectionEpoch::default())?;
    postgres::wait_until_ready(database, &pool).await?;
    screen.say("  starting Bellwether …");

    let (arrivals, arrived) = mpsc::unbounded_channel();
    let demo = Demo {
        receiver: Arc::new(Receiver::new(arrivals)),
        receiver_address: receiver.local_addr()?,
        config,
        pool,
        client_events,
        folder: database.folder().to_owned(),
        stop: stop.clone(),
    };
    let service_stop = CancellationToken::new();
    let service_finished = CancellationToken::new();
    let mut tasks = Tasks::new(service_stop.clone(), service_finished.clone());
    let host = Host {
        stop: service_stop.clone(),
        is_there: true,
        api: Some(api),
        admin: Some(admin),
        embedded_kafka: true,
    };
    tasks.spawn(
        "bellwether",
        app::serve_in(host, demo.config.clone(), Roles::new(&[])),
    );
    receiver.set_nonblocking(true)?;
    let receiver = tokio::net::TcpListener::from_std(receiver)?;
    let router = Arc::clone(&demo.receiver).router();
    let until = service_finished.clone();
    tasks.spawn_background("receiver", async move {
        Ok(axum::serve(receiver, router)
            .with_graceful_shutdown(until.cancelled_owned())
            .await?)
    });

    let played = tokio::select! {
        played = demo.play(args, screen, arrived) => Some(played),
        // It failed; why is what the supervisor says.
        () = service_stop.cancelled() => None,
    };
    screen.end_live();
    service_stop.cancel();
    // The pool is closed first, or the server would wait for its connections.
    demo.pool.close().await;
    match tokio::time::timeout(STOP, tasks.join()).await {
        Ok(ended) => ended?,
        Err(_) => tracing::warn!("the service did not stop within {STOP:?}; the process ends without it"),
    }
    drop(kafka);
    let Some(tally) = played.transpose()? else {
        anyhow::bail!("the service ended by itself");
    };
    let code = if tally.bad_signatures > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    };
    Ok(Some((code, tally)))
}

/// What the performance needs.
struct Demo {
    config: Config,
    pool: PgPool,
    client_events: ClientEvents,
    folder: PathBuf,
    receiver: Arc<Receiver>,
    receiver_address: SocketAddr,
    stop: CancellationToken,
}

impl Demo {
    /// Sets everything up and shows what arrives, until told to stop or the time is over.
    async fn play(
        &self,
        args: &DemoArgs,
        screen: &mut Screen,
        mut arrived: mpsc::UnboundedReceiver<Arrival>,
    ) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let set_up = tokio::select! {
            set_up = setup::set_up(&self.config, &self.pool, &self.receiver, self.receiver_address) => set_up?,
            () = self.stop.cancelled() => return Ok(tally),
        };
        screen.say(&self.introduction(args, &set_up));
        screen.begin_live();

        let (standings, mut standing) = watch::channel(None);
        let mut flow = stream::Stream::new(
            &self.config,
            self.client_events.clone(),
            args.seed,
            args.speed,
            clock::now(),
        )?;
        let flowing = CancellationToken::new();
        let flow = flow.run(standings, flowing.clone());
        tokio::pin!(flow);
        let over = async {
            match args.lasting {
                Some(lasting) => tokio::time::sleep(lasting).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        let mut looks = 0_u32;
        let ended_by_itself = loop {
            tokio::select! {
                Some(arrival) = arrived.recv() => {
                    tally.count(&arrival);
                    screen.show(&arrival);
                }
                flowed = &mut flow => {
                    flowed?;
                    anyhow::bail!("the traffic ended by itself");
                }
                Ok(()) = standing.changed() => {
                    let now: Option<Lag> = *standing.borrow_and_update();
                    if let Some(now) = now {
                        looks += 1;
                        let say = looks.is_multiple_of(STANDING_EVERY * stream::LOOKS_PER_SECOND);
                        screen.stand(&now, &tally, args.speed, say);
                    }
                }
                () = self.stop.cancelled() => break false,
                () = &mut over => break true,
            }
            if screen.is_unread() {
                break false;
            }
        };
        flowing.cancel();
        flow.await?;
        if ended_by_itself {
            self.let_arrive(screen, &mut tally, &mut arrived).await?;
        }
        Ok(tally)
    }

    /// Shows what was still under way.
    async fn let_arrive(
        &self,
        screen: &Screen,
        tally: &mut Tally,
        arrived: &mut mpsc::UnboundedReceiver<Arrival>,
    ) -> anyhow::Result<()> {
        let deadline = clock::monotonic() + ARRIVE;
        // What was published last may not have been decided yet.
        let mut quiet = 0;
        while quiet < 3 && clock::monotonic() < deadline && !self.stop.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            while let Ok(arrival) = arrived.try_recv() {
                tally.count(&arrival);
                screen.show(&arrival);
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

    fn introduction(&self, args: &DemoArgs, set_up: &setup::SetUp) -> String {
        let api = self.config.http.listen;
        let (token, webhook) = (&set_up.token, &set_up.webhook);
        let auth = format!("-H 'Authorization: Bearer {token}'");
        let site = format!("http://{api}/api/sites/{}", set_up.site_id);
        let day = Duration::from_secs((86_400.0 / args.speed) as u64);
        format!(
            "
  traffic     3 made-up sites, {speed} times faster than life: a day passes in {day}
  receiver    http://{receiver}: verifies every signature, fails one delivery in five on purpose
  Kafka       {kafka}, inside this process
  PostgreSQL  {folder}
  API         http://{api}
  metrics     http://{admin}/metrics
  token       {token}

Three things to try in another terminal: the webhooks of a site, the latest deliveries of one, and a lower
threshold, which is a spike at once:

curl -s {auth} {site}/webhooks
curl -s {auth} '{site}/webhooks/{webhook}/deliveries?limit=3'
curl -s {auth} -X PATCH -H 'Content-Type: application/json' -d '{{\"triggers\":{{\"visitor_spike\":{{\"threshold\":10}}}}}}' {site}/webhooks/{webhook}

What arrives, by the sites' clock; the milliseconds are those from the event in Kafka to the request here:
",
            speed = args.speed,
            day = humantime::format_duration(day),
            receiver = self.receiver_address,
            kafka = self.config.kafka.brokers,
            folder = self.folder.display(),
            admin = self.config.admin.listen,
        )
    }
}

/// The port if it is free, else any that is.
fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let on = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    on(port).or_else(|_| on(0)).context("listening on 127.0.0.1")
}

/// SIGINT, SIGTERM and SIGHUP end the demo in order.
async fn watch_signals(stop: CancellationToken, finished: CancellationToken) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut hang_up = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
            () = finished.cancelled() => return Ok(()),
        }
        stop.cancel();
    }
}
